"""Many asks at once on a clock that only moves to the next moment at which something happens.

The engine's coroutines suspend only where they wait; each wait is a moment on a heap, and the clock jumps
from one to the next. No event loop, no thread and no real time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any


class WaitUntil:
    """Suspends a coroutine until a moment."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __await__(self) -> Generator[float, None, None]:
        yield self._moment


class SimulatedClock:
    """``now`` in seconds since the beginning of the simulation, at ``origin`` on the wall clock."""

    def __init__(self, origin: float) -> None:
        self.origin = origin
        self.now = 0.0
        self._waiting: list[tuple[float, int, Coroutine[Any, Any, Any], Callable[[Any], None]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.origin + self.now

    async def sleep(self, seconds: float) -> None:
        await WaitUntil(self.now + max(seconds, 0.0))

    def start(self, work: Coroutine[Any, Any, Any], finish: Callable[[Any], None]) -> None:
        """Begin the work now; ``finish`` gets its result at the moment at which it ends."""
        self._resume(work, finish)

    def advance_to(self, moment: float) -> None:
        """Let everything happen that happens until then."""
        while self._waiting and self._waiting[0][0] <= moment:
            wakes_at, _, work, finish = heappop(self._waiting)
            self.now = max(self.now, wakes_at)
            self._resume(work, finish)
        if moment < inf:
            self.now = max(self.now, moment)

    def run_out(self) -> None:
        """Let everything come to its end."""
        self.advance_to(inf)

    def _resume(self, work: Coroutine[Any, Any, Any], finish: Callable[[Any], None]) -> None:
        try:
            wakes_at = work.send(None)
        except StopIteration as finished:
            finish(finished.value)
        else:
            heappush(self._waiting, (wakes_at, next(self._numbers), work, finish))
