"""One call to one target, within its limit, as a reading: whatever happens to it has an outcome.

Admission and settlement are the walk's; nothing in here touches the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification import classify
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import Unsuited, WireError
from llmfail.core.model import Endpoint
from llmfail.core.receipt import Skip
from llmfail.engine.planning.codec import (
    Exchange,
    Reading,
    explained,
    read,
    unanswered,
)
from llmfail.engine.planning.targets import Route
from llmfail.engine.ports.ports import Ports
from llmfail.providers import wire_format

if TYPE_CHECKING:
    from llmfail.engine.attempt.stream_reader import Ear

NO_GOOGLE_CREDENTIALS = "no Google credentials; run: gcloud auth application-default login"


class Departure(Struct, frozen=True):
    """How long a call may take, in seconds, whom to tell that it is on its way, and who listens; None: the
    answer is wanted in one piece.
    """

    limit: float
    leaving: Callable[[], None]
    ear: Ear | None = None


async def call(
    ports: Ports, exchange: Exchange, route: Route, quirks: frozenset[str], departure: Departure
) -> Reading:
    """A target that nothing could be sent to is ``skipped``. Raises UsageError for a request that no target
    could be sent.
    """
    ends_at = ports.monotonic() + departure.limit
    reading = await _once(ports, exchange, route, quirks, departure)
    refused = reading.outcome.kind is Kind.AUTH and reading.status is not None
    if route.google and refused and reading.answer is None:
        # A token may have been revoked before its time; a new one tells a bad token from a bad account.
        ports.google_tokens.forget()
        again = replace(departure, limit=ends_at - ports.monotonic())
        reading = await _once(ports, exchange, route, quirks, again)
    return reading


async def _once(
    ports: Ports, exchange: Exchange, route: Route, quirks: frozenset[str], departure: Departure
) -> Reading:
    ends_at = ports.monotonic() + departure.limit
    endpoint = replace(route.endpoint, quirks=quirks)
    if route.google:
        found = await _with_token(ports, endpoint, departure.limit)
        if isinstance(found, Reading):
            return found
        endpoint = found
    try:
        sent = exchange.encode(wire_format(endpoint.api), endpoint)
    except Unsuited as error:
        return _skipped(Skip.DISABLED, str(error))
    host = urlsplit(sent.url).hostname or ""
    ports.prepare()
    departure.leaving()
    if departure.ear is not None:
        from llmfail.engine.attempt.stream_reader import listen

        return replace(await listen(ports, exchange, endpoint, sent, departure.ear, ends_at), host=host)
    try:
        reply = await ports.send(sent, ends_at - ports.monotonic())
    except WireError as error:
        why = explained(error, ends_at, ports.monotonic())
        return replace(unanswered(why, endpoint.key), host=host)
    return replace(read(exchange, endpoint, reply, ports.wall()), host=host)


async def _with_token(ports: Ports, endpoint: Endpoint, limit: float) -> Endpoint | Reading:
    from llmfail.google_auth import TokenRefused

    try:
        token = await ports.google_tokens.get(limit)
    except TokenRefused as refused:
        return Reading(refused.outcome, free=True)
    except WireError as error:
        return Reading(classify.of_failure(error), free=True)
    return _skipped(Skip.NO_KEY, NO_GOOGLE_CREDENTIALS) if token is None else replace(endpoint, key=token)


def _skipped(reason: Skip, note: str) -> Reading:
    return Reading(Outcome(Kind.CANCELLED, note), free=True, skipped=reason)
