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
    client_needs,
    headers_of,
    is_loopback,
    reply_of,
    too_long,
    wire_errors,
)

MOST_CALLS = 100
"""At once. With more connections httpx's pool takes longer than the calls."""


class AsyncWire:
    """Connections of one event loop. A call beyond ``MOST_CALLS`` waits for its turn before its own limit
    begins: what waits here says nothing about the provider.
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MOST_CALLS)
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything but the turn."""
        with wire_errors(call):
            try:
                await asyncio.wait_for(self._turns.acquire(), timeout)
                try:
                    async with asyncio.timeout(timeout):
                        return await self._exchange(call)
                finally:
                    self._turns.release()
            except TimeoutError as error:
                raise OutOfTimeError from error

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
        # asyncio closes a transport one turn of the loop later.
        await asyncio.sleep(0)

    async def _exchange(self, call: Call) -> Reply:
        client = self._client(direct=is_loopback(call.url))
        request = client.build_request(call.method, call.url, headers=headers_of(call), content=call.body)
        reply = await client.send(request, stream=True)
        try:
            with body_errors(call):
                body = await _body(call, reply)
        finally:
            await reply.aclose()
        return reply_of(reply, body)

    def _client(self, *, direct: bool) -> httpx.AsyncClient:
        """One client for the world and one for this machine, see ``is_loopback``."""
        if direct not in self._clients:
            limits = httpx.Timeout(None, connect=CONNECT_LIMIT)
            with client_needs():
                client = httpx.AsyncClient(follow_redirects=False, timeout=limits, trust_env=not direct)
            self._clients[direct] = client
        return self._clients[direct]


async def _body(call: Call, reply: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in reply.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise too_long(call)
        parts.append(part)
    return b"".join(parts)
