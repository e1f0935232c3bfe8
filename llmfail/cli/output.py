"""What goes where: answers to standard output, everything else to standard error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
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
    if sys.stdout is None:
        raise UsageError("standard output is closed: there is nowhere to write to")
    shown = printable(text) if sys.stdout.isatty() else text
    try:
        with _ended_by_closed_pipes():
            sys.stdout.buffer.write(_bytes(shown))
            sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        raise UsageError(f"cannot write to standard output: {error.strerror}") from error


@contextmanager
def _ended_by_closed_pipes() -> Iterator[None]:
    """Only while standard output is written to: a socket that a provider has closed must end nothing."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _give_up(stream: IO[str]) -> None:
    """What is left in its buffer can go nowhere; Python would try once more at exit, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def emit_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    import json  # noqa: PLC0415 - start-up: not for --help

    emit(json.dumps(value, ensure_ascii=False))


def printable(text: str) -> str:
    """The text without characters that a terminal would obey."""
    return "".join(char if char.isprintable() or char in _KEPT_CONTROLS else "�" for char in text)


@contextmanager
def output_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A way to write one text: to standard output; to a device or a pipe as it comes; to
    a file, whole or not at all. Opened before the work, so that a wrong place costs no call.
    """
    if path is None:
        yield emit
        return
    try:
        plain = not path.exists() or path.is_file()
        place = path.resolve() if plain else path
        file = _draft(place) if plain else place.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    draft = Path(file.name)
    try:
        with file:
            yield lambda text: _place(text, file, place)
    finally:
        if plain:
            draft.unlink(missing_ok=True)


def _draft(place: Path) -> IO[bytes]:
    from tempfile import NamedTemporaryFile  # noqa: PLC0415 - start-up: most answers go to standard output

    return NamedTemporaryFile("wb", dir=place.parent, prefix=f".{place.name}.", delete=False)


def _place(text: str, file: IO[bytes], place: Path) -> None:
    """Write the text and, where it is a draft, give it its name. A text that cannot be placed is not lost."""
    try:
        file.write(_bytes(text))
        file.flush()
        if Path(file.name) != place:
            Path(file.name).chmod(0o666 & ~_umask())
            Path(file.name).replace(place)
    except OSError as error:
        emit(text)
        raise UsageError(f"cannot write {place}: {error.strerror}; it went to standard output") from error


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
