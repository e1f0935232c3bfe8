"""A streamed answer of Anthropic Messages: named events, and blocks that begin, grow and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.core.answer_piece import CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import Signature
from llmfail.providers.decoding import SurrogateJoiner, as_clean_text, as_mapping, as_string, read_reason
from llmfail.providers.stream import AT_WORK, StreamPiece

_JOINED_FIELDS = ("text", "thinking", "signature", "partial_json")


class _TextDelta(Struct, forbid_unknown_fields=True, tag="text_delta"):
    text: str


class _TextDeltaEvent(Struct, forbid_unknown_fields=True, tag="content_block_delta"):
    """An event that has nothing but a piece of the text."""

    index: int
    delta: _TextDelta


_decode_text = msgspec.json.Decoder(_TextDeltaEvent).decode


class MessageAccumulator:
    """The named events of one message; in its usage the last number that is not null wins."""

    def __init__(self) -> None:
        self.is_complete = self.has_end_mark = False
        self.may_end_unnamed = False
        self._blocks: dict[int, _BlockAccumulator] = {}
        self._calls_begun = 0
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}

    @property
    def model(self) -> str:
        return as_clean_text(self._head.get("model"))

    def add(self, event: dict[str, Any]) -> Sequence[StreamPiece]:
        match event.get("type"):
            case "content_block_delta":
                return _say(self._block_of(event), as_mapping(event.get("delta")))
            case "content_block_start":
                return self._begin_block(event, as_mapping(event.get("content_block")))
            case "content_block_stop":
                block = self._blocks.get(_index_of(event))
                return () if block is None else block.end()
            case "message_start":
                start = as_mapping(event.get("message"))
                self._head |= {"model": start.get("model")}
                self._update_usage(start)
            case "message_delta":
                self._head |= {k: v for k, v in as_mapping(event.get("delta")).items() if v is not None}
                self._update_usage(event)
                self.is_complete = bool(read_reason(self._head.get("stop_reason")))
            case "message_stop":
                self.has_end_mark = self.is_complete
        return ()

    def read_texts(self, events: Sequence[bytes], start: int) -> Sequence[str]:
        said: list[str] = []
        with suppress(msgspec.MsgspecError):
            for number in range(start, len(events)):
                found = _decode_text(events[number])
                block, text = self._blocks.get(found.index), found.delta.text
                if not text or block is None or not block.add_text(text):
                    break
                said.append(text)
        return said

    def is_foreign(self, event: dict[str, Any]) -> bool:
        """Every event of this wire is named; new names may come at any time, and mean nothing."""
        return not as_string(event.get("type"))

    def build_reply(self) -> dict[str, Any]:
        blocks = [self._blocks[index].build_block() for index in sorted(self._blocks)]
        return {"type": "message", **self._head, "content": blocks, "usage": self._usage}

    def _block_of(self, event: Mapping[str, Any]) -> _BlockAccumulator:
        block = self._blocks.get(index := _index_of(event))
        if block is None:
            block = self._blocks[index] = _BlockAccumulator({"type": "text"})
        return block

    def _begin_block(self, event: Mapping[str, Any], start: Mapping[str, Any]) -> Sequence[StreamPiece]:
        block = self._blocks[_index_of(event)] = _BlockAccumulator(start)
        match start.get("type"):
            case "text":
                said = as_clean_text(start.get("text"))
                return (TextPiece(said),) if said else ()
            case "tool_use":
                block.call_index = self._calls_begun
                self._calls_begun += 1
                own, name = as_clean_text(start.get("id")), as_clean_text(start.get("name"))
                return (CallBegun(block.call_index, own, name),)
            case "redacted_thinking":
                return AT_WORK
        return ()

    def _update_usage(self, event: Mapping[str, Any]) -> None:
        self._usage |= {k: v for k, v in as_mapping(event.get("usage")).items() if v is not None}


class _BlockAccumulator:
    """One block: how it began, and the texts that its deltas add to. ``call_index`` is the number of the call
    that it is, if it is one.
    """

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.call_index: int | None = None
        self._start = start
        self._joined: dict[str, SurrogateJoiner] = {}
        self._citations: list[Any] = []

    def add(self, delta: Mapping[str, Any]) -> str:
        """What the delta adds to the text that it belongs to."""
        said = ""
        if "citation" in delta:
            self._citations.append(delta["citation"])
        for field in _JOINED_FIELDS:
            if isinstance(delta.get(field), str):
                said = self._joined.setdefault(field, SurrogateJoiner()).add(delta[field])
        return said

    def add_text(self, said: str) -> bool:
        """Whether it could be added as it is."""
        joined = self._joined.get("text")
        if joined is None:
            joined = self._joined["text"] = SurrogateJoiner()
        return not joined.has_half and bool(joined.add(said))

    def end(self) -> Sequence[StreamPiece]:
        """The signature of a thought is known once it has ended."""
        if self._start.get("type") != "thinking":
            return ()
        signature = as_clean_text(self.build_block().get("signature"))
        return (ThoughtPiece("", Signature("", signature)),) if signature else ()

    def build_block(self) -> dict[str, Any]:
        block = dict(self._start)
        for field, joined in self._joined.items():
            name = "input" if field == "partial_json" else field
            before = block.get(name)
            block[name] = f"{before if isinstance(before, str) else ''}{joined}"
        return {**block, "citations": self._citations} if self._citations else block


def _say(block: _BlockAccumulator, delta: Mapping[str, Any]) -> Sequence[StreamPiece]:
    said = block.add(delta)
    match delta.get("type"):
        case "text_delta" | "text" if said:
            return (TextPiece(said),)
        case "thinking_delta" if said:
            return (ThoughtPiece(said),)
        case "input_json_delta" if said and block.call_index is not None:
            return (CallArguments(block.call_index, said),)
    return AT_WORK if _has_content(delta) else ()


def _index_of(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _has_content(delta: Mapping[str, Any]) -> bool:
    """Whether there is anything in it: text, a thought, a part of a tool's call."""
    return any(value for name, value in delta.items() if name != "type")
