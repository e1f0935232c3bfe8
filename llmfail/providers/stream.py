"""A streamed answer as events: bytes go in, in pieces of any size, what is said and the end come out.

Server-sent events are read as they are found in the wild: comments, CRLF and CR, no blank after ``data:``,
events without a blank line between them, keep-alives in the place of data, unknown fields and event names
(every format repeats the name inside the data), errors in a field or an event of a foreign shape, and a plain
JSON body where a stream was asked for. What an event means is the business of an ``Accumulator``, one per
wire format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from llmfail.core.answer_piece import CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.classification.body import NotJson, Payload, parse
from llmfail.core.classification.error_body import find_error
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Completion, Usage
from llmfail.core.request.thoughts import ThoughtFilter, separate_thoughts
from llmfail.providers.decoding import MAX_ANSWER_CHARS, TOO_LONG, require_possible_length, type_of

_BOM = b"\xef\xbb\xbf"
_END_MARK = b"[DONE]"
_MAX_TURN_BYTES = 8192
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Thinking(Struct, frozen=True):
    """The model is at work on what has no piece of its own, such as a thought that nobody may read."""


StreamPiece = TextPiece | ThoughtPiece | CallBegun | CallArguments | Thinking
"""What the model says, or a sign that it is at work. Its signatures are nobody's yet."""
AT_WORK = (Thinking(),)
_NOT_BEGUN = ("ping", "keepalive", "response.created", "response.in_progress", "response.queued")
"""Events that come before, or between, what a model says."""


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


LastEvent = StreamError | BrokenStream | Finished
StreamEvent = StreamPiece | LastEvent


class Accumulator(Protocol):
    """What the events of one answer add up to. ``ended``: the provider said that the answer is whole;
    ``has_end_mark``: and that nothing follows, so that nobody has to wait for the end of the body.
    ``may_end_unnamed``: ``[DONE]`` is an end mark also where no finish reason came. ``model`` is the one that
    answers, empty until an event tells.
    """

    @property
    def model(self) -> str: ...

    @property
    def is_complete(self) -> bool: ...

    @property
    def may_end_unnamed(self) -> bool: ...

    @property
    def has_end_mark(self) -> bool: ...

    def add(self, event: dict[str, Any]) -> Sequence[StreamPiece]:
        """Take one event; what the model says in it. Calls are numbered from 0."""
        ...

    def read_texts(self, events: Sequence[bytes], start: int) -> Sequence[str]:
        """The texts of the events from there on that say nothing else, or that have none and tell of the end
        and the usage, read in a quick way, as most are; the first other one ends them, and is left to
        ``add``.
        """
        ...

    def is_foreign(self, event: dict[str, Any]) -> bool:
        """Whether the event has none of the forms of this wire."""
        ...

    def build_reply(self) -> dict[str, Any]:
        """The answer so far, in the shape of a reply that is not streamed."""
        ...


class StreamDecoder:
    """One streamed reply. ``feed`` it until an event that is no StreamPiece comes: that is the last one, stop
    reading. When the body ends before it, ``finish`` gives it. ``has_begun``: the answer has an event.
    """

    def __init__(self, accumulator: Accumulator, decode: Callable[[Payload], Completion]) -> None:
        self._accumulator = accumulator
        self._decode = decode
        self._unfinished_line: list[bytes] = []
        self._data_lines: list[bytes] = []
        self._thoughts = ThoughtFilter()
        self._calls: dict[int, bool] = {}
        self.is_plain_json = self.has_begun = False
        self._has_started = False
        self._answer_chars = 0
        self._is_over = False

    @property
    def completion(self) -> Completion:
        """What there is so far, whether or not the end mark came: for a stream that broke."""
        return separate_thoughts(self._decode(self._accumulator.build_reply()))

    def read_head(self) -> tuple[str | None, Usage | None]:
        """The model that answers and what it has read, as far as its first events tell."""
        try:
            begun = self._decode(self._accumulator.build_reply())
        except MalformedReply:
            return None, None
        return begun.model, begun.usage

    @property
    def model(self) -> str:
        """The same of the model alone, at once."""
        return self._accumulator.model

    @property
    def is_complete(self) -> bool:
        """Whether the provider has said that the answer is whole; usage and end mark may still follow."""
        return self._accumulator.is_complete

    def feed(self, data: bytes) -> list[StreamEvent]:
        if not self._has_started:
            data = data.removeprefix(_BOM).lstrip()
            self._has_started = bool(data)
            self.is_plain_json = data[:1] in (b"{", b"[", b"<")
        if self.is_plain_json or not (b"\n" in data or b"\r" in data):
            self._unfinished_line.append(data)
            return []
        if self._unfinished_line:
            data = b"".join((*self._unfinished_line, data))
        elif not self._data_lines and (texts := _split_plain_events(data)):
            return self._read_events(texts)
        *lines, rest = _split_lines(data)
        self._unfinished_line = [rest] if rest else []
        return self._read_lines(lines)

    def finish(self) -> list[StreamEvent]:
        """The body is over. Empty when the last event has been given already."""
        rest = b"".join(self._unfinished_line)
        self._unfinished_line = []
        if self.is_plain_json:
            return self._give_last(lambda: self._read_plain_json(rest))
        return [*self._read_lines((rest, b"")), *self._give_last(self._close_events)]

    def finish_early(self) -> list[StreamEvent]:
        """The answer of a stream that is complete, although its end mark has not come."""
        return self._give_last(lambda: [Finished(self.completion)])

    def _read_lines(self, lines: Sequence[bytes]) -> list[StreamEvent]:
        found: list[StreamEvent] = []
        texts: list[bytes] = []
        for line in lines:
            if line.startswith(b"data: "):
                self._data_lines.append(line[6:])
            elif not line:
                if self._data_lines:
                    texts.append(b"\n".join(self._data_lines))
                    self._data_lines.clear()
            elif (error := self._read_other_line(line)) is not None:
                found += self._read_events(texts)
                found += self._give_last(lambda error=error: [error])  # type: ignore[misc] # its type shows
                texts.clear()
        return [*found, *self._read_events(texts)]

    def _read_other_line(self, line: bytes) -> StreamError | None:
        name, _, value = line.removeprefix(_BOM).partition(b":")
        if name == b"data":
            self._data_lines.append(value.removeprefix(b" "))
        return _error_event(parse(value)) if name == b"error" and value.strip() else None

    def _read_events(self, texts: Sequence[bytes]) -> list[StreamEvent]:
        found: list[StreamEvent] = []
        before_mark = texts[:-1] if texts and texts[-1] == _END_MARK else texts
        start = 0
        while start < len(texts) and not self._is_over:
            if start < len(before_mark) and (said := self._accumulator.read_texts(before_mark, start)):
                self.has_begun = True
                found += self._say_all(said)
                start += len(said)
            if start < len(texts):
                found += self._read_event(texts[start])
                start += 1
        return found

    def _read_event(self, text: bytes) -> Sequence[StreamEvent]:
        if self._is_over:
            return ()
        if text.strip() == _END_MARK:
            is_end = self._accumulator.is_complete or self._accumulator.may_end_unnamed
            return self.finish_early() if is_end else self._give_last(self._close_events)
        payload = parse(text)
        if isinstance(payload, NotJson):
            return self._read_other_text(text, payload)
        if find_error(payload, failed=False):
            return self._give_last(lambda: [StreamError(payload)])
        return self._read_object(payload) if isinstance(payload, dict) else ()

    def _read_other_text(self, text: bytes, payload: NotJson) -> Sequence[StreamEvent]:
        """Several objects without a blank line between them, a keep-alive, or the ruins of an object."""
        lines = text.split(b"\n")
        if len(lines) > 1:
            return self._read_events(lines)
        if payload.is_html or text.lstrip()[:1] in (b"{", b"["):
            broken = BrokenStream(MalformedReply(f"an event of the stream is {payload}"))
            return self._give_last(lambda: [broken])
        return ()

    def _read_object(self, event: dict[str, Any]) -> list[StreamEvent]:
        accumulator = self._accumulator
        if event and not accumulator.is_complete and accumulator.is_foreign(event):
            return self._give_last(lambda: [_error_event(event)])
        self.has_begun = self.has_begun or type_of(event) not in _NOT_BEGUN
        events: list[StreamEvent] = []
        for piece in accumulator.add(event):
            if type(piece) is not TextPiece:
                self._count_call(piece)
                events.append(piece)
                continue
            events += self._say(piece)
            if self._is_over:
                return events
        return [*events, *self.finish_early()] if accumulator.has_end_mark else events

    def _say_all(self, texts: Sequence[str]) -> Sequence[StreamEvent]:
        """Once there is no thought any more they are told as they are."""
        found: list[StreamEvent] = []
        said = [text for text in texts if text]
        for number, text in enumerate(said):
            if self._is_over:
                break
            if self._thoughts.is_answering:
                rest = said[number:]
                chars = self._answer_chars + sum(map(len, rest))
                if chars <= MAX_ANSWER_CHARS:
                    self._answer_chars = chars
                    return [*found, *map(TextPiece, rest)]
            found += self._say(TextPiece(text))
        return found

    def _say(self, piece: TextPiece) -> Sequence[StreamEvent]:
        said = piece.text
        self._answer_chars += len(said)
        if self._answer_chars > MAX_ANSWER_CHARS:
            return self._give_last(lambda: [BrokenStream(MalformedReply(TOO_LONG))])
        shown = self._thoughts.feed(said)
        if shown is said:
            return (piece,)
        return (TextPiece(shown) if shown else Thinking(),)

    def _give_last(self, read: Callable[[], list[StreamEvent]]) -> list[StreamEvent]:
        """The last events, unless they were given before."""
        if self._is_over:
            return []
        events = read()
        self._is_over = True
        if not isinstance(events[0], Finished):
            return events
        rest = self._thoughts.flush()
        told = self._tell_rest_of_calls(events[0].completion)
        return [*([TextPiece(rest)] if rest else []), *told, *events]

    def _count_call(self, piece: StreamPiece) -> None:
        """Which calls were told, and whether with arguments."""
        if type(piece) is CallBegun:
            self._calls[piece.index] = False
        elif type(piece) is CallArguments:
            self._calls[piece.index] = True

    def _tell_rest_of_calls(self, completion: Completion) -> Iterator[StreamEvent]:
        """Calls, or their arguments, that came in no delta, but in one piece."""
        for index, call in enumerate(completion.tool_calls):
            if index not in self._calls:
                yield CallBegun(index, call.id, call.name, call.signature)
            if not self._calls.get(index):
                yield CallArguments(index, call.arguments)

    def _close_events(self) -> list[StreamEvent]:
        if self._accumulator.is_complete:
            return [Finished(self.completion)]
        return [BrokenStream(MalformedReply("the stream ended without its end mark"))]

    def _read_plain_json(self, body: bytes) -> list[StreamEvent]:
        """A plain body: JSON, or the HTML page of somebody between."""
        payload = parse(body)
        if find_error(payload, failed=False):
            return [StreamError(payload)]
        try:
            completion = require_possible_length(separate_thoughts(self._decode(payload)))
        except MalformedReply as error:
            return [BrokenStream(error)]
        return [*([TextPiece(completion.text)] if completion.text else []), Finished(completion)]


def cut_into_turns(data: bytes) -> Iterator[bytes]:
    """Pieces of a body in which there are so few events that reading them holds up nobody for long; an empty
    one, its end, stays one.
    """
    return (data[start : start + _MAX_TURN_BYTES] for start in range(0, max(len(data), 1), _MAX_TURN_BYTES))


def _split_plain_events(data: bytes) -> list[bytes]:
    """What whole events say that have but a line of data each; none where there is anything else."""
    if not (data.startswith(b"data: ") and data.endswith(b"\n\n")) or b"\r" in data:
        return []
    texts = data[6:-2].split(b"\n\ndata: ")
    return [] if b"\n" in b"".join(texts) else texts


def _split_lines(data: bytes) -> list[bytes]:
    """A CR at the end may be the first half of CRLF, so it waits for what follows."""
    if b"\r" not in data:
        return data.split(b"\n")
    held = b"\r" if data.endswith(b"\r") else b""
    *lines, rest = _LINE_END.split(data.removesuffix(held))
    return [*lines, rest + held]


def _error_event(payload: Payload) -> StreamError:
    """An error in a shape of its own, as one that is read like any other, whatever it is made of."""
    if find_error(payload, failed=False):
        return StreamError(payload)
    text = payload.text if isinstance(payload, NotJson) else json.dumps(payload)
    described = payload if isinstance(payload, dict) and payload else {"message": text or "no reason given"}
    return StreamError({"error": described})


def read_event_body(body: bytes, decoder: StreamDecoder) -> StreamEvent:
    """The last event of a whole body that is a stream although none was asked for."""
    events = [*decoder.feed(body), *decoder.finish()]
    return events[-1]
