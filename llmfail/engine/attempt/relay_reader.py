"""A stream that is passed on as it comes, and read along the way for its usage, its end and its errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmfail.core.model import Endpoint
from llmfail.engine.attempt.stream_reader import StreamLimits, StreamRead
from llmfail.engine.planning.codec import Codec
from llmfail.engine.ports.protocols import AsyncReply, Ports
from llmfail.providers.relay_events import RelayedEvents
from llmfail.providers.relay_reply import pass_headers_on
from llmfail.providers.stream import Finished, LastEvent, StreamEvent, StreamPiece


class RelayRead(StreamRead):
    """The first event of the answer commits; events before it are passed on with it. A body that is no stream
    is not passed on in pieces.
    """

    def __init__(
        self, ports: Ports, codec: Codec, endpoint: Endpoint, live: AsyncReply, limits: StreamLimits
    ) -> None:
        super().__init__(ports, codec, endpoint, live, limits)
        assert codec.relay is not None, "there is something to pass on"
        self._events = RelayedEvents(endpoint.secret, hides_usage=codec.relay.hides_usage)
        self._headers = pass_headers_on(live.headers, endpoint)
        self._unsent: list[bytes] = []

    def _cut(self, data: bytes) -> Iterable[bytes]:
        return self._events.cut(data) if data else (*self._events.cut(data), data)

    async def _read_part(self, part: bytes, ends_at: float) -> LastEvent | None:
        pieces = self._stream.feed(part) if part else self._stream.finish()
        last = None
        if pieces and isinstance(end := pieces[-1], LastEvent):
            last = end
            pieces.pop()
        if pieces:
            self._hear_token()
        if last is None or isinstance(last, Finished):
            await self._pass_on(part, pieces)
        if last is None and not self._stream.is_complete:
            self._require_time(ends_at)
        return last

    async def _accept_token(self, event: StreamPiece) -> None:  # noqa: ARG002 - it was passed on as it came
        self._hear_token()

    async def _pass_on(self, part: bytes, pieces: Sequence[StreamEvent]) -> None:
        if self._stream.is_plain_json:
            return
        data = self._events.pass_on(part, pieces)
        output = self._limits.output
        if self._stream.has_begun and not output.is_committed:
            await output.begin(self._read_head, self._headers)
        if output.is_committed and not self._unsent:
            await output.emit_bytes(data)
            return
        self._unsent.append(data)
        if output.is_committed:
            data, self._unsent = b"".join(self._unsent), []
            await output.emit_bytes(data)

    def _read_head(self) -> tuple[str | None, None]:
        """The program reads by itself what the provider has read of its request."""
        return self._stream.model or None, None

    async def _flush(self) -> None:
        await self._limits.output.emit_bytes(self._events.flush())
