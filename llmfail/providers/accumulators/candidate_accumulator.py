"""A streamed answer of Gemini: chunks of one candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmfail.core.answer_piece import CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import Thought, ToolCall
from llmfail.providers.decoding import (
    SurrogateJoiner,
    as_clean_text,
    as_string,
    dump_arguments,
    iter_mappings,
)
from llmfail.providers.dialects import gemini_parts
from llmfail.providers.gemini import iter_parts, read_block_reason, read_finish
from llmfail.providers.stream import AT_WORK, StreamPiece

_CHUNK_KEYS = ("candidates", "usageMetadata", "promptFeedback", "modelVersion", "responseId")
_KEPT_KEYS = ("usageMetadata", "modelVersion", "promptFeedback", "responseId")


class CandidateAccumulator:
    """The chunks of one answer. Each may carry the usage, the last one wins; the one with a finish reason, or
    the news that the prompt is blocked, is the end mark.
    """

    def __init__(self) -> None:
        self.is_complete = self.has_end_mark = False
        self.may_end_unnamed = False
        self._text = SurrogateJoiner()
        self._finish = ""
        self._parts: list[Mapping[str, Any]] = []
        self._calls_told = 0
        self._kept: dict[str, Any] = {}
        self._is_blocked = False

    @property
    def model(self) -> str:
        return as_clean_text(self._kept.get("modelVersion"))

    def add(self, event: dict[str, Any]) -> Sequence[StreamPiece]:
        self._kept |= {name: event[name] for name in _KEPT_KEYS if event.get(name)}
        candidate = next(iter_mappings(event.get("candidates")), None)
        if candidate is None:
            is_blocked = not str(self._text) and bool(read_block_reason(event))
            self._is_blocked = self._is_blocked or is_blocked
            self.is_complete = self.is_complete or self._is_blocked
            return ()
        self._finish = read_finish(candidate) or self._finish
        self.is_complete = bool(self._finish)
        new = list(iter_parts(candidate))
        self._parts = gemini_parts.join_texts([*self._parts, *new])
        if any("functionCall" in part for part in new):
            # Calls without an id get one made of the reply's, which must stay the same until its end.
            self._kept.setdefault("responseId", dump_arguments(event))
        return [piece for part in new for piece in self._say(part)]

    def read_texts(self, events: Sequence[bytes], start: int) -> Sequence[str]:  # noqa: ARG002 - the accumulators' common face
        """Every chunk may have its own usage too."""
        return ()

    def is_foreign(self, event: dict[str, Any]) -> bool:
        return not any(name in event for name in _CHUNK_KEYS)

    def build_reply(self) -> dict[str, Any]:
        if self._is_blocked:
            return self._kept
        parts = self._parts or [{"text": ""}]
        return {"candidates": [{"content": {"parts": parts}, "finishReason": self._finish}], **self._kept}

    def _say(self, part: Mapping[str, Any]) -> Iterator[StreamPiece]:
        if "functionCall" in part:
            yield from self._tell_new_calls()
            return
        is_thought, text = part.get("thought") is True, as_string(part.get("text"))
        if is_thought:
            for thought in gemini_parts.read_parts([part], ""):
                if isinstance(thought, Thought) and thought.text:
                    yield ThoughtPiece(thought.text)
                if isinstance(thought, Thought) and thought.signature is not None:
                    yield ThoughtPiece("", thought.signature)
        elif said := self._text.add(text):
            yield TextPiece(said)
        elif text:
            yield AT_WORK[0]

    def _tell_new_calls(self) -> Iterator[StreamPiece]:
        """They come whole."""
        parts = gemini_parts.read_separate_parts(self._parts, self._kept["responseId"])
        calls = [part for part in parts if isinstance(part, ToolCall)]
        for index in range(self._calls_told, len(calls)):
            call = calls[index]
            yield CallBegun(index, call.id, call.name, call.signature)
            yield CallArguments(index, call.arguments)
        self._calls_told = len(calls)
