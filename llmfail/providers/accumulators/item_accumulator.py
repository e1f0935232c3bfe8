"""A streamed answer of OpenAI Responses: items that are added, grow by deltas and are done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.core.answer_piece import CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import Thought, ToolCall
from llmfail.providers.decoding import SurrogateJoiner, as_clean_text, as_mapping, as_string
from llmfail.providers.dialects import responses_parts
from llmfail.providers.stream import AT_WORK, StreamPiece

_THOUGHT_DELTAS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_HIDDEN = ("response.reasoning", "response.output_item.added", "response.custom_tool_call_input")
_LAST_EVENTS = frozenset({"response.completed", "response.incomplete"})


class _OutputTextEvent(Struct, forbid_unknown_fields=True, tag="response.output_text.delta"):
    """An event that has nothing but a piece of the text."""

    delta: str
    item_id: str | None = None
    output_index: int = 0
    content_index: int = 0
    sequence_number: int = 0
    logprobs: tuple[()] = ()
    obfuscation: str | None = None


_decode_text = msgspec.json.Decoder(_OutputTextEvent).decode


class ItemAccumulator:
    """The events of one answer. The last one has all of it; until it comes, the items that were added are
    known, and what their deltas added up to.
    """

    def __init__(self) -> None:
        self.is_complete = self.has_end_mark = False
        self.may_end_unnamed = False
        self._text = SurrogateJoiner()
        self._refusal = SurrogateJoiner()
        self._items: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, SurrogateJoiner] = {}
        self._thoughts: dict[int, SurrogateJoiner] = {}
        self._calls: dict[int, int] = {}
        self._last: Mapping[str, Any] = {}
        self.model = ""

    def add(self, event: dict[str, Any]) -> Sequence[StreamPiece]:
        kind = as_string(event.get("type"))
        if kind == "response.output_text.delta":
            said = self._text.add(as_string(event.get("delta")))
            return (TextPiece(said),) if said else AT_WORK
        response = as_mapping(event.get("response"))
        self.model = as_clean_text(response.get("model")) or self.model
        if kind in _LAST_EVENTS:
            self._last = response
            self.is_complete = self.has_end_mark = True
            return ()
        return tuple(self._add_hidden(kind, event)) or (AT_WORK if kind.startswith(_HIDDEN) else ())

    def read_texts(self, events: Sequence[bytes], start: int) -> Sequence[str]:
        said: list[str] = []
        with suppress(msgspec.MsgspecError):
            for number in range(start, len(events)):
                text = _decode_text(events[number]).delta
                if not text or self._text.has_half:
                    break
                said.append(text)
        self._text.extend(said)
        return said

    def is_foreign(self, event: dict[str, Any]) -> bool:
        """Every event of this wire is named; new names may come at any time, and mean nothing."""
        return not as_string(event.get("type"))

    def build_reply(self) -> dict[str, Any]:
        """An answer whose last event has no items, as some gateways send it, has those that were added."""
        if self._last.get("output"):
            return dict(self._last)
        items = [self._build_item(index) for index in sorted(self._items)]
        if not any(item.get("type") == "message" for item in items) and str(self._text):
            items.append({"type": "message"})
        said: dict[str, Any] = {"type": "output_text", "text": str(self._text)}
        if str(self._refusal):
            said = {"type": "refusal", "refusal": str(self._refusal)}
        whole = [{**one, "content": [said]} if one.get("type") == "message" else one for one in items]
        return {"model": self.model, **self._last, "output": whole}

    def _add_hidden(self, kind: str, event: Mapping[str, Any]) -> Iterator[StreamPiece]:
        """What is not text."""
        index = event.get("output_index")
        index = index if isinstance(index, int) else 0
        delta = as_string(event.get("delta"))
        match kind:
            case "response.output_item.added" | "response.output_item.done":
                self._items[index] = item = dict(as_mapping(event.get("item")))
                yield from self._tell_item(index, item, is_done=kind.endswith("done"))
            case "response.function_call_arguments.delta":
                said = self._arguments.setdefault(index, SurrogateJoiner()).add(delta)
                if said and index in self._calls:
                    yield CallArguments(self._calls[index], said)
            case "response.reasoning_summary_part.added" if str(self._thoughts.get(index, "")):
                yield ThoughtPiece(self._thoughts[index].add("\n"))
            case "response.refusal.delta":
                self._refusal.add(delta)
            case _ if kind in _THOUGHT_DELTAS:
                said = self._thoughts.setdefault(index, SurrogateJoiner()).add(delta)
                if said:
                    yield ThoughtPiece(said)

    def _tell_item(self, index: int, item: Mapping[str, Any], *, is_done: bool) -> Iterator[StreamPiece]:
        """A call when it begins; of a thought, when it is done, its signature and what came in no delta."""
        for part in responses_parts.read_output([item]):
            if isinstance(part, ToolCall) and index not in self._calls:
                self._calls[index] = len(self._calls)
                yield CallBegun(self._calls[index], part.id, part.name)
            elif isinstance(part, Thought) and is_done:
                if part.text and not str(self._thoughts.get(index, "")):
                    yield ThoughtPiece(part.text)
                if part.signature is not None:
                    yield ThoughtPiece("", part.signature)

    def _build_item(self, index: int) -> dict[str, Any]:
        item = self._items[index]
        if item.get("type") == "function_call" and not item.get("arguments") and index in self._arguments:
            return {**item, "arguments": str(self._arguments[index])}
        return item
