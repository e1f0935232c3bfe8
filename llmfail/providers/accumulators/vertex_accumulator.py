"""A streamed answer of Vertex: Claude's or Gemini's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmfail.providers.accumulators.candidate_accumulator import CandidateAccumulator
from llmfail.providers.accumulators.message_accumulator import MessageAccumulator
from llmfail.providers.stream import Accumulator, StreamPiece
from llmfail.providers.vertex import is_claude_document


class VertexAccumulator:
    """Folds as the first event says."""

    def __init__(self) -> None:
        self._accumulator: Accumulator | None = None

    @property
    def model(self) -> str:
        return "" if self._accumulator is None else self._accumulator.model

    @property
    def is_complete(self) -> bool:
        return self._accumulator is not None and self._accumulator.is_complete

    @property
    def has_end_mark(self) -> bool:
        return self._accumulator is not None and self._accumulator.has_end_mark

    def add(self, event: dict[str, Any]) -> Sequence[StreamPiece]:
        if self._accumulator is None:
            self._accumulator = MessageAccumulator() if is_claude_document(event) else CandidateAccumulator()
        return self._accumulator.add(event)

    def read_texts(self, events: Sequence[bytes], start: int) -> Sequence[str]:
        return () if self._accumulator is None else self._accumulator.read_texts(events, start)

    @property
    def may_end_unnamed(self) -> bool:
        return False

    def is_foreign(self, event: dict[str, Any]) -> bool:
        return self._accumulator is not None and self._accumulator.is_foreign(event)

    def build_reply(self) -> dict[str, Any]:
        return (self._accumulator or CandidateAccumulator()).build_reply()
