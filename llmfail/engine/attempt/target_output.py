"""The text of one attempt on its way to the caller: held back until it is committed."""

from __future__ import annotations

from collections.abc import Callable

from llmfail.engine.ports.protocols import OnText


class TargetOutput:
    """``show`` is None where answers are shown only when they are whole. ``commit`` says whether this attempt
    may be shown; it is asked with the first text that is not blank, because an answer may be empty.
    ``consumer_time`` are the seconds that showing took, which are not the target's. ``clock`` in seconds.
    """

    def __init__(self, show: OnText | None, commit: Callable[[], bool], clock: Callable[[], float]) -> None:
        self._show = show
        self._commit = commit
        self._clock = clock
        self._unsent = ""
        self.is_committed = False
        self.consumer_time = 0.0

    async def emit(self, text: str) -> None:
        """Show the text, unless the answer is shown as a whole or another attempt is committed."""
        if self._show is None or not text:
            return
        if not self.is_committed:
            self._unsent += text
            if not self._unsent.strip() or not self._commit():
                return
            text, self._unsent, self.is_committed = self._unsent, "", True
        started_at = self._clock()
        await self._show(text)
        self.consumer_time += self._clock() - started_at
