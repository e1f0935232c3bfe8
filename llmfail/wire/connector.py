"""aiohttp's pool of connections, with what a caller of models needs of it beyond: no connection is handed out
on which the server has said goodbye, a reset is no end of a body, and what is closed is closed at once.
"""

from __future__ import annotations

import select
import ssl
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Connector(aiohttp.TCPConnector):
    """A pool that hands out no connection on which the server has said goodbye: nobody could tell afterwards
    whether a call on it had arrived.
    """

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        super().__init__(limit=0, ssl=ssl_context, resolver=aiohttp.ThreadedResolver())
        self._factory = partial(_ConnectionProtocol, loop=self._loop)  # type: ignore[assignment] # partial is invariant
        self._used_protocols: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            assert connection.protocol is not None
            if connection.protocol not in self._used_protocols:
                self._used_protocols.add(connection.protocol)
                return connection
            if not _has_pending_bytes(connection):
                return connection
            connection.close()


class _ConnectionProtocol(ResponseHandler):
    """One connection. Whatever becomes of it, who waits for a body hears of it."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """A body without a length ends with its connection, unless that was reset; no other does, even if it
        had stopped being HTTP. aiohttp takes a reset for an end, and says nothing of the last.
        """
        payload = self._payload
        if exc is not None:
            _fail_unfinished_body(payload)
        super().connection_lost(exc)
        _fail_unfinished_body(payload)

    def close(self) -> None:
        """At once. aiohttp would wait until a silent server has taken what is still to be sent, and under TLS
        for its goodbye.
        """
        self.abort()

    def abort(self) -> None:
        _fail_unfinished_body(self._payload)
        super().abort()


def _fail_unfinished_body(payload: aiohttp.StreamReader | None) -> None:
    """No end by now means that there will be none."""
    if payload is not None and not payload.is_eof():
        payload.set_exception(aiohttp.ClientPayloadError("the connection ended within the body"))


def _has_pending_bytes(connection: Connection) -> bool:
    """Whether something came while nothing was asked; the event loop may not have seen it yet."""
    assert connection.transport is not None
    sight = select.poll()
    sight.register(connection.transport.get_extra_info("socket"), select.POLLIN)
    return bool(sight.poll(0))
