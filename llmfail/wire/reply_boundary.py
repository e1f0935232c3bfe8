"""Where a reply may end in what a server sends.

HTTP libraries read ahead and take what lies behind a reply for the reply to the next request. So bytes are
handed to them in pieces, none of which goes beyond the end of a reply. What is left over belongs to no
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_END_OF_CHUNKS = re.compile(rb"\r\n\r\n")
"""It may stand within a chunk too, where a piece then ends early."""
_MAX_OVERLAP = 3
"""Bytes of such an end that may have come with the piece before."""


class ReplyBoundary:
    """The boundaries on one connection, from request to request."""

    def __init__(self) -> None:
        self._received = b""
        self._position = 0
        self.start_reply()

    def start_reply(self) -> None:
        """A request is being sent, so the next bytes are the head of its reply."""
        self._end: re.Pattern[bytes] | None = _END_OF_HEAD
        self._body_bytes_left: int | None = None
        self._is_at_start = True
        self._search_from = self._position

    def start_body(self, headers: Mapping[str, str]) -> None:
        """The head has been read; its headers say how the body ends."""
        is_chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._end = _END_OF_CHUNKS if is_chunked else None
        self._body_bytes_left = int(length) if length and not is_chunked else None
        self._search_from = self._position

    def has_bytes_left(self) -> bool:
        return self._position < len(self._received)

    def receive(self, data: bytes) -> None:
        """Only after everything that was received before has been taken."""
        overlap = self._received[self._search_from :]
        self._received, self._position, self._search_from = overlap + data, len(overlap), 0

    def take(self) -> bytes:
        """The next piece; it is empty behind the end of a body whose length is known."""
        start, self._position = self._position, self._find_end()
        return self._received[start : self._position]

    def _find_end(self) -> int:
        everything = len(self._received)
        if self._body_bytes_left is not None:
            end = min(everything, self._position + self._body_bytes_left)
            self._body_bytes_left -= end - self._position
            return end
        if self._is_at_start:
            self._is_at_start = False
            if not self._received.startswith(b"H", self._position):
                self._end = None  # No HTTP, such as what a SOCKS proxy says.
        found = self._end.search(self._received, self._search_from) if self._end else None
        self._search_from = found.end() if found else max(self._search_from, everything - _MAX_OVERLAP)
        return found.end() if found else everything
