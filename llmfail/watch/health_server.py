"""Health and metrics over HTTP, for monitors and orchestrators: four paths that only read.

Whoever may reach the port may ask for the health; the metrics are for this machine. A name in the Host header
that is not this machine's may be the trick of a page in a browser (DNS rebinding), and so may an Origin.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from llmfail.core.errors import UsageError
from llmfail.core.reports.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmfail.watch.watch_client import WatchClient

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
KEEPALIVE_SECONDS = 5.0
"""What also ends a request whose head never ends."""
SHUTDOWN_SECONDS = 0.5
MAX_AGE_SECONDS = 1.0
"""The status is computed at most once in so many seconds, whoever asks."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:9464``, ``[::1]:9464``, ``:9464`` (loopback). Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not colon or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
        raise UsageError(f"--listen is written HOST:PORT, such as 127.0.0.1:9464, got {text!r}")
    return host, int(port)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_ask(host_header: str | None, origin: str | None, *, listens_to_all: bool) -> bool:
    """No Origin, and a Host that a page elsewhere cannot have made the browser send: a name of loopback or,
    where others may connect, an address.
    """
    if origin is not None or not host_header:
        return False
    name = host_header.rsplit(":", 1)[0] if not host_header.endswith("]") else host_header
    name = name.removeprefix("[").removesuffix("]").lower()
    if name in LOOPBACK_NAMES:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return listens_to_all


class HealthServer:
    """The four paths over one client."""

    def __init__(self, client: WatchClient, host: str) -> None:
        self._client = client
        self._listens_to_all = not is_loopback(host)
        self._lock = asyncio.Lock()
        self._status: Status | None = None
        self._metrics = ""
        self._computed_at = 0.0
        self.app = web.Application(middlewares=[self._guard])
        self.app.router.add_get("/health/live", self._live)
        self.app.router.add_get("/health/ready", self._ready)
        self.app.router.add_get("/health/llm-services", self._services)
        self.app.router.add_get("/metrics", self._show_metrics)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        if not may_ask(headers.get("Host"), headers.get("Origin"), listens_to_all=self._listens_to_all):
            return web.json_response({"error": "this host name or origin may not ask here"}, status=403)
        return await handler(request)

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    async def _ready(self, _request: web.Request) -> web.Response:
        status, _ = await self._look()
        ready = status.readable
        return web.json_response(
            {"status": "ready" if ready else "store is down"}, status=200 if ready else 503
        )

    async def _services(self, _request: web.Request) -> web.Response:
        status, _ = await self._look()
        return web.json_response(status.to_json(), status=503 if status.health == "unhealthy" else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        if not is_loopback(request.remote or ""):
            return web.json_response({"error": "the metrics are for this machine"}, status=403)
        from llmfail.metrics_text import CONTENT_TYPE

        _, text = await self._look()
        return web.Response(body=text.encode(), headers={"content-type": CONTENT_TYPE})

    async def _look(self) -> tuple[Status, str]:
        """Status and metrics of the same moment."""
        async with self._lock:
            if self._status is None or time.monotonic() - self._computed_at >= MAX_AGE_SECONDS:
                self._status = await self._client.status()
                self._metrics = await self._client.metrics()
                self._computed_at = time.monotonic()
            return self._status, self._metrics


@asynccontextmanager
async def serve_health(client: WatchClient, host: str, port: int) -> AsyncIterator[int]:
    """The port that it listens on. Raises UsageError when it cannot."""
    runner = web.AppRunner(
        HealthServer(client, host).app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
