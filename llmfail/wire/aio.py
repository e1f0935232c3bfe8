"""The wire for asyncio: many calls at once, each within its limit."""

from __future__ import annotations

import asyncio

import httpx

from llmfail.core.model import Call, Reply
from llmfail.wire.failures import (
    CONNECT_LIMIT,
    MOST_BYTES,
    OutOfTimeError,
    body_errors,
    headers_of,
    reply_of,
    too_long,
    wire_errors,
)


class AsyncWire:
    """Connections of one event loop."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        with wire_errors(call):
            try:
                async with asyncio.timeout(timeout):
                    return await self._exchange(call)
            except TimeoutError as error:
                raise OutOfTimeError from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None
            # asyncio closes a transport one turn of the loop later.
            await asyncio.sleep(0)

    async def _exchange(self, call: Call) -> Reply:
        if self._client is None:
            limits = httpx.Timeout(None, connect=CONNECT_LIMIT)
            self._client = httpx.AsyncClient(follow_redirects=False, timeout=limits)
        request = self._client.build_request(
            call.method, call.url, headers=headers_of(call), content=call.body
        )
        reply = await self._client.send(request, stream=True)
        try:
            with body_errors(call):
                body = await _body(call, reply)
        finally:
            await reply.aclose()
        return reply_of(reply, body)


async def _body(call: Call, reply: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in reply.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise too_long(call)
        parts.append(part)
    return b"".join(parts)
