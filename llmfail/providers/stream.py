"""A streamed answer as events: bytes go in, in pieces of any size, text and the end come out.

Server-sent events are read as they are found in the wild: comments, CRLF, no blank after ``data:``, unknown
fields and event names (every format repeats the name inside the data), and a plain JSON body where a stream
was asked for. What an event means is the business of a ``Accumulator``, one per wire format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from llmfail.core.classification.body import NotJson, Payload, parse
from llmfail.core.classification.error_body import find_error
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Completion

_BOM = b"\xef\xbb\xbf"


class TextDelta(Struct, frozen=True):
    text: str


class Thinking(Struct, frozen=True):
    """The model is at work on what nobody reads: thoughts, or the call of a tool."""


class StreamError(Struct, frozen=True):
    """An error after the 200. ``payload`` is for ``classify.classify_reply``, with the status of the
    reply.
    """

    payload: Payload


class BrokenStream(Struct, frozen=True):
    """What came is no stream, or ended without its end mark. ``error`` is for ``classify.classify_error``."""

    error: MalformedReply


class Finished(Struct, frozen=True):
    """The end mark came; ``completion`` is the whole answer."""

    completion: Completion


StreamEvent = TextDelta | Thinking | StreamError | BrokenStream | Finished


class Accumulator(Protocol):
    """What the events of one answer add up to. ``ended``: the provider said that the answer is whole;
    ``has_end_mark``: and that nothing follows, so that nobody has to wait for the end of the body.
    """

    @property
    def is_complete(self) -> bool: ...

    @property
    def has_end_mark(self) -> bool: ...

    def add(self, event: dict[str, Any]) -> str | None:
        """Take one event; its text, empty where the model says something else, None where it says nothing."""
        ...

    def build_reply(self) -> dict[str, Any]:
        """The answer so far, in the shape of a reply that is not streamed."""
        ...


class StreamDecoder:
    """One streamed reply. ``feed`` it until an event other than TextDelta and Working comes: that is the last
    one, stop reading. When the body ends before it, ``end`` gives it.
    """

    def __init__(self, accumulator: Accumulator, decode: Callable[[Payload], Completion]) -> None:
        self._accumulator = accumulator
        self._decode = decode
        self._unfinished_line: list[bytes] = []
        self._data_lines: list[bytes] = []
        self._is_plain_json = False
        self._has_started = False
        self._is_over = False

    @property
    def completion(self) -> Completion:
        """What there is so far, whether or not the end mark came: for a stream that broke."""
        return self._decode(self._accumulator.build_reply())

    def feed(self, data: bytes) -> list[StreamEvent]:
        if not self._has_started:
            data = data.lstrip()
            self._has_started = bool(data)
            self._is_plain_json = data[:1] in (b"{", b"[")
        if self._is_plain_json or b"\n" not in data:
            self._unfinished_line.append(data)
            return []
        *lines, rest = b"".join((*self._unfinished_line, data)).split(b"\n")
        self._unfinished_line = [rest]
        return list(self._read_lines(lines))

    def finish(self) -> list[StreamEvent]:
        """The body is over. Empty when the last event has been given already."""
        rest = b"".join(self._unfinished_line)
        self._unfinished_line = []
        if self._is_plain_json:
            return list(self._emit_last(self._read_plain_json(rest)))
        events = list(self._read_lines((rest, b"")))
        return [*events, *self._emit_last(self._close_events())]

    def _read_lines(self, lines: Sequence[bytes]) -> Iterator[StreamEvent]:
        for line in lines:
            name, _, value = line.removesuffix(b"\r").removeprefix(_BOM).partition(b":")
            if name == b"data":
                self._data_lines.append(value.removeprefix(b" "))
            elif not name and not value and self._data_lines:
                text = b"\n".join(self._data_lines)
                self._data_lines.clear()
                yield from self._read_event(text)

    def _read_event(self, text: bytes) -> Iterator[StreamEvent]:
        if self._is_over:
            return
        if text.strip() == b"[DONE]":
            yield from self._emit_last([Finished(self.completion)])
            return
        payload = parse(text)
        if isinstance(payload, NotJson):
            yield from self._emit_last([BrokenStream(MalformedReply(f"an event of the stream is {payload}"))])
        elif find_error(payload, failed=False):
            yield from self._emit_last([StreamError(payload)])
        elif isinstance(payload, dict):
            said = self._accumulator.add(payload)
            if said is not None:
                yield TextDelta(said) if said else Thinking()
            yield from self._emit_last([Finished(self.completion)]) if self._accumulator.has_end_mark else []

    def _emit_last(self, events: list[StreamEvent]) -> Iterator[StreamEvent]:
        if not self._is_over:
            self._is_over = True
            yield from events

    def _close_events(self) -> list[StreamEvent]:
        if self._accumulator.is_complete:
            return [Finished(self.completion)]
        return [BrokenStream(MalformedReply("the stream ended without its end mark"))]

    def _read_plain_json(self, body: bytes) -> list[StreamEvent]:
        """A plain JSON body."""
        payload = parse(body)
        if find_error(payload, failed=False):
            return [StreamError(payload)]
        try:
            completion = self._decode(payload)
        except MalformedReply as error:
            return [BrokenStream(error)]
        return [*([TextDelta(completion.text)] if completion.text else []), Finished(completion)]
