"""The answer of one attempt on its way to the caller: held back until it is committed."""

from __future__ import annotations

from collections.abc import Callable

from llmfail.core.answer_piece import AnswerBegun, TextPiece
from llmfail.core.model import Target
from llmfail.engine.ports.protocols import OnPiece


class TargetOutput:
    """``show`` is None where answers are shown only when they are whole. ``commit`` says whether this attempt
    may be shown; it is asked with the first text that is not blank, because an answer may be empty.
    ``consumer_time`` are the seconds that showing took, which are not the target's. ``clock`` in seconds.
    """

    def __init__(
        self, target: Target, show: OnPiece | None, commit: Callable[[], bool], clock: Callable[[], float]
    ) -> None:
        self._target = target
        self._show = show
        self._commit = commit
        self._clock = clock
        self._unsent = ""
        self.is_committed = False
        self.consumer_time = 0.0

    async def emit(self, text: str) -> None:
        """Show the text, unless the answer is shown as a whole or another attempt is committed."""
        show = self._show
        if show is None or not text:
            return
        started_at = self._clock()
        if not self.is_committed:
            self._unsent += text
            if not self._unsent.strip() or not self._commit():
                return
            text, self._unsent, self.is_committed = self._unsent, "", True
            await show(AnswerBegun(self._target, model=None, is_relayed=False))
        await show(TextPiece(text))
        self.consumer_time += self._clock() - started_at
