"""What goes where: answers to standard output, everything else to standard error."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from math import ceil
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any

from llmfail.core.errors import UsageError

if TYPE_CHECKING:
    from rich.status import Status

LINE_START = len("llmfail:")
"""Characters with which each line for people begins."""
MIN_TERMINAL_WIDTH = 40
"""Columns below which lines are not folded any further."""
SPINNER_DELAY = 0.5
"""Seconds before anything moves."""
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def say(text: str, *, quiet: bool = False, is_error: bool = False) -> None:
    """One line for people, on standard error; on a terminal it is folded between words, and what is an error
    or a warning has a colour. A standard error that is gone is nobody's loss.
    """
    if quiet or sys.stderr is None:
        return
    line = f"llmfail: {text}"
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            line = _format_for_terminal(make_printable(line), is_error=is_error)
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
            return
    say_line(line)


def _format_for_terminal(line: str, *, is_error: bool) -> str:
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    folded = textwrap.fill(
        line,
        max(width, MIN_TERMINAL_WIDTH),
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return folded
    name, rest = folded[:LINE_START], folded[LINE_START:]
    if is_error:
        return f"\x1b[31m{name}\x1b[0m{rest}"
    if rest.startswith(" warning:"):
        return f"\x1b[33m{name} warning:\x1b[0m{rest.removeprefix(' warning:')}"
    return f"\x1b[2m{name}\x1b[0m{rest}"


def say_line(line: str) -> None:
    """The same for programs, as it is."""
    if sys.stderr is None:
        return
    with suppress(OSError):
        sys.stderr.write(make_printable(line) + "\n")
        sys.stderr.flush()


def emit(text: str) -> None:
    """Text and one newline on standard output."""
    write_stdout(encode_line(make_printable(text) if sys.stdout.isatty() else text))


def write_stdout(data: bytes) -> None:
    """All of it, behind what is in the buffer. Raises UsageError for what is in the way."""
    with guard_stdout():
        sys.stdout.flush()
        try:
            file = sys.stdout.fileno()
        except UnsupportedOperation:  # a standard output in memory, which somebody has put there
            sys.stdout.buffer.write(data)
        else:
            write_all(file, data)


@contextmanager
def guard_stdout() -> Iterator[None]:
    """Only while standard output is written to. A closed pipe ends the program as it ends other Unix tools
    (a socket that a provider has closed must not); what else is in the way is a UsageError.
    """
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        raise _abandon_stdout(error) from error
    finally:
        signal.signal(signal.SIGPIPE, before)


def write_all(file: int, data: bytes) -> None:
    """Past any buffer, to the last byte. Raises OSError. Whoever shares a pipe or a terminal may have made it
    one that does not block: it is waited for all the same.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:
            wait_until_writable(file)


def wait_until_writable(file: int) -> None:
    """Until it takes something, or nobody reads it any more."""
    poller = select.poll()
    poller.register(file, select.POLLOUT)
    poller.poll()


def require_output() -> None:
    """Raises UsageError where standard output can be seen to take nothing: because something is left in its
    buffer, or because not even an empty write is accepted (a closed one, one for reading, /dev/full).
    """
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"")
    except OSError as error:
        raise _abandon_stdout(error) from error


def replace_closed_stdout() -> None:
    """A closed standard output becomes one that refuses every byte, so that nobody has to ask for None."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")


def _abandon_stdout(error: OSError) -> UsageError:
    """What is left in its buffer can go nowhere; Python would try once more at exit, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    reason = "it is closed" if error.errno == errno.EBADF else error.strerror
    return UsageError(f"cannot write to standard output: {reason}")


def emit_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    import json

    emit(json.dumps(value, ensure_ascii=False))


def make_printable(text: str) -> str:
    """The text without characters that a terminal would obey: controls, and what turns the direction of the
    text around. Lines may end as they do elsewhere.
    """
    return _CONTROL_CHARACTERS.sub("�", text.replace("\r\n", "\n"))


def encode_line(text: str) -> bytes:
    """What is written of a text: UTF-8 that ends in one newline."""
    return text.rstrip("\n").encode("utf-8", "replace") + b"\n"


class Spinner:
    """Something that moves on a terminal while a call is under way: only after half a second, because most
    answers are there by then, and what draws it takes as long to import as a part of them.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._started_at = time.monotonic()
        self._status: Status | None = None
        self._is_over = False
        self._draw_lock = Lock()
        self._timer = Timer(SPINNER_DELAY, self._start)
        self._timer.daemon = True
        self._timer.start()

    def pause(self, seconds: float) -> None:
        """Wait, with a countdown; a pause too short to read about is not told."""
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            if seconds >= 1:
                self._update_text(f"waiting {ceil(left)} s for the next try …")
            time.sleep(min(left, 1.0))
        self._update_text(self._text)

    def show(self, text: str) -> None:
        """Another text, with the seconds that it takes."""
        self._started_at = time.monotonic()
        self._update_text(text)

    def stop(self) -> None:
        """There is something else to see."""
        self._timer.cancel()
        with self._draw_lock:
            self._is_over = True
            if self._status is not None:
                with suppress(OSError):  # a terminal that was closed
                    self._status.stop()
                self._status = None

    def _start(self) -> None:
        from rich.console import Console

        with self._draw_lock:
            if not self._is_over:
                self._status = Console(stderr=True).status(self)
                self._status.start()

    def __rich__(self) -> str:
        """What stands beside the moving sign, drawn anew each time."""
        return f"{self._text} {time.monotonic() - self._started_at:.0f} s"

    def _update_text(self, text: str) -> None:
        self._text = text


class NoSpinner:
    """The same where nobody looks."""

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def show(self, text: str) -> None:
        """Nobody sees it."""

    def stop(self) -> None:
        """Nothing moves."""


@contextmanager
def show_spinner(text: str, *, quiet: bool) -> Iterator[Spinner | NoSpinner]:
    """Until the block is over, or something is to be seen."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield NoSpinner()
        return
    spinning = Spinner(text)
    try:
        yield spinning
    finally:
        spinning.stop()
