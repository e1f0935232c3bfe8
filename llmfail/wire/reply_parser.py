"""A reply of HTTP/1.1 as it comes from a connection: bytes go in, its head and the pieces of its body come
out.

aiohttp's own parser tells a reader of each chunk by several calls, which is most of what a stream costs. No
input or output happens in here.
"""

from __future__ import annotations

import re
from typing import Final

from llmfail.wire.error_mapping import NO_REPLY, BrokenConnectionError

MAX_HEAD_BYTES: Final = 256 * 1024
"""Of a head, and of a line between chunks."""
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?:[ \r]|$)")
_FIRST_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_NEXT_CHUNK: Final = re.compile(rb"\r?\n" + _FIRST_CHUNK.pattern)
_LIST_HEADERS: Final = frozenset({"connection", "content-encoding", "transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})


class ReplyParser:
    """One reply. ``pieces`` are what has come of its body and was not taken yet; ``keeps_connection`` says
    whether another call may follow once it ``is_over``. Header names are in lower case; of one that came
    twice the last counts, unless it is a list.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.has_head = self.is_over = self.keeps_connection = False
        self._unread = b""
        self._searched = 0
        self._left: int | None = 0
        """Bytes of the body, or of a chunk; None: up to the end of the connection."""
        self._is_chunked = self._is_in_trailers = False
        self._chunk_head = _FIRST_CHUNK

    def feed(self, data: bytes) -> bytes:
        """What lies behind its end. Raises BrokenConnectionError for what is no HTTP."""
        if self._unread:
            data, self._unread = self._unread + data, b""
        start = 0 if self.has_head else self._read_heads(data)
        if self.has_head and not self.is_over:
            start = self._read_chunks(data, start) if self._is_chunked else self._read_bytes(data, start)
        if self.is_over:
            return data[start:]
        self._unread = data[start:]
        if len(self._unread) > MAX_HEAD_BYTES:
            raise BrokenConnectionError(NO_REPLY)
        return b""

    def may_end(self) -> bool:
        """Whether nothing is missing where the connection ends."""
        return self.has_head and self._left is None

    def _read_heads(self, data: bytes) -> int:
        """Where the body begins; replies before the one that was asked for are left out."""
        start = 0
        while not self.has_head:
            found = _END_OF_HEAD.search(data, start + self._searched)
            if found is None:
                if not data.startswith(b"HTTP/"[: len(data) - start], start):
                    raise BrokenConnectionError(NO_REPLY)
                self._searched = max(len(data) - start - 3, 0)
                break
            self._read_head(data[start : found.start()].decode("latin-1"))
            start, self._searched = found.end(), 0
        return start

    def _read_head(self, head: str) -> None:
        first, *lines = head.split("\n")
        status_line = _STATUS_LINE.match(first)
        if status_line is None or status_line[2] == "101":
            raise BrokenConnectionError(NO_REPLY)
        if status_line[2].startswith("1"):
            return
        self.status = int(status_line[2])
        self.headers = headers = _read_headers(lines)
        self._choose_framing(headers)
        said = headers.get("connection", "").lower()
        keeps = "close" not in said if status_line[1] == "1" else "keep-alive" in said
        self.keeps_connection = keeps and self._left is not None
        self.has_head = True

    def _choose_framing(self, headers: dict[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if self.status in _BODILESS:
            self.is_over = True
        elif coding is not None:
            self._is_chunked = coding.lower().rpartition(",")[2].strip() == "chunked"
            self._left = 0 if self._is_chunked else None
        elif length is None:
            self._left = None
        elif length.isascii() and length.isdigit():
            self._left = int(length)
            self.is_over = not self._left
        else:
            raise BrokenConnectionError(NO_REPLY)

    def _read_bytes(self, data: bytes, start: int) -> int:
        end = len(data) if self._left is None else min(len(data), start + self._left)
        if start < end:
            self.pieces.append(data[start:end])
        if self._left is not None:
            self._left -= end - start
            self.is_over = not self._left
        return end

    def _read_chunks(self, data: bytes, start: int) -> int:
        size = len(data)
        while start < size and not self._is_in_trailers:
            if self._left:
                piece = data[start : start + self._left]
                self.pieces.append(piece)
                start += len(piece)
                self._left -= len(piece)
                continue
            found = self._chunk_head.match(data, start)
            if found is None:
                self._require_unfinished(data[start:])
                return start
            start, self._left = found.end(), int(found[1], 16)
            self._chunk_head = _NEXT_CHUNK
            self._is_in_trailers = not self._left
        return self._read_trailers(data, start) if self._is_in_trailers else start

    def _require_unfinished(self, line: bytes) -> None:
        """What is no head of a chunk may still become one."""
        is_first = self._chunk_head is _FIRST_CHUNK
        if line.count(b"\n") > (not is_first) or not (is_first or line.startswith((b"\r", b"\n"))):
            raise BrokenConnectionError(NO_REPLY)

    def _read_trailers(self, data: bytes, start: int) -> int:
        """They say nothing that is needed."""
        for end in (b"\r\n", b"\n"):
            if data.startswith(end, start):
                self.is_over = True
                return start + len(end)
        found = _END_OF_HEAD.search(data, start)
        self.is_over = found is not None
        return start if found is None else found.end()


def _read_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        if name and line[:1] in {" ", "\t"}:  # It goes on with the header before.
            headers[name] += f" {line.strip()}"
            continue
        written, colon, text = line.partition(":")
        name, value = written.lower(), text.strip()
        if not colon or not name or name != name.strip():
            raise BrokenConnectionError(NO_REPLY)
        if name in headers and name in _LIST_HEADERS:
            value = f"{headers[name]}, {value}"
        if name == "content-length" and headers.get(name, value) != value:
            raise BrokenConnectionError(NO_REPLY)
        headers[name] = value
    return headers
