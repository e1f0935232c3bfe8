"""An answer on a terminal, as it comes."""

from __future__ import annotations

import select
import sys
from contextlib import suppress

from llmfail.cli.io.output import guard_stdout, make_printable, write_all
from llmfail.core.errors import UsageError


class TerminalAnswer:
    """Shows pieces at once. An answer ends in one newline, so those at the end of a piece wait for more."""

    def __init__(self) -> None:
        self._held_newlines = ""
        self._is_line_open = False

    def show(self, piece: str) -> None:
        text = self._held_newlines + piece
        shown = text.rstrip("\r\n")
        self._held_newlines = text[len(shown) :]
        if shown:
            self._is_line_open = True
            self._write(make_printable(shown))

    def end(self) -> None:
        """The rest of the line, if there is any of it."""
        if self._is_line_open:
            self._is_line_open = False
            self._write("\n")

    def end_if_writable(self) -> None:
        """For a program that is stopped: a terminal that is gone, or takes nothing just now, is left as it
        is.
        """
        closed = select.POLLHUP | select.POLLERR
        poller = select.poll()
        poller.register(sys.stdout.fileno(), select.POLLOUT)
        if any(events & select.POLLOUT and not events & closed for _, events in poller.poll(0)):
            with suppress(UsageError):
                self.end()

    def _write(self, text: str) -> None:
        """Past the buffer, in which a terminal that takes nothing would leave something behind."""
        with guard_stdout():
            write_all(sys.stdout.fileno(), text.encode("utf-8", "replace"))
