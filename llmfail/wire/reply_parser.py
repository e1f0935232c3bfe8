"""A reply of HTTP/1.1 as it comes from a connection: bytes go in, its head and the pieces of its body come
out.

llhttp, by way of httptools, says what the bytes are. aiohttp has the same parser and tells a reader of each
chunk by several calls, which is most of what a stream costs. No input or output happens in here.
"""

from __future__ import annotations

from typing import Final

import httptools

from llmfail.wire.error_mapping import NO_REPLY, BrokenConnectionError

MAX_HEAD_BYTES: Final = 256 * 1024
"""Of a head, and of what stands between two pieces of a body."""
_LIST_HEADERS: Final = frozenset({"connection", "content-encoding", "transfer-encoding"})
_STARTS: Final = (b"HTTP/1.0", b"HTTP/1.1")
_CONTINUES: Final = frozenset(range(100, 200))


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
        self._has_more = self._is_http = False
        self._bytes_since_piece = 0
        self._start = b""
        parser = httptools.HttpResponseParser(self)
        self._parser: httptools.HttpResponseParser | None = parser
        # Seen in servers: lines that end without CR, and blanks behind the size of a chunk.
        parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def feed(self, data: bytes) -> bool:
        """Whether something came behind its end. Raises BrokenConnectionError for what is no HTTP."""
        parser = self._parser
        if parser is None:
            return True
        if not self._is_http:
            self._require_http(data)
        self._bytes_since_piece += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.is_over:
                return True
            raise BrokenConnectionError(NO_REPLY) from error
        if self._bytes_since_piece > MAX_HEAD_BYTES:
            raise BrokenConnectionError(NO_REPLY)
        return self._has_more

    def may_end(self) -> bool:
        """Whether nothing is missing where the connection ends."""
        if not self.has_head or self.is_over or "content-length" in self.headers:
            return False
        return self.headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip() != "chunked"

    def _require_http(self, data: bytes) -> None:
        """The parser reads other versions too, and waits for the end of a line that begins as another."""
        self._start += data[: len(_STARTS[0]) - len(self._start)]
        self._is_http = self._start in _STARTS
        if not (self._is_http or any(one.startswith(self._start) for one in _STARTS)):
            raise BrokenConnectionError(NO_REPLY)

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._has_more = self.is_over

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_more or self.has_head:  # of another reply, or trailers
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key in _LIST_HEADERS and key in self.headers:
            text = f"{self.headers[key]}, {text}"
        self.headers[key] = text

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self._has_more or parser is None:
            return
        status = parser.get_status_code()
        if status in _CONTINUES:
            self.headers = {}
            return
        self.status, self.has_head = status, True
        self.keeps_connection = parser.should_keep_alive()
        self._bytes_since_piece = 0

    def on_body(self, piece: bytes) -> None:
        if not self._has_more:
            self.pieces.append(piece)
            self._bytes_since_piece = 0

    def on_message_complete(self) -> None:
        if self.has_head:
            self.is_over = True
            self._parser = None  # it has methods of this object, which would keep each other
