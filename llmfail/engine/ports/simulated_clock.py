"""Any number of asks at once on a clock that only moves to the next moment at which something happens.

An event loop of asyncio whose waits take no time: where it would sleep until a moment, the clock jumps there.
So hedges, timeouts and cancellation are those of the engine, and hours pass in milliseconds.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SimulatedClock:
    """``now`` in seconds since the beginning of the simulation, at ``origin`` on the wall clock."""

    def __init__(self, origin: float) -> None:
        self.origin = origin
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.origin + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work comes to, with all the waits in it."""
        with asyncio.Runner(loop_factory=lambda: _SimulatedLoop(self)) as runner:
            return runner.run(work)


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._simulated_clock = clock

    def time(self) -> float:
        return self._simulated_clock.now


class _JumpingSelector(selectors.DefaultSelector):
    """The loop waits in here for its sockets, of which none ever has anything to say."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and for no moment")
        self._clock.advance(max(timeout, 0.0))
        return []
