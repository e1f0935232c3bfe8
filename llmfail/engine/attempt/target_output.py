"""The answer of one attempt on its way to the caller: held back until it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from llmfail.core.answer_piece import AnswerBegun, AnswerPiece, RelayedBytes
from llmfail.core.model import Completion, Usage
from llmfail.engine.ports.protocols import AnswerReader

ReadHead = Callable[[], tuple[str | None, Usage | None]]


class HeardAnswer(NamedTuple):
    """What there is of an answer that has begun, and when its first token came, on the monotonic clock."""

    completion: Completion
    first_token_at: float


class TargetOutput:
    """``reader`` is None where answers are shown only when they are whole. ``commit`` says whether this
    attempt may be shown. For people it is asked with the first text that is not blank, because an answer
    may be empty; for a program with the first sign of life. ``consumer_time`` are the seconds that
    showing took, which are not the target's; ``begun`` is what is told of the attempt when it is committed.
    ``read_heard`` tells what there is of the answer. ``clock`` in seconds.
    """

    def __init__(
        self,
        begun: AnswerBegun,
        reader: AnswerReader | None,
        commit: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._begun = begun
        self._show_text = None if reader is None else reader.on_text
        self._show = None if reader is None else reader.on_piece
        self._commit = commit
        self._clock = clock
        self._unsent = ""
        self.read_heard: Callable[[], HeardAnswer | None] = _hear_nothing
        self.is_committed = False
        self.consumer_time = 0.0

    @property
    def is_for_program(self) -> bool:
        """Whether all of an answer is shown, from its first sign of life."""
        return self._show is not None

    async def emit_text(self, text: str) -> None:
        """Show people the text, unless the answer is shown as a whole or another attempt is committed."""
        if self._show_text is None or not text:
            return
        if not self.is_committed:
            self._unsent += text
            if not self._unsent.strip() or not self._commit():
                return
            text, self._unsent, self.is_committed = self._unsent, "", True
        started_at = self._clock()
        await self._show_text(text)
        self.consumer_time += self._clock() - started_at

    async def begin(self, read_head: ReadHead, relayed_headers: Mapping[str, str] | None = None) -> None:
        """The first sign of life: from here on this attempt answers, unless another one does."""
        if not self.is_committed and self._commit():
            self.is_committed = True
            model, usage = read_head()
            is_relayed, headers = relayed_headers is not None, relayed_headers or {}
            begun = replace(self._begun, model=model, is_relayed=is_relayed, usage=usage, headers=headers)
            await self._tell((begun,))

    async def emit(self, pieces: Sequence[AnswerPiece]) -> None:
        if self.is_committed and pieces:
            await self._tell(pieces)

    async def emit_bytes(self, data: bytes) -> None:
        if self.is_committed and data:
            await self._tell((RelayedBytes(data),))

    def end(self) -> None:
        """Nobody asks any more what there is of the answer, and its reader is let go."""
        self.read_heard = _hear_nothing

    async def _tell(self, pieces: Sequence[AnswerPiece]) -> None:
        assert self._show is not None, "nothing is shown to nobody"
        started_at = self._clock()
        for piece in pieces:
            await self._show(piece)
        self.consumer_time += self._clock() - started_at


def _hear_nothing() -> None:
    return None
