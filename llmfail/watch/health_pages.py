"""Health and metrics over HTTP, for monitors and orchestrators: four paths that only read, of ``watch
--listen`` and of ``serve``.

Whoever may reach the port may ask for the health; the metrics are for this machine and for operators.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from llmfail.client.aio import AsyncClient
from llmfail.core.loopback import is_loopback
from llmfail.core.reports.metric import MetricFamily
from llmfail.core.reports.status import Status
from llmfail.http_server.host_rule import HostRule
from llmfail.http_server.http_app import HttpServer
from llmfail.http_server.listen_address import bind
from llmfail.http_server.message import Exchange, IncomingRequest, OutgoingReply, json_reply

MAX_AGE_SECONDS = 1.0
"""The status is computed at most once in so many seconds, whoever asks."""
LIVE, READY, SERVICES, METRICS = "/health/live", "/health/ready", "/health/llm-services", "/metrics"
HEALTH_PATHS = frozenset({LIVE, READY, SERVICES, METRICS})


class HealthPages:
    """The four paths over one client, which may be replaced. ``is_operator`` lets others than this machine
    read the metrics; ``add_metrics`` has those of this process; ``is_draining`` makes it not ready.
    """

    def __init__(
        self,
        client: AsyncClient,
        is_operator: Callable[[IncomingRequest], bool] | None = None,
        add_metrics: Callable[[], tuple[MetricFamily, ...]] = tuple,
    ) -> None:
        self.client = client
        self.is_draining = False
        self._is_operator = is_operator or (lambda request: is_loopback(request.remote))
        self._add_metrics = add_metrics
        self._lock = asyncio.Lock()
        self._status: Status | None = None
        self._metrics: str | None = None
        self._computed_at = 0.0

    async def handle(self, request: IncomingRequest) -> OutgoingReply:
        """For one of ``HEALTH_PATHS``."""
        if request.path == LIVE:
            return json_reply({"status": "live"})
        if request.path == METRICS and not self._is_operator(request):
            return json_reply({"error": "the metrics are for this machine"}, 403)
        if request.path == READY and self.is_draining:
            return json_reply({"status": "draining"}, 503)
        status, metrics = await self._look()
        if request.path == READY:
            word = "ready" if status.readable else "store is down"
            return json_reply({"status": word}, 200 if status.readable else 503)
        if request.path == SERVICES:
            return json_reply(status.to_json(), 503 if status.health == "unhealthy" else 200)
        return self._write_metrics(metrics)

    def _write_metrics(self, text: str | None) -> OutgoingReply:
        """None: what was counted cannot be read."""
        if text is None:
            return json_reply({"error": "what was counted cannot be read"}, 503)
        from llmfail.metrics_text import CONTENT_TYPE, format_metrics

        own = self._add_metrics()
        body = text + (format_metrics(own) if own else "")
        return OutgoingReply(200, {"content-type": CONTENT_TYPE}, body.encode())

    async def _look(self) -> tuple[Status, str | None]:
        """Status and metrics of the same moment."""
        async with self._lock:
            if self._status is None or time.monotonic() - self._computed_at >= MAX_AGE_SECONDS:
                self._status = await self.client.status()
                self._metrics = await self.client.metrics() if self._status.readable else None
                self._computed_at = time.monotonic()
            return self._status, self._metrics


@asynccontextmanager
async def serve_health(client: AsyncClient, host: str, port: int) -> AsyncIterator[int]:
    """The port that it listens on. Raises UsageError when it cannot."""
    pages, rule = HealthPages(client), HostRule(listens_to_all=not is_loopback(host))

    async def handle(exchange: Exchange) -> OutgoingReply:
        request = exchange.request
        if not rule.may_ask(request.headers.get("host"), request.headers.get("origin")):
            return json_reply({"error": "this host name or origin may not ask here"}, 403)
        if request.path not in HEALTH_PATHS:
            return json_reply({"error": "there is nothing at this path"}, 404)
        if request.method not in {"GET", "HEAD"}:
            return json_reply({"error": "this path is only read"}, 405, {"allow": "GET, HEAD"})
        return await pages.handle(request)

    listener = bind(host, port)
    server = HttpServer(handle)
    try:
        await server.open(listener)
        yield listener.getsockname()[1]
    finally:
        await server.close()
