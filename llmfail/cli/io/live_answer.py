"""An answer on a terminal, as it comes."""

from __future__ import annotations

import select
import sys
from contextlib import suppress

from llmfail.cli.io.output import printable, write_all, writing
from llmfail.core.errors import UsageError


class Screen:
    """Shows pieces at once. An answer ends in one newline, so those at the end of a piece wait for more."""

    def __init__(self) -> None:
        self._ends = ""
        self._begun = False

    def show(self, piece: str) -> None:
        text = self._ends + piece
        shown = text.rstrip("\r\n")
        self._ends = text[len(shown) :]
        if shown:
            self._begun = True
            self._write(printable(shown))

    def end(self) -> None:
        """The rest of the line, if there is any of it."""
        if self._begun:
            self._begun = False
            self._write("\n")

    def leave(self) -> None:
        """For who is stopped: a terminal that is gone, or takes nothing just now, is left as it is."""
        takes, gone = select.POLLOUT, select.POLLHUP | select.POLLERR
        sight = select.poll()
        sight.register(sys.stdout.fileno(), takes)
        if any(state & takes and not state & gone for _, state in sight.poll(0)):
            with suppress(UsageError):
                self.end()

    def _write(self, text: str) -> None:
        """Past the buffer, in which a terminal that takes nothing would leave something behind."""
        with writing():
            write_all(sys.stdout.fileno(), text.encode("utf-8", "replace"))
