"""A streamed answer as events: bytes go in, in pieces of any size, text and the end come out.

Server-sent events are read as they are found in the wild: comments, CRLF, no blank after ``data:``, unknown
fields and event names (every format repeats the name inside the data), and a plain JSON body where a stream
was asked for. What an event means is the business of a ``Fold``, one per wire format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from llmfail.core.classification.body import NotJson, Payload, parse
from llmfail.core.classification.error_body import find
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Completion

_BOM = b"\xef\xbb\xbf"


class TextDelta(Struct, frozen=True):
    text: str


class Working(Struct, frozen=True):
    """The model is at work on what nobody reads: thoughts, or the call of a tool."""


class StreamError(Struct, frozen=True):
    """An error after the 200. ``payload`` is for ``classify.of_reply``, with the status of the reply."""

    payload: Payload


class Broken(Struct, frozen=True):
    """What came is no stream, or ended without its end mark. ``error`` is for ``classify.of_failure``."""

    error: MalformedReply


class Finished(Struct, frozen=True):
    """The end mark came; ``completion`` is the whole answer."""

    completion: Completion


Event = TextDelta | Working | StreamError | Broken | Finished


class Fold(Protocol):
    """What the events of one answer add up to. ``ended``: the provider said that the answer is whole;
    ``marked``: and that nothing follows, so that nobody has to wait for the end of the body.
    """

    @property
    def ended(self) -> bool: ...

    @property
    def marked(self) -> bool: ...

    def add(self, event: dict[str, Any]) -> str | None:
        """Take one event; its text, empty where the model says something else, None where it says nothing."""
        ...

    def message(self) -> dict[str, Any]:
        """The answer so far, in the shape of a reply that is not streamed."""
        ...


class Stream:
    """One streamed reply. ``feed`` it until an event other than TextDelta and Working comes: that is the last
    one, stop reading. When the body ends before it, ``end`` gives it.
    """

    def __init__(self, fold: Fold, decode: Callable[[Payload], Completion]) -> None:
        self._fold = fold
        self._decode = decode
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._plain = False
        self._started = False
        self._over = False

    @property
    def completion(self) -> Completion:
        """What there is so far, whether or not the end mark came: for a stream that broke."""
        return self._decode(self._fold.message())

    def feed(self, data: bytes) -> list[Event]:
        if not self._started:
            data = data.lstrip()
            self._started = bool(data)
            self._plain = data[:1] in (b"{", b"[")
        if self._plain or b"\n" not in data:
            self._rest.append(data)
            return []
        *lines, rest = b"".join((*self._rest, data)).split(b"\n")
        self._rest = [rest]
        return list(self._read(lines))

    def end(self) -> list[Event]:
        """The body is over. Empty when the last event has been given already."""
        rest = b"".join(self._rest)
        self._rest = []
        if self._plain:
            return list(self._last(self._whole(rest)))
        events = list(self._read((rest, b"")))
        return [*events, *self._last(self._closing())]

    def _read(self, lines: Sequence[bytes]) -> Iterator[Event]:
        for line in lines:
            name, _, value = line.removesuffix(b"\r").removeprefix(_BOM).partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif not name and not value and self._data:
                text = b"\n".join(self._data)
                self._data.clear()
                yield from self._event(text)

    def _event(self, text: bytes) -> Iterator[Event]:
        if self._over:
            return
        if text.strip() == b"[DONE]":
            yield from self._last([Finished(self.completion)])
            return
        payload = parse(text)
        if isinstance(payload, NotJson):
            yield from self._last([Broken(MalformedReply(f"an event of the stream is {payload}"))])
        elif find(payload, failed=False):
            yield from self._last([StreamError(payload)])
        elif isinstance(payload, dict):
            said = self._fold.add(payload)
            if said is not None:
                yield TextDelta(said) if said else Working()
            yield from self._last([Finished(self.completion)]) if self._fold.marked else []

    def _last(self, events: list[Event]) -> Iterator[Event]:
        if not self._over:
            self._over = True
            yield from events

    def _closing(self) -> list[Event]:
        if self._fold.ended:
            return [Finished(self.completion)]
        return [Broken(MalformedReply("the stream ended without its end mark"))]

    def _whole(self, body: bytes) -> list[Event]:
        """A plain JSON body."""
        payload = parse(body)
        if find(payload, failed=False):
            return [StreamError(payload)]
        try:
            completion = self._decode(payload)
        except MalformedReply as error:
            return [Broken(error)]
        return [*([TextDelta(completion.text)] if completion.text else []), Finished(completion)]
