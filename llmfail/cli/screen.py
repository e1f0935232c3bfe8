"""An answer on a terminal, as it comes."""

from __future__ import annotations

import sys

from llmfail.cli.output import printable, writing


class Screen:
    """Shows pieces at once. An answer ends in one newline, so those at the end of a piece wait for more."""

    def __init__(self) -> None:
        self._newlines = ""
        self._begun = False

    def show(self, piece: str) -> None:
        text = self._newlines + printable(piece)
        shown = text.rstrip("\n")
        self._newlines = text[len(shown) :]
        if shown:
            self._begun = True
            self._write(shown)

    def end(self) -> None:
        """The rest of the line, if there is any of it."""
        if self._begun:
            self._begun = False
            self._write("\n")

    def _write(self, text: str) -> None:
        with writing():
            sys.stdout.buffer.write(text.encode("utf-8", "replace"))
