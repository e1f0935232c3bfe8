"""One request of a program on its way through the gateway, with what is told of it in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from llmfail.core.receipt import Receipt, format_time, format_usd
from llmfail.http_server.message import Exchange, IncomingRequest
from llmfail.providers.replies.error_reply import ErrorReply
from llmfail.server.request_route import Route
from llmfail.server.served_configuration import ServedConfiguration
from llmfail.settings.schema.serve_settings import ServeKey


class GatewayRefusal(Exception):
    """The gateway itself refuses; nobody was asked."""

    def __init__(self, error: ErrorReply) -> None:
        super().__init__(error.message)
        self.error = error


class RequestLine(Struct, omit_defaults=False):
    """A line of the request log; durations are in milliseconds. It has no text of a request or answer."""

    time: str
    id: str
    method: str
    path: str
    dialect: str | None = None
    key: str | None = None
    user: str | None = None
    feature: str | None = None
    model: str | None = None
    target: str | None = None
    tier: int | None = None
    source: str | None = None
    status: int = 0
    error: str | None = None
    ms: int = 0
    first_token_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: str | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()
    stream: bool = False
    client_gone: bool = False
    tags: str | None = None

    def add_receipt(self, receipt: Receipt) -> None:
        self.feature = receipt.feature
        self.target = None if receipt.target is None else str(receipt.target)
        self.tier = receipt.tier
        self.source = receipt.source
        self.error = None if receipt.error is None else receipt.error.kind
        self.cost_usd = format_usd(receipt.cost_pico_usd)
        self.attempts = [entry.action for entry in receipt.trail].count("called")
        self.dropped = tuple(dict.fromkeys([name for entry in receipt.trail for name in entry.dropped]))
        if receipt.usage is not None:
            self.input_tokens = receipt.usage.input_tokens
            self.output_tokens = receipt.usage.output_tokens

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


class ServedRequest(Struct, frozen=True):
    """``started_at`` is on the monotonic clock, ``at`` in epoch seconds; ``ending``: the gateway breaks off
    what is under way. ``key`` is None where anybody may
    ask; ``reply_headers`` go with every reply to it.
    """

    exchange: Exchange
    request: IncomingRequest
    route: Route
    configuration: ServedConfiguration
    id: str
    started_at: float
    at: float
    line: RequestLine
    ending: asyncio.Event
    key: ServeKey | None = None
    reply_headers: Mapping[str, str] = {}

    @property
    def allowed(self) -> frozenset[str]:
        """The only features that its key may use; empty: all."""
        return frozenset() if self.key is None else self.configuration.features_of_keys[self.key.name]

    async def read_body(self) -> bytes:
        return await self.exchange.read_body(self.configuration.serve.max_body)


def begin_line(request: IncomingRequest, id_: str, at: float) -> RequestLine:
    path = request.path if len(request.path) <= 200 else f"{request.path[:200]}…"
    return RequestLine(time=format_time(at) or "", id=id_, method=request.method[:20], path=path)
