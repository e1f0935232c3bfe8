"""What goes where: answers to standard output, everything else to standard error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from llmfail.core.errors import UsageError

_KEPT_CONTROLS = "\n\t"


def say(text: str, *, quiet: bool = False) -> None:
    """One line for people, on standard error. A standard error that is gone is nobody's loss."""
    if quiet or sys.stderr is None:
        return
    with suppress(OSError):
        sys.stderr.write(f"llmfail: {printable(text)}\n")
        sys.stderr.flush()


def emit(text: str) -> None:
    """Text and one newline on standard output. A closed pipe ends the program as it ends other Unix tools."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.buffer.write(_bytes(shown))
    sys.stdout.flush()


def emit_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    import json  # noqa: PLC0415 - start-up: not for --help

    emit(json.dumps(value, ensure_ascii=False))


def printable(text: str) -> str:
    """The text without characters that a terminal would obey."""
    return "".join(char if char.isprintable() or char in _KEPT_CONTROLS else "�" for char in text)


@contextmanager
def output_file(path: Path | None) -> Iterator[Any]:
    """A way to write one text to a file, whole or not at all. Opened before the work, so that a place that
    cannot be written to costs no call. None: standard output.
    """
    if path is None:
        yield emit
        return
    from tempfile import NamedTemporaryFile  # noqa: PLC0415 - start-up: most answers go to standard output

    try:
        draft = NamedTemporaryFile(  # noqa: SIM115 - closed below, before it takes its place
            "wb", dir=path.parent, prefix=f".{path.name}.", delete=False
        )
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    draft_path = Path(draft.name)
    try:
        with draft:
            yield lambda text: _place(text, draft, path)
    finally:
        draft_path.unlink(missing_ok=True)


def _place(text: str, draft: IO[bytes], path: Path) -> None:
    """Give the file its text and its name. A text that cannot be placed is not lost."""
    try:
        draft.write(_bytes(text))
        draft.flush()
        Path(draft.name).chmod(0o666 & ~_umask())
        Path(draft.name).replace(path)
    except OSError as error:
        emit(text)
        raise UsageError(f"cannot write {path}: {error.strerror}; it went to standard output") from error


def _bytes(text: str) -> bytes:
    return text.rstrip("\n").encode("utf-8", "replace") + b"\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def spinner(text: str, *, quiet: bool) -> Iterator[None]:
    """Something that moves on a terminal while a call is under way."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - start-up: only a terminal needs it

    with Console(stderr=True).status(text):
        yield
