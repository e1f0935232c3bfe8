"""A whole reply on its way through aiohttp: its head and its body are one write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.helpers import must_be_empty_body, rfc822_formatted_time, should_remove_content_length
from aiohttp.web_response import StreamResponse

from llmfail.http_server.message import OutgoingReply

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.web_request import BaseRequest

SERVER_NAME = "llmfail"
"""aiohttp would tell its version and that of Python."""
_CONTROL_CHARACTERS = bytes([*range(9), *range(10, 32), 127])


class WholeResponse(StreamResponse):
    """aiohttp's own ``Response`` takes twice the steps: it may be compressed, have cookies or be a file."""

    def __init__(self, reply: OutgoingReply) -> None:
        super().__init__(status=reply.status)
        self._reply = reply

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        self._req = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the reply is all of it
        """Raises ValueError for a header that HTTP cannot carry."""
        request = self._req
        assert request is not None, "it was prepared"
        head = self._write_head(request)
        is_empty = must_be_empty_body(request.method, self._reply.status)
        await request.writer.write_eof(head if is_empty else head + self._reply.body)

    def _write_head(self, request: BaseRequest) -> bytes:
        reply, minor = self._reply, request.version.minor
        said = "".join([*reply.headers, *reply.headers.values()]).encode("utf-8", "ignore")
        if said.translate(None, _CONTROL_CHARACTERS) != said:
            raise ValueError("a header that HTTP cannot carry")
        lines = [f"{name}: {value}\r\n" for name, value in reply.headers.items()]
        if reply.body and "content-type" not in reply.headers:
            lines.append("content-type: application/octet-stream\r\n")
        if not should_remove_content_length(request.method, reply.status):
            lines.append(f"content-length: {len(reply.body)}\r\n")
        if minor and not self._keep_alive:
            lines.append("connection: close\r\n")
        elif self._keep_alive and not minor:
            lines.append("connection: keep-alive\r\n")
        first = f"HTTP/1.{minor} {reply.status} {self.reason}\r\n"
        last = f"date: {rfc822_formatted_time()}\r\nserver: {SERVER_NAME}\r\n\r\n"
        return f"{first}{''.join(lines)}{last}".encode("utf-8", "ignore")
