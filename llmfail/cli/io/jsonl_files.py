"""The files of a batch: lines in as they come, receipts out as they are made.

A line that ``write`` has taken has left the process, and survives its end. Nothing here holds up the event
loop: a pipe, which may, is read when there is something in it and written to by a thread.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from llmfail.cli.io.files import CHUNK_BYTES, STANDARD_INPUT, STANDARD_OUTPUT
from llmfail.cli.io.output import make_printable, require_output, write_all
from llmfail.core.errors import UsageError
from llmfail.core.request.line_splitter import RawLine
from llmfail.core.request.request_splitter import MAX_HEAD_BYTES, RequestSplitter, begins_as_document


class BatchInput:
    """A file, a pipe or standard input, once from its beginning to its end."""

    def __init__(self, name: Path, file: int) -> None:
        self._name = name
        self._file = file

    @property
    def file_status(self) -> os.stat_result:
        return os.fstat(self._file)

    def count_lines(self) -> int | None:
        """How many lines there are; None where that is not known before they are read."""
        if not stat.S_ISREG(self.file_status.st_mode):
            return None
        if begins_as_document(os.pread(self._file, MAX_HEAD_BYTES, 0)):
            return None
        place, lines, last = os.lseek(self._file, 0, os.SEEK_CUR), 0, b"\n"
        while chunk := os.pread(self._file, CHUNK_BYTES, place):
            place, lines, last = place + len(chunk), lines + chunk.count(b"\n"), chunk[-1:]
        return lines + (last != b"\n")

    async def read_lines(self) -> AsyncIterator[RawLine]:
        """Raises UsageError for a file that cannot be read to its end."""
        splitter = RequestSplitter()
        try:
            while chunk := await self._read_chunk():
                for line in splitter.feed(chunk):
                    yield line
        except OSError as error:
            raise UsageError(f"cannot read {self._name}: {error.strerror}") from error
        except UsageError as error:
            raise UsageError(f"{self._name}: {error}") from None
        for line in self._finish(splitter):
            yield line

    def _finish(self, splitter: RequestSplitter) -> list[RawLine]:
        try:
            return splitter.finish()
        except UsageError as error:
            raise UsageError(f"{self._name}: {error}") from None

    async def _read_chunk(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        try:
            loop.add_reader(self._file, wake)
        except PermissionError:  # a file, which is always ready
            await asyncio.sleep(0)
            return os.read(self._file, CHUNK_BYTES)
        try:
            await ready
        finally:
            loop.remove_reader(self._file)
        return os.read(self._file, CHUNK_BYTES)


class OutputStream:
    """Standard output, or a pipe or device: a thread waits for whoever reads it. Raises BrokenPipeError when
    nobody does any more, UsageError for what else is in the way.
    """

    write_error: UsageError | None = None

    def __init__(self, name: str, file: int) -> None:
        self._name = name
        self._file = file
        self.is_terminal = os.isatty(file)
        self._thread = ThreadPoolExecutor(1, "llmfail-output")

    async def write(self, data: bytes) -> None:
        shown = make_printable(data.decode()).encode() if self.is_terminal else data
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, write_all, self._file, shown)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UsageError(f"cannot write to {self._name}: {error.strerror}") from error


class ReceiptFile:
    """A file of receipts that only grows. One batch at a time writes to it. Receipts that it does not take go
    to standard output, because they were paid for, and ``write_error`` says so.
    """

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file
        self.write_error: UsageError | None = None

    async def write(self, data: bytes) -> None:
        if self.write_error is None:
            end = os.fstat(self._file).st_size
            try:
                write_all(self._file, data)
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self._file, end)
                text = (
                    f"cannot write {self._path}: {error.strerror}; the last receipts went to standard output"
                )
                self.write_error = UsageError(text)
        if self.write_error is not None:
            await standard_output().write(data)

    def read_lines(self) -> Iterator[bytes]:
        """Its lines, each with its end; behind them it is ready to be written to."""
        with os.fdopen(os.dup(self._file), "rb") as reading:
            reading.seek(0)
            yield from reading

    def truncate(self, size: int) -> None:
        os.ftruncate(self._file, size)

    def end_last_line(self) -> None:
        """End the last line."""
        write_all(self._file, b"\n")


@contextmanager
def open_batch_input(path: Path) -> Iterator[BatchInput]:
    """Raises UsageError."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        yield BatchInput(Path("standard input"), sys.stdin.fileno())
        return
    with _open_descriptor(path, "read", os.O_RDONLY) as file:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise UsageError(f"cannot read {path}: {os.strerror(errno.EISDIR)}")
        yield BatchInput(path, file)


@contextmanager
def open_batch_output(
    path: Path | None, source: BatchInput, *, resume: bool
) -> Iterator[OutputStream | ReceiptFile]:
    """Where the receipts go. Raises UsageError, also for a file that would lose receipts."""
    if path is None or path == STANDARD_OUTPUT:
        require_output()
        yield standard_output()
        return
    if path.exists() and not path.is_file():
        with _open_descriptor(path, "write", os.O_WRONLY) as file:
            yield OutputStream(str(path), file)
        return
    with _open_descriptor(path, "write", os.O_RDWR | os.O_CREAT | os.O_APPEND) as file:
        if os.path.samestat(os.fstat(file), source.file_status):
            raise UsageError(f"{path} is the input as well; name another file for the output")
        _lock(path, file)
        if os.fstat(file).st_size and not resume:
            raise UsageError(f"{path} has receipts already; --resume goes on with it, or name another file")
        yield ReceiptFile(path, file)


def standard_output() -> OutputStream:
    return OutputStream("standard output", sys.stdout.fileno())


@contextmanager
def _open_descriptor(path: Path, verb: str, flags: int) -> Iterator[int]:
    try:
        file = os.open(path, flags, 0o666)
    except OSError as error:
        raise UsageError(f"cannot {verb} {path}: {error.strerror}") from error
    try:
        yield file
    finally:
        os.close(file)


def _lock(path: Path, file: int) -> None:
    """Two runs would pay for the same lines. A file system without locks is not a reason to do nothing."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another batch is writing to {path}") from None
    except OSError:
        return
