"""One call whose answer comes as a stream, from the sending of it to its result."""

from __future__ import annotations

from math import inf

from msgspec.structs import replace

from llmfail.core.classification.request_id import find_request_id
from llmfail.core.errors import WireError
from llmfail.core.model import Call, Endpoint, Reply
from llmfail.core.routing.attempt_result import AttemptResult
from llmfail.core.routing.attribution import attribute_timeout
from llmfail.engine.attempt.stream_reader import StreamLimits, StreamRead
from llmfail.engine.planning.codec import Codec, read_reply, result_from_wire_error
from llmfail.engine.ports.protocols import AsyncReply, Ports


async def read_stream(
    ports: Ports, codec: Codec, endpoint: Endpoint, call: Call, limits: StreamLimits, ends_at: float
) -> AttemptResult:
    """Send the call and read its whole answer. ``ends_at``: by when, on the monotonic clock, while no text is
    shown.
    """
    first_by = ports.monotonic() + (
        inf if limits.timeouts.first_token is None else limits.timeouts.first_token
    )
    begun_by = min(first_by, ends_at)
    try:
        live = await ports.open(call, begun_by - ports.monotonic())
        try:
            if 200 <= live.status < 300:
                stream_read = _choose_reader(codec, endpoint, limits)(ports, codec, endpoint, live, limits)
                result = await stream_read.run(first_by + live.waited, ends_at)
            else:
                result = await read_reply(ports, codec, endpoint, await _read_whole(ports, live, begun_by))
            return replace(result, request_id=find_request_id(live.headers, endpoint.secret))
        finally:
            await live.close()
    except WireError as error:
        why = attribute_timeout(error, begun_by, ports.monotonic())
        is_slow = why.cause == "timeout" and first_by < ends_at
        return replace(result_from_wire_error(why, endpoint.secret), is_slow=is_slow)


def _choose_reader(codec: Codec, endpoint: Endpoint, limits: StreamLimits) -> type[StreamRead]:
    if not limits.output.is_for_program or not codec.relays_to(endpoint):
        return StreamRead
    from llmfail.engine.attempt.relay_reader import RelayRead

    return RelayRead


async def _read_whole(ports: Ports, live: AsyncReply, ends_at: float) -> Reply:
    """An error as one reply. Raises WireError."""
    parts = []
    while part := await live.read(ends_at - ports.monotonic()):
        parts.append(part)
    return Reply(live.status, live.headers, b"".join(parts))
