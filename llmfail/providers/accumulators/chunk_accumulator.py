"""A streamed answer of Chat Completions: chunks of one choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llmfail.core.answer_piece import TextPiece, ThoughtPiece
from llmfail.providers.accumulators.call_accumulator import CallAccumulator, merge_details
from llmfail.providers.decoding import (
    SurrogateJoiner,
    as_clean_text,
    as_mapping,
    as_string,
    iter_mappings,
    read_content,
    read_reason,
)
from llmfail.providers.dialects.chat_parts import sign_thoughts
from llmfail.providers.stream import AT_WORK, StreamPiece

_THOUGHT_KEYS = ("reasoning_content", "reasoning")
_HIDDEN_KEYS = (*_THOUGHT_KEYS, "reasoning_details", "tool_calls", "refusal")
"""Where a model says something besides the text."""


# They are gone again at once, so the garbage collector need not look at them.
class _Delta(Struct, forbid_unknown_fields=True, gc=False):
    content: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    reasoning_content: None = None
    reasoning: None = None


class _Choice(Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta
    index: int | None = None
    finish_reason: str | None = None
    logprobs: None = None


class _PlainChunk(Struct, forbid_unknown_fields=True, gc=False):
    """A chunk that has nothing but a piece of the text, the end or the usage, as most are."""

    choices: list[_Choice]
    model: str | None = None
    id: str | None = None
    object: Literal["chat.completion.chunk"] | None = None
    created: int | None = None
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None


_decode_plain = msgspec.json.Decoder(_PlainChunk).decode


class ChunkAccumulator:
    """The chunks of one answer. The usage may come with the last text, after it, or never; the last wins."""

    def __init__(self) -> None:
        self.is_complete = self.has_end_mark = False
        self.may_end_unnamed = True
        self._text = SurrogateJoiner()
        self._refusal: list[str] = []
        self._thoughts: dict[str, SurrogateJoiner] = {}
        self._details: list[Any] = []
        self._is_thinking = False
        self._calls = CallAccumulator()
        self._finish = ""
        self.model = self._tier = ""
        self._index: int | None = None
        self._usage: Mapping[str, Any] = {}
        self._logprobs: list[Any] = []

    def add(self, event: dict[str, Any]) -> Sequence[StreamPiece]:
        self.model = as_clean_text(event.get("model")) or self.model
        self._tier = as_clean_text(event.get("service_tier")) or self._tier
        self._usage = (
            as_mapping(event.get("usage"))
            or as_mapping(as_mapping(event.get("x_groq")).get("usage"))
            or self._usage
        )
        choice: Mapping[str, Any] = next(
            (one for one in iter_mappings(event.get("choices")) if self._is_ours(one.get("index"))), {}
        )
        delta = as_mapping(choice.get("delta")) or as_mapping(choice.get("message"))
        self._end(choice.get("finish_reason"))
        if choice.get("logprobs"):
            self._logprobs += iter_mappings(as_mapping(choice["logprobs"]).get("content"))
        if delta.get("content") and self._index is None:
            self._index = 0
        said = self._text.add(read_content(delta.get("content")))
        if not any(delta.get(name) for name in _HIDDEN_KEYS):
            pieces = self._tell_text(said)
            return pieces or (AT_WORK if delta.get("content") else ())
        return [*self._think(delta), *self._tell_text(said), *self._call(delta)] or AT_WORK

    def read_texts(self, events: Sequence[bytes], start: int) -> Sequence[str]:
        if self._is_thinking or self._text.has_half:
            return ()
        said: list[str] = []
        try:
            for event in events[start:]:
                chunk, text = _decode_plain(event), None
                for choice in chunk.choices:
                    if self._is_ours(choice.index):
                        text = choice.delta.content
                        if text and self._index is None:
                            self._index = 0
                        if choice.finish_reason is not None:
                            self._end(choice.finish_reason)
                        break
                self.model = chunk.model or self.model
                self._tier = chunk.service_tier or self._tier
                self._usage = chunk.usage or self._usage
                said.append(text or "")
        except msgspec.MsgspecError:
            pass
        self._text.extend(said)
        return said

    def _end(self, reason: object) -> None:
        self._finish = read_reason(reason) or self._finish
        self.is_complete = bool(self._finish)

    def is_foreign(self, event: dict[str, Any]) -> bool:
        """Chunks have choices or a usage; the first may have neither, but it is named a chunk."""
        is_chunk = "choices" in event or "usage" in event or "x_groq" in event
        return not is_chunk and not as_string(event.get("object")).startswith("chat.completion")

    def build_reply(self) -> dict[str, Any]:
        message: dict[str, Any] = {"content": str(self._text), "refusal": "".join(self._refusal)}
        message |= self._build_thoughts()
        message |= {"tool_calls": self._calls.build_calls()}
        choice = {"message": message, "finish_reason": self._finish, "logprobs": {"content": self._logprobs}}
        return {
            "choices": [choice],
            "model": self.model,
            "service_tier": self._tier,
            "usage": self._usage,
        }

    def _tell_text(self, said: str) -> Sequence[StreamPiece]:
        if not said:
            return ()
        return (*self._end_thought(), TextPiece(said)) if self._is_thinking else (TextPiece(said),)

    def _think(self, delta: Mapping[str, Any]) -> Sequence[StreamPiece]:
        """Some servers say a thought under two names."""
        said = ""
        for name in reversed(_THOUGHT_KEYS):
            if isinstance(delta.get(name), str):
                said = self._thoughts.setdefault(name, SurrogateJoiner()).add(delta[name]) or said
        self._details += iter_mappings(delta.get("reasoning_details"))
        self._is_thinking = self._is_thinking or bool(said or self._details)
        return (ThoughtPiece(said),) if said else ()

    def _call(self, delta: Mapping[str, Any]) -> Iterator[StreamPiece]:
        if refusal := as_clean_text(delta.get("refusal")):
            self._refusal.append(refusal)
        for call in iter_mappings(delta.get("tool_calls")):
            yield from self._end_thought()
            yield from self._calls.add(call)

    def _end_thought(self) -> Sequence[StreamPiece]:
        """A thought has ended once something else is said; its signature is all that was told of it."""
        if not self._is_thinking:
            return ()
        self._is_thinking = False
        return (ThoughtPiece("", sign_thoughts(self._build_thoughts())),)

    def _build_thoughts(self) -> dict[str, Any]:
        details = {"reasoning_details": merge_details(self._details)} if self._details else {}
        return {**{name: str(joined) for name, joined in self._thoughts.items()}, **details}

    def _is_ours(self, index: object) -> bool:
        """One answer is asked for; of several, which a server numbers, the one that began first is read. Some
        leave the number of the first one out.
        """
        if not isinstance(index, int):
            return True
        if self._index is None:
            self._index = index
        return index == self._index
