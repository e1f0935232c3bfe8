"""From a request to who handles it: host and origin, health, the dashboard, keys and limits, and then the
dialects. Whatever goes wrong is told in the dialect of whoever asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from llmfail.core.conversation import Dialect
from llmfail.core.errors import LlmfailError
from llmfail.core.loopback import is_loopback
from llmfail.engine.ports.ids import new_id
from llmfail.http_server.host_rule import is_simple_type
from llmfail.http_server.message import (
    BodyRefused,
    Exchange,
    IncomingRequest,
    OutgoingReply,
    json_reply,
)
from llmfail.providers.replies.error_reply import ErrorKind, ErrorReply, write_error
from llmfail.server.answer_headers import name_headers
from llmfail.server.answer_route import answer
from llmfail.server.dashboard.dashboard import Dashboard
from llmfail.server.embedding_route import embed
from llmfail.server.model_routes import count_tokens, show_model, show_models
from llmfail.server.program_keys import describe_limit, limits_of, read_key
from llmfail.server.request_log_file import RequestLogFile
from llmfail.server.request_route import NoRoute, RouteKind, dialect_of, find_route
from llmfail.server.served_configuration import ServedConfiguration
from llmfail.server.served_request import GatewayRefusal, RequestLine, ServedRequest, begin_line
from llmfail.server.worker_gauges import WorkerGauges
from llmfail.settings.schema.serve_settings import ServeKey
from llmfail.watch.health_pages import HEALTH_PATHS, HealthPages

BUSY_SECONDS = 1.0
MAX_FORM_BYTES = 16 * 1024
CLIENT_GONE = 499
"""The status of the log for a program that left before it had an answer."""
_BODY_ERRORS: Mapping[int, ErrorKind] = {413: "too_large", 415: "wrong_type"}
_HANDLERS: Mapping[RouteKind, Callable[[ServedRequest], Awaitable[OutgoingReply | None]]] = {
    "ask": answer,
    "count": count_tokens,
    "embed": embed,
    "list_models": show_models,
    "show_model": show_model,
}


class Gateway:
    """Handles every request of one process, by a configuration that may be replaced. Made within the event
    loop.
    """

    def __init__(
        self,
        configuration: ServedConfiguration,
        gauges: WorkerGauges,
        log: RequestLogFile,
        dashboard: Dashboard | None = None,
    ) -> None:
        self.configuration = configuration
        self.health = HealthPages(configuration.client, self._is_operator, gauges.build_families)
        self._gauges = gauges
        self._log = log
        self._dashboard = dashboard
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()

    async def handle(self, exchange: Exchange) -> OutgoingReply | None:
        """As ``http_server.message.Handler``."""
        request = exchange.request
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if self._dashboard is not None and (request.method, request.path) in self._dashboard.routes:
            return await self._show_page(exchange, self._dashboard)
        if not self.configuration.host_rule.may_ask(host, origin):
            return _refuse_host(request)
        if request.path == "/" or request.path in HEALTH_PATHS:
            reply = await self._show_health(request)
            if reply is not None:
                return reply
        if origin is not None and request.method == "OPTIONS":
            return OutgoingReply(204, _allow_origin(origin))
        return await self._serve_program(exchange, _allow_origin(origin) if origin else {})

    async def _show_page(self, exchange: Exchange, dashboard: Dashboard) -> OutgoingReply:
        """A page of the gateway's own may post to it."""
        request = exchange.request
        host, origin = request.headers.get("host"), request.headers.get("origin")
        own = {None, f"http://{host}", f"https://{host}"}
        if not self.configuration.host_rule.is_served(host) or origin not in own:
            return _refuse_host(request)
        body = await exchange.read_body(MAX_FORM_BYTES) if request.method == "POST" else b""
        return await dashboard.handle(replace(request, body=body))

    def replace_configuration(self, fresh: ServedConfiguration) -> None:
        """For requests that come from now on."""
        self.configuration = fresh
        self.health.client = fresh.client
        if self._dashboard is not None:
            self._dashboard.client = fresh.client

    def end_requests(self) -> None:
        """Break off what is under way."""
        self._ending.set()
        for task in self._tasks:
            task.cancel()

    async def _show_health(self, request: IncomingRequest) -> OutgoingReply | None:
        """None for a path that says nothing of it. Claude Code looks at / whether anybody is there."""
        if request.path == "/" and request.method in {"HEAD", "GET"}:
            return json_reply({"llmfail": "the base URL of this gateway is here, or ends in /v1"})
        if request.path not in HEALTH_PATHS:
            return None
        if request.method not in {"GET", "HEAD"}:
            return json_reply({"error": "this path is only read"}, 405, {"allow": "GET, HEAD"})
        return await self.health.handle(request)

    def _is_operator(self, request: IncomingRequest) -> bool:
        """Whether the metrics are for whoever asks: this machine, unless a proxy asks for others, or an
        administrator. Who comes by a socket file has no address.
        """
        is_here = not request.remote or is_loopback(request.remote)
        if not self.configuration.serve.behind_proxy and is_here:
            return True
        return self._dashboard is not None and self._dashboard.is_admin(request)

    async def _serve_program(self, exchange: Exchange, reply_headers: dict[str, str]) -> OutgoingReply | None:
        request, started, at = exchange.request, time.monotonic(), time.time()
        line = begin_line(request, new_id(), at)
        dialect: Dialect = "chat"
        reply: OutgoingReply | None = None
        try:
            route = find_route(request.method, request.path)
            dialect = line.dialect = route.dialect
            served = ServedRequest(
                exchange=exchange,
                request=request,
                route=route,
                configuration=self.configuration,
                id=line.id,
                started_at=started,
                at=at,
                line=line,
                ending=self._ending,
                reply_headers=reply_headers,
            )
            reply = await self._serve_counted(served)
        except NoRoute as wrong:
            kind: ErrorKind = "wrong_method" if wrong.allow else "unknown_path"
            allow = {"allow": wrong.allow} if wrong.allow else {}
            reply = _write_refusal(wrong.dialect, ErrorReply(kind, wrong.message), allow)
        except GatewayRefusal as refused:
            reply = _write_refusal(dialect, refused.error, reply_headers)
        except BodyRefused as refused:
            error = ErrorReply(
                _BODY_ERRORS.get(refused.status, "unreadable"), refused.message, refused.status
            )
            reply = _write_refusal(dialect, error, reply_headers)
        except LlmfailError as error:
            reply = _write_refusal(dialect, ErrorReply("unreadable", name_headers(str(error))), reply_headers)
        except (asyncio.CancelledError, ConnectionError):
            if not self._ending.is_set() or exchange.is_begun:
                line.client_gone, line.status = True, CLIENT_GONE
                raise
            reply = _write_refusal(dialect, ErrorReply("busy", "the gateway is ending"), reply_headers)
        except Exception:
            line.status = 500
            raise
        finally:
            self._finish_line(line, reply, started)
        return reply

    async def _serve_counted(self, served: ServedRequest) -> OutgoingReply | None:
        """While it is under way it counts, and can be ended."""
        task = asyncio.current_task(self._loop)  # looking for the loop is a call of the system in Python 3.11
        assert task is not None, "a handler runs in a task"
        self._tasks.add(task)
        self._gauges.count(+1)
        served.configuration.count(+1)
        try:
            return await self._serve(served)
        finally:
            served.configuration.count(-1)
            self._gauges.count(-1)
            self._tasks.discard(task)

    async def _serve(self, served: ServedRequest) -> OutgoingReply | None:
        request, configuration = served.request, served.configuration
        key = self._find_key(configuration, request, served.at)
        served.line.key = None if key is None else key.name
        if self._gauges.inflight > configuration.serve.max_inflight:
            raise GatewayRefusal(ErrorReply("busy", "the gateway is busy", retry_after=BUSY_SECONDS))
        if request.method == "POST" and is_simple_type(request.headers.get("content-type", "")):
            raise GatewayRefusal(
                ErrorReply("wrong_type", "send the body as JSON, with content-type: application/json")
            )
        if key is not None:
            limits = limits_of(key, configuration.settings.namespace)
            if reached := await configuration.client.admit_program(limits):
                message = describe_limit(reached)
                raise GatewayRefusal(ErrorReply("rate_limited", message, retry_after=reached.seconds))
        return await _HANDLERS[served.route.kind](served if key is None else replace(served, key=key))

    @staticmethod
    def _find_key(configuration: ServedConfiguration, request: IncomingRequest, at: float) -> ServeKey | None:
        if configuration.keys.is_open:
            return None
        key = configuration.keys.find(request.headers)
        if key is not None and not key.has_expired(datetime.fromtimestamp(at, UTC).date()):
            return key
        if key is not None:
            what = f"the key {key.name} has expired"
        elif read_key(request.headers) is None:
            what = "there is no key in the request"
        else:
            what = "this key is unknown here"
        message = f"{what}; send one of the gateway's own keys as Authorization: Bearer KEY"
        raise GatewayRefusal(ErrorReply("unauthorized", message))

    def _finish_line(self, line: RequestLine, reply: OutgoingReply | None, started: float) -> None:
        line.ms = round((time.monotonic() - started) * 1000)
        line.status = line.status or (200 if reply is None else reply.status)
        self._log.write(line.to_json())


def _write_refusal(dialect: Dialect, error: ErrorReply, headers: Mapping[str, str]) -> OutgoingReply:
    status, body, own = write_error(dialect, error)
    return OutgoingReply(status, {**headers, **own}, body)


def _refuse_host(request: IncomingRequest) -> OutgoingReply:
    message = "this host name or origin may not ask here; see serve: hosts and origins"
    return _write_refusal(dialect_of(request.path), ErrorReply("forbidden", message), {})


def _allow_origin(origin: str) -> dict[str, str]:
    """For a page that the configuration lists."""
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "*, authorization",
        "vary": "origin",
    }
