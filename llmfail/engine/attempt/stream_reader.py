"""One call whose answer is read as it comes, as an AttemptResult like any other.

Until its first token, of the text or of a thought, any byte is a sign of life, such as a keep-alive: many
models reason for minutes and say nothing. From then on only tokens are. Once text has been shown no other
target can take over, so from then on a healthy stream may go on until the deadline.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.answer_piece import TextPiece
from llmfail.core.classification import classify
from llmfail.core.classification.outcome import Outcome
from llmfail.core.errors import MalformedReply, WireError
from llmfail.core.model import Completion, Endpoint, Reply
from llmfail.core.routing.attempt_result import AttemptResult
from llmfail.core.routing.attribution import attribute_timeout
from llmfail.core.routing.stream_timeouts import StreamTimeouts
from llmfail.engine.attempt.piece_redactor import PieceRedactor
from llmfail.engine.attempt.target_output import HeardAnswer, TargetOutput
from llmfail.engine.planning.codec import (
    Codec,
    read_completion,
    result_from_broken_stream,
)
from llmfail.engine.ports.protocols import AsyncReply, Ports
from llmfail.providers import load_wire_format
from llmfail.providers.stream import (
    BrokenStream,
    Finished,
    LastEvent,
    StreamError,
    StreamPiece,
    cut_into_turns,
)

if TYPE_CHECKING:
    from llmfail.providers.stream import StreamDecoder


class StreamLimits(Struct, frozen=True):
    """Where the text goes, and how long it may take. ``deadline`` is a moment on the monotonic clock, by
    which an answer must be whole that is being shown.
    """

    timeouts: StreamTimeouts
    output: TargetOutput
    deadline: float


FINISH_GRACE = 2.0
"""Seconds for usage and end mark behind a finish reason; then the answer is taken as it is."""
TURN_SECONDS = 0.002
"""Seconds of reading after which others have their turn."""
DRAIN_TIMEOUT = 0.05
"""Seconds for the end of a body behind its end mark."""


class _TokenTimeout(Exception):
    """No token came in time; the text says which time."""


class StreamRead:
    """One stream, from its head on."""

    def __init__(
        self, ports: Ports, codec: Codec, endpoint: Endpoint, live: AsyncReply, limits: StreamLimits
    ) -> None:
        self._ports = ports
        self._codec = codec
        self._endpoint = endpoint
        self._live = live
        self._limits = limits
        self._stream: StreamDecoder = load_wire_format(endpoint.api, endpoint.door).make_stream_decoder()
        self._has_begun = self._was_complete = False
        self._next_token_by = 0.0
        self._first_token_at: float | None = None
        limits.output.read_heard = self._read_heard

    @cached_property
    def _redactor(self) -> PieceRedactor:
        return PieceRedactor(self._endpoint)

    async def run(self, first_by: float, ends_at: float) -> AttemptResult:
        self._next_token_by = first_by
        try:
            while True:
                data = await self._read_more(ends_at)
                self._renew_first_wait()
                result = await self._read_piece(data, ends_at)
                if result is not None:
                    return result
                self._shorten_wait_once_complete()
        except _TokenTimeout as silent:
            if self._stream.is_complete:
                return await self._finish_early()
            return replace(await self._break_off_by_error(WireError("timeout", str(silent))), is_slow=True)
        except WireError as error:
            if self._stream.is_complete:
                return await self._finish_early()
            return await self._break_off_by_error(error)

    async def _read_piece(self, data: bytes, ends_at: float) -> AttemptResult | None:
        """Read a piece of the body, or its end. However many events there are, others have their turns
        between them.
        """
        turn_began_at = self._ports.monotonic()
        for part in self._cut(data):
            last = await self._read_part(part, ends_at)
            if last is not None:
                return await self._finish(last)
            if self._ports.monotonic() - turn_began_at > TURN_SECONDS:
                await self._ports.sleep(0)
                turn_began_at = self._ports.monotonic()
        return None

    def _cut(self, data: bytes) -> Iterable[bytes]:
        return cut_into_turns(data)

    async def _read_part(self, part: bytes, ends_at: float) -> LastEvent | None:
        """Take what is said in it; the last event of the stream, if that is in it."""
        for event in self._stream.feed(part) if part else self._stream.finish():
            if isinstance(event, LastEvent):
                return event
            await self._accept_token(event)
            if not self._stream.is_complete:
                self._require_time(ends_at)
        return None

    async def _finish_early(self) -> AttemptResult:
        """Take the answer of a stream that is complete, although its end mark has not come."""
        for event in self._stream.finish_early():
            if isinstance(event, Finished):
                return await self._finish(event)
            assert isinstance(event, StreamPiece), "the stream is complete"
            await self._accept_token(event)
        raise AssertionError("an answer has an end")

    def _renew_first_wait(self) -> None:
        """Whatever came shows that the answer is still being made."""
        first_token = self._limits.timeouts.first_token
        if not self._has_begun and first_token is not None:
            self._next_token_by = max(self._next_token_by, self._ports.monotonic() + first_token)

    def _shorten_wait_once_complete(self) -> None:
        if self._stream.is_complete and not self._was_complete:
            self._was_complete = True
            self._next_token_by = min(self._next_token_by, self._ports.monotonic() + FINISH_GRACE)

    async def _read_more(self, ends_at: float) -> bytes:
        """More of the body. Raises _TokenTimeout when a token is overdue, WireError when the time is over,
        also where there is always more to be read at once.
        """
        end = self._must_end_by(ends_at)
        left = min(self._next_token_by, end) - self._ports.monotonic()
        try:
            if left <= 0:
                raise self._make_timeout()
            return await self._live.read(left)
        except WireError as error:
            why = attribute_timeout(error, min(self._next_token_by, end), self._ports.monotonic())
            if why.cause == "timeout" and self._next_token_by < end:
                raise _TokenTimeout(self._describe_timeout()) from error
            if why.cause == "timeout" and self._live.waited:
                raise WireError("standstill", "its time went by while it waited for a turn") from error
            raise why from error

    def _must_end_by(self, ends_at: float) -> float:
        """By when the answer must be whole. The time that the caller takes to show it does not count."""
        output = self._limits.output
        return (self._limits.deadline if output.is_committed else ends_at) + output.consumer_time

    def _require_time(self, ends_at: float) -> None:
        """A piece may hold any number of tokens. Raises WireError."""
        end, now = self._must_end_by(ends_at), self._ports.monotonic()
        if now > end:
            raise attribute_timeout(self._make_timeout(), end, now)

    def _make_timeout(self) -> WireError:
        return WireError("timeout", f"{urlsplit(self._endpoint.base_url).netloc}: no end in time")

    def _describe_timeout(self) -> str:
        timeouts = self._limits.timeouts
        host = urlsplit(self._endpoint.base_url).netloc
        if self._has_begun:
            return f"{host}: the answer stalled, nothing came for {timeouts.stall:g} s"
        return f"{host}: no token and no keep-alive came for {timeouts.first_token:g} s"

    async def _accept_token(self, event: StreamPiece) -> None:
        output = self._limits.output
        if output.is_for_program:
            await output.begin(self._stream.read_head)
            await output.emit(self._redactor.feed(event))
        elif type(event) is TextPiece:
            await output.emit_text(self._redactor.text.feed(event.text))
        self._hear_token()

    def _hear_token(self) -> None:
        now = self._ports.monotonic()
        if not self._has_begun:
            self._has_begun, self._first_token_at = True, now
        self._next_token_by = now + self._limits.timeouts.stall

    def _read_heard(self) -> HeardAnswer | None:
        """None before the provider has begun to answer."""
        if not (self._has_begun or self._stream.has_begun):
            return None
        completion = self._read_partial()
        usage = self._codec.estimate_usage(completion, self._endpoint.model)
        first_at = self._ports.monotonic() if self._first_token_at is None else self._first_token_at
        return HeardAnswer(replace(completion, usage=usage), first_at)

    async def _finish(self, event: LastEvent) -> AttemptResult:
        match event:
            case Finished(whole):
                await self._flush()
                await self._drain()
                return await read_completion(
                    self._ports, self._codec, self._endpoint, whole, self._live.status
                )
            case StreamError(payload):
                head = Reply(self._live.status, self._live.headers, b"")
                outcome = classify.classify_reply(head, payload, self._ports.wall(), self._endpoint.secret)
                assert outcome is not None, "an error event is an error"
                return await self._break_off(outcome, is_reported=True)
            case BrokenStream(error):
                return await self._break_off_by_error(error)

    async def _flush(self) -> None:
        """What was withheld for its likeness to the key."""
        output = self._limits.output
        if output.is_for_program:
            await output.emit(self._redactor.flush())
        else:
            await output.emit_text(self._redactor.text.flush())

    async def _drain(self) -> None:
        """A connection whose reply was read to its end can be used again."""
        ends_at = self._ports.monotonic() + DRAIN_TIMEOUT
        with suppress(WireError):
            while await self._live.read(ends_at - self._ports.monotonic()):
                pass

    async def _break_off_by_error(self, error: WireError | MalformedReply) -> AttemptResult:
        outcome = replace(classify.classify_error(error, self._endpoint.secret), status=self._live.status)
        return await self._break_off(outcome, is_reported=False)

    async def _break_off(self, outcome: Outcome, *, is_reported: bool) -> AttemptResult:
        """What was said of an answer, as far as it can be shown: the beginning of a key stays hidden."""
        if self._limits.output.is_committed and not self._redactor.text.has_key_part:
            await self._flush()
        result = result_from_broken_stream(
            self._codec, self._endpoint, outcome, self._partial_completion(), is_reported=is_reported
        )
        if not isinstance(result.answer, Completion):
            return result
        shown = result.answer.text.removesuffix(self._redactor.text.rest)
        return replace(result, answer=replace(result.answer, text=shown))

    def _partial_completion(self) -> Completion | None:
        has_begun = self._has_begun or self._limits.output.is_committed
        return self._read_partial() if has_begun else None

    def _read_partial(self) -> Completion:
        try:
            return self._stream.completion
        except MalformedReply:
            return Completion("", "other")
