"""One call to one target, within its limit, as an AttemptResult: whatever happens to it has an outcome.

The caller admits the call before and settles it afterwards; nothing in here touches the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification import classify
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.classification.request_id import find_request_id
from llmfail.core.errors import UnsupportedRequest, WireError
from llmfail.core.model import Endpoint
from llmfail.core.receipt import SkipReason
from llmfail.core.routing.attempt_result import AttemptResult
from llmfail.core.routing.attribution import attribute_timeout
from llmfail.engine.planning.codec import (
    Codec,
    read_reply,
    result_from_wire_error,
)
from llmfail.engine.planning.targets import TargetRoute
from llmfail.engine.ports.protocols import Ports
from llmfail.providers import load_wire_format
from llmfail.providers.encoding import host_of_url, require_size

if TYPE_CHECKING:
    from llmfail.engine.attempt.stream_reader import StreamLimits

NO_GOOGLE_CREDENTIALS = "no Google credentials; run: gcloud auth application-default login"


class CallOptions(Struct, frozen=True):
    """``limit`` is how long a call may take, in seconds; ``on_sent`` is called when it is on its way;
    ``stream_limits`` is None where the answer is wanted in one piece; ``headers`` are added to those of the
    call.
    """

    limit: float
    on_sent: Callable[[], None]
    stream_limits: StreamLimits | None = None
    headers: Mapping[str, str] | None = None


async def call(
    ports: Ports, codec: Codec, route: TargetRoute, dropped_parameters: frozenset[str], options: CallOptions
) -> AttemptResult:
    """A target that nothing could be sent to is ``skipped``. Raises UsageError for a request that no target
    could be sent.
    """
    ends_at = ports.monotonic() + options.limit
    result = await _call_once(ports, codec, route, dropped_parameters, options)
    refused = result.outcome.kind is Kind.AUTH and result.status is not None
    if route.needs_google_token and refused and result.answer is None:
        # A token may have been revoked before its time; a new one tells a bad token from a bad account.
        ports.google_tokens.forget()
        again = replace(options, limit=ends_at - ports.monotonic())
        result = await _call_once(ports, codec, route, dropped_parameters, again)
    return result


async def _call_once(
    ports: Ports, codec: Codec, route: TargetRoute, dropped_parameters: frozenset[str], options: CallOptions
) -> AttemptResult:
    ends_at = ports.monotonic() + options.limit
    endpoint = replace(route.endpoint, dropped_parameters=dropped_parameters)
    if route.needs_google_token:
        found = await _fetch_token(ports, endpoint, options.limit)
        if isinstance(found, AttemptResult):
            return found
        endpoint = found
    started_at = ports.monotonic()
    try:
        encode = partial(codec.encode, load_wire_format(endpoint.api, endpoint.door), endpoint)
        sent = await ports.run_blocking(encode) if codec.is_large else encode()
        require_size(sent, endpoint.api)
        if options.headers:
            sent = replace(sent, headers={**sent.headers, **options.headers})
    except UnsupportedRequest as error:
        return _skip(SkipReason.DISABLED, str(error))
    host = host_of_url(sent.url)
    ports.prepare()
    # What it took to write the call and to make the wire ready is our own time, and not the target's.
    ends_at += ports.monotonic() - started_at
    options.on_sent()
    if options.stream_limits is not None:
        from llmfail.engine.attempt.stream_call import read_stream

        return replace(
            await read_stream(ports, codec, endpoint, sent, options.stream_limits, ends_at), host=host
        )
    try:
        reply = await ports.send(sent, ends_at - ports.monotonic())
    except WireError as error:
        why = attribute_timeout(error, ends_at, ports.monotonic())
        return replace(result_from_wire_error(why, endpoint.secret), host=host)
    result = await read_reply(ports, codec, endpoint, reply)
    return replace(result, host=host, request_id=find_request_id(reply.headers, endpoint.secret))


async def _fetch_token(ports: Ports, endpoint: Endpoint, limit: float) -> Endpoint | AttemptResult:
    from llmfail.google_auth import TokenRefused

    try:
        token = await ports.google_tokens.get(limit)
    except TokenRefused as refused:
        return AttemptResult(refused.outcome, is_free=True)
    except WireError as error:
        return AttemptResult(classify.classify_error(error), is_free=True)
    return _skip(SkipReason.NO_KEY, NO_GOOGLE_CREDENTIALS) if token is None else replace(endpoint, key=token)


def _skip(reason: SkipReason, note: str) -> AttemptResult:
    return AttemptResult(Outcome(Kind.CANCELLED, note), is_free=True, skipped=reason)
