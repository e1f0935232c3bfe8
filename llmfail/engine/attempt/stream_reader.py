"""One call whose answer is read as it comes, as a reading like any other.

What counts as a sign of life is a token, of the text or of a thought; comments and pings are none. Once text
has been shown nobody else can take over, so from then on a healthy stream may go on until the deadline.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification import classify
from llmfail.core.classification.outcome import Outcome
from llmfail.core.errors import MalformedReply, WireError
from llmfail.core.model import Call, Completion, Endpoint, Reply
from llmfail.core.redaction import Veil
from llmfail.core.routing.stream_timeouts import Patience
from llmfail.engine.attempt.stream_commit import Voice
from llmfail.engine.planning.codec import (
    Exchange,
    Reading,
    broken,
    explained,
    heard,
    read,
    unanswered,
)
from llmfail.engine.ports.ports import LiveReply, Ports
from llmfail.providers import wire_format
from llmfail.providers.stream import Broken, Finished, StreamError, TextDelta, Working

if TYPE_CHECKING:
    from llmfail.providers.stream import Stream


class Ear(Struct, frozen=True):
    """Who listens, and for how long. ``deadline`` is a moment on the monotonic clock, by which an answer must
    be whole that is being shown.
    """

    patience: Patience
    voice: Voice
    deadline: float


LINGER = 0.05
"""Seconds for the end of a body behind its end mark."""


class _Silent(Exception):
    """No token came in time; the text says which time."""


async def listen(
    ports: Ports, exchange: Exchange, endpoint: Endpoint, call: Call, ear: Ear, ends_at: float
) -> Reading:
    """Send the call and hear it out. ``ends_at``: by when, on the monotonic clock, while nothing is shown."""
    first_by = ports.monotonic() + ear.patience.first_token
    begun_by = min(first_by, ends_at)
    try:
        live = await ports.open(call, begun_by - ports.monotonic())
        try:
            if not 200 <= live.status < 300:
                return read(exchange, endpoint, await _whole(ports, live, begun_by), ports.wall())
            hearing = _Hearing(ports, exchange, endpoint, live, ear)
            return await hearing.out(first_by + live.waited, ends_at)
        finally:
            await live.close()
    except WireError as error:
        why = explained(error, begun_by, ports.monotonic())
        is_slow = why.cause == "timeout" and first_by < ends_at
        return replace(unanswered(why, endpoint.key), is_slow=is_slow)


class _Hearing:
    """One stream, from its head on."""

    def __init__(
        self, ports: Ports, exchange: Exchange, endpoint: Endpoint, live: LiveReply, ear: Ear
    ) -> None:
        self._ports = ports
        self._exchange = exchange
        self._endpoint = endpoint
        self._live = live
        self._ear = ear
        self._stream: Stream = wire_format(endpoint.api).events()
        self._veil = Veil(endpoint.key)
        self._began = False
        self._due = 0.0

    async def out(self, first_by: float, ends_at: float) -> Reading:
        self._due = first_by
        try:
            while True:
                data = await self._next(ends_at)
                for event in self._stream.feed(data) if data else self._stream.end():
                    if isinstance(event, Working | TextDelta):
                        await self._token(event)
                        self._require_time(ends_at)
                    else:
                        return await self._last(event)
        except _Silent as silent:
            return replace(await self._broken(WireError("timeout", str(silent))), is_slow=True)
        except WireError as error:
            return await self._broken(error)

    async def _next(self, ends_at: float) -> bytes:
        """More of the body. Raises _Silent when a token is overdue, WireError when the time is over."""
        end = self._end(ends_at)
        try:
            return await self._live.read(min(self._due, end) - self._ports.monotonic())
        except WireError as error:
            why = explained(error, min(self._due, end), self._ports.monotonic())
            if why.cause == "timeout" and self._due < end:
                raise _Silent(self._silence()) from error
            if why.cause == "timeout" and self._live.waited:
                raise WireError("standstill", "its time went by while it waited for a turn") from error
            raise why from error

    def _end(self, ends_at: float) -> float:
        """By when it must be whole. The time that somebody takes to look at it does not count."""
        voice = self._ear.voice
        return (self._ear.deadline if voice.spoke else ends_at) + voice.held

    def _require_time(self, ends_at: float) -> None:
        """A piece may hold any number of tokens. Raises WireError."""
        end, now = self._end(ends_at), self._ports.monotonic()
        if now > end:
            late = WireError("timeout", f"{urlsplit(self._endpoint.base_url).netloc}: no end in time")
            raise explained(late, end, now)

    def _silence(self) -> str:
        patience = self._ear.patience
        host = urlsplit(self._endpoint.base_url).netloc
        if self._began:
            return f"{host}: the answer stalled, nothing came for {patience.stall:g} s"
        return f"{host}: no token came in {patience.first_token:g} s"

    async def _token(self, event: Working | TextDelta) -> None:
        self._began = True
        if isinstance(event, TextDelta):
            await self._ear.voice.say(self._veil.lift(event.text))
        self._due = self._ports.monotonic() + self._ear.patience.stall

    async def _last(self, event: Finished | StreamError | Broken) -> Reading:
        match event:
            case Finished(whole):
                await self._ear.voice.say(self._veil.rest())
                await self._linger()
                return heard(self._exchange, self._endpoint, whole, self._live.status)
            case StreamError(payload):
                head = Reply(self._live.status, self._live.headers, b"")
                outcome = classify.of_reply(head, payload, self._ports.wall(), self._endpoint.key)
                assert outcome is not None, "an error event is an error"
                return await self._half(outcome, told=True)
            case Broken(error):
                return await self._broken(error)

    async def _linger(self) -> None:
        """A connection whose reply was read to its end can be used again."""
        ends_at = self._ports.monotonic() + LINGER
        with suppress(WireError):
            while await self._live.read(ends_at - self._ports.monotonic()):
                pass

    async def _broken(self, error: WireError | MalformedReply) -> Reading:
        outcome = replace(classify.of_failure(error, self._endpoint.key), status=self._live.status)
        return await self._half(outcome, told=False)

    async def _half(self, outcome: Outcome, *, told: bool) -> Reading:
        """What was said of an answer, as far as it can be shown: the beginning of a key stays hidden."""
        if self._ear.voice.spoke and not self._veil.hides:
            await self._ear.voice.say(self._veil.rest())
        reading = broken(self._exchange, self._endpoint, outcome, self._partial(), told=told)
        if not isinstance(reading.answer, Completion):
            return reading
        shown = reading.answer.text.removesuffix(self._veil.held)
        return replace(reading, answer=replace(reading.answer, text=shown))

    def _partial(self) -> Completion | None:
        if not self._began:
            return None
        try:
            return self._stream.completion
        except MalformedReply:
            return Completion("", "other")


async def _whole(ports: Ports, live: LiveReply, ends_at: float) -> Reply:
    """An error as one reply. Raises WireError."""
    parts = []
    while part := await live.read(ends_at - ports.monotonic()):
        parts.append(part)
    return Reply(live.status, live.headers, b"".join(parts))
