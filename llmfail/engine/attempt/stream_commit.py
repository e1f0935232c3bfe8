"""Who is heard: of the targets that are asked in one walk, one at most is ever shown to anybody."""

from __future__ import annotations

from collections.abc import Callable

from llmfail.engine.ports.protocols import OnText


class OutputClaim:
    """``show`` is None where answers are shown only when they are whole. ``taken`` is told who speaks.
    ``clock`` is in seconds.
    """

    def __init__(self, show: OnText | None, clock: Callable[[], float]) -> None:
        self.show = show
        self.clock = clock
        self.speaker: TargetOutput | None = None
        self.taken: Callable[[TargetOutput], None] = lambda _voice: None

    def take(self, voice: TargetOutput) -> bool:
        """Whether this voice has the floor: the first that wants it keeps it."""
        if self.speaker is None:
            self.speaker = voice
            self.taken(voice)
        return self.speaker is voice


class TargetOutput:
    """One target's. White space before its first word is not worth the floor: the answer may be empty.
    ``held`` are the seconds that listening took, which are not the target's.
    """

    def __init__(self, floor: OutputClaim) -> None:
        self._floor = floor
        self._unsaid = ""
        self.is_committed = False
        self.consumer_time = 0.0

    def discard_unsent(self) -> None:
        """For another attempt: what it has not said yet is not a part of that."""
        self._unsaid = ""

    async def emit(self, text: str) -> None:
        """Show the text, unless nobody is shown anything or somebody else is heard."""
        show = self._floor.show
        if show is None or not text:
            return
        if not self.is_committed:
            self._unsaid += text
            if not self._unsaid.strip():
                return
            if not self._floor.take(self):
                return
            text, self._unsaid, self.is_committed = self._unsaid, "", True
        started = self._floor.clock()
        await show(text)
        self.consumer_time += self._floor.clock() - started
