"""The wire for asyncio: many calls at once, each within its limit."""

from __future__ import annotations

import asyncio

import httpx

from llmfail.core.errors import WireError
from llmfail.core.model import Call, Reply
from llmfail.wire.environment import Way, proxy_errors, proxy_settings, trust, way_to
from llmfail.wire.failures import (
    CONNECT_LIMIT,
    MOST_BYTES,
    OutOfTimeError,
    body_errors,
    headers_from,
    headers_of,
    host_of,
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
        self._clients: dict[Way, httpx.AsyncClient] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything but the turn."""
        with wire_errors(call):
            await self._turn(call, timeout)
            try:
                async with asyncio.timeout(timeout):
                    return await self._exchange(call)
            except TimeoutError as error:
                raise OutOfTimeError from error
            finally:
                self._turns.release()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
        # asyncio closes a transport one turn of the loop later.
        await asyncio.sleep(0)

    async def _turn(self, call: Call, timeout: float) -> None:  # noqa: ASYNC109 - as above
        try:
            async with asyncio.timeout(timeout):
                await self._turns.acquire()
        except TimeoutError as error:
            text = f"{host_of(call)}: not asked, no turn in time among {MOST_CALLS} calls at once"
            raise WireError("timeout", text) from error

    async def _exchange(self, call: Call) -> Reply:
        client = self._client(way_to(call.url))
        request = client.build_request(call.method, call.url, headers=headers_of(call), content=call.body)
        transport = client._transport_for_url(request.url)  # noqa: SLF001 - no public way
        with proxy_errors(transport, call):
            reply = await client.send(request, stream=True)
        try:
            with body_errors(call):
                body = await _body(call, reply)
        finally:
            await reply.aclose()
        return Reply(reply.status_code, headers_from(reply.headers.raw), body)

    def _client(self, way: Way) -> httpx.AsyncClient:
        if way not in self._clients:
            limits = httpx.Timeout(None, connect=CONNECT_LIMIT)
            with proxy_settings(way):
                self._clients[way] = httpx.AsyncClient(
                    verify=trust(way), follow_redirects=False, timeout=limits, trust_env=not way.direct
                )
        return self._clients[way]


async def _body(call: Call, reply: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in reply.aiter_bytes():
        size += len(part)
        if size > MOST_BYTES:
            raise too_long(call)
        parts.append(part)
    return b"".join(parts)
