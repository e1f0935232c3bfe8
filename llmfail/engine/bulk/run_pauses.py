"""The pauses of a batch: while no target of a chain may be asked, the asks of that chain wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from llmfail.core.model import Target
from llmfail.core.request.ask import Ask
from llmfail.engine.ports.protocols import Ports

Chain = tuple[str, tuple[Target, ...]]
"""A feature, and the targets that an ask names itself."""


class RunPause(Struct, frozen=True):
    """No target of this feature can be asked before ``until`` (epoch seconds), ``seconds`` from now."""

    feature: str
    until: float
    seconds: float


class _PauseEnd(NamedTuple):
    """Epoch seconds, and the same moment on the monotonic clock."""

    wall: float = 0.0
    monotonic: float = 0.0


class RunPauses:
    """``report`` is called with each pause as it begins, and again when it becomes longer. A pause is over by
    the clock that says so first: one may be set back, the other stands still while a machine sleeps.
    """

    def __init__(self, ports: Ports, report: Callable[[RunPause], None]) -> None:
        self._ports = ports
        self._report = report
        self._ends: dict[Chain, _PauseEnd] = {}
        self._sleepers: set[asyncio.Future[None]] = set()
        self._is_stopped = False

    def begin(self, ask: Ask, until: float) -> None:
        chain, now = _chain_of(ask), self._ports.wall()
        if until > now and (until > self._end_of(ask).wall or not self.is_paused(ask)):
            self._ends[chain] = _PauseEnd(until, self._ports.monotonic() + until - now)
            self._report(RunPause(ask.feature, until, until - now))

    def is_paused(self, ask: Ask) -> bool:
        return self._seconds_left(ask) > 0

    async def wait(self, ask: Ask) -> bool:
        """Whether its chain may be asked now: False once the run was stopped."""
        while self.is_paused(ask) and not self._is_stopped:
            await self.sleep(self._seconds_left(ask))
        return not self._is_stopped

    async def sleep(self, seconds: float) -> bool:
        """Whether the run goes on after so many seconds."""
        if self._is_stopped:
            return False
        sleeper = asyncio.ensure_future(self._ports.sleep(max(seconds, 0.0)))
        self._sleepers.add(sleeper)
        try:
            await asyncio.wait([sleeper])
        finally:
            self._sleepers.discard(sleeper)
            sleeper.cancel()
        return not self._is_stopped

    def _end_of(self, ask: Ask) -> _PauseEnd:
        return self._ends.get(_chain_of(ask), _PauseEnd())

    def _seconds_left(self, ask: Ask) -> float:
        end = self._end_of(ask)
        return min(end.wall - self._ports.wall(), end.monotonic - self._ports.monotonic())

    def stop(self) -> None:
        """End all pauses: who waits gives up."""
        self._is_stopped = True
        for sleeper in self._sleepers:
            sleeper.cancel()


def _chain_of(ask: Ask) -> Chain:
    return ask.feature, ask.targets
