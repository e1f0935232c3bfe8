"""The files that a command line names: what is read whole before the work, and where its answer goes.

A text on its way to a file arrives whole or not at all, and the file keeps its mode and its owner.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from llmfail.cli.io.output import (
    emit,
    encode_line,
    require_output,
    write_all,
)
from llmfail.core.errors import UsageError

STANDARD_OUTPUT = STANDARD_INPUT = Path("-")
CHUNK_BYTES = 1 << 16


@contextmanager
def open_text_writer(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A way to write one text: to standard output (None or ``-``); to a device or a pipe as it comes; to
    a file, whole or not at all. Opened before the work, so that a wrong place costs no call.
    """
    if path is None or path == STANDARD_OUTPUT:
        require_output()
        yield emit
        return
    try:
        plain = _is_regular(path)
        place = Path(os.path.realpath(path)) if plain else path
        file = _create_draft(place) if plain else place.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    draft = Path(file.name)
    try:
        yield lambda text: _write_text(text, file, place)
    finally:
        with suppress(OSError):  # an error of the file has been told where it was written to
            file.close()
        if plain:
            draft.unlink(missing_ok=True)


def _is_regular(path: Path) -> bool:
    """A regular file, or one to be made. A loop of links is an OSError, as it is to everybody."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _create_draft(final_path: Path) -> IO[bytes]:
    from tempfile import NamedTemporaryFile

    return NamedTemporaryFile(
        "wb", buffering=0, dir=final_path.parent, prefix=f".{final_path.name}.", delete=False
    )


def _write_text(text: str, file: IO[bytes], final_path: Path) -> None:
    """Write the text and, where it is a draft, give it its name. A text that cannot be placed is not lost."""
    try:
        write_all(file.fileno(), encode_line(text))
        if Path(file.name) != final_path:
            _copy_mode_and_owner(file.fileno(), final_path)
            Path(file.name).replace(final_path)
    except OSError as error:
        emit(text)
        raise UsageError(
            f"cannot write {final_path}: {error.strerror}; it went to standard output"
        ) from error


def _copy_mode_and_owner(draft: int, final_path: Path) -> None:
    """The mode and, as far as one may, the owner of the file that is replaced; else what the umask leaves."""
    try:
        before = final_path.stat()
    except FileNotFoundError:
        os.fchmod(draft, 0o666 & ~_read_umask())
        return
    with suppress(OSError):
        os.fchown(draft, before.st_uid, before.st_gid)
    os.fchmod(draft, stat.S_IMODE(before.st_mode))


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
