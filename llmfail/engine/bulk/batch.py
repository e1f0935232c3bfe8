"""Many asks at once, and a receipt for each: how many are under way, how fast they start, in which order
their receipts leave, and how much money they may hold. An ask that no target can take now waits for the first
that can, instead of failing (``core.routing.repeat``).

Knows neither lines nor files: a source gives what is to be asked, and ``write`` takes the receipts. Whatever
the source holds, no more than ``BatchLimits.window`` of it is in memory. A slow reader of the receipts, or
one ask that takes long, holds the source up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.errors import ExitCode, LlmfailError, UsageError
from llmfail.core.receipt import Failure, Receipt, TrailEntry, sum_worst_case_cost
from llmfail.core.request.ask import Ask
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.bulk.batch_budget import BatchBudget
from llmfail.engine.bulk.run_pauses import RunPause, RunPauses
from llmfail.engine.ports.protocols import Ports
from llmfail.wire.process_limit import explain_exhaustion

WINDOW_FACTOR = 4
"""Asks begun whose receipts have not been written, for each that may be under way."""
FINAL_WRITE_TIMEOUT = 1.0
"""Seconds to write what is left, for whoever must stop at once."""


class BatchLimits(Struct, frozen=True):
    """``per_minute``: asks that may start in a minute, evenly spaced. Not ``ordered``: receipts as they come.
    ``max_pause``: how many seconds an ask that says nothing of it may wait each time that no target can be
    asked. ``gapless``: behind an ask without a receipt none is written, as a receipt is known by its place.
    """

    concurrency: int = 16
    per_minute: float | None = None
    ordered: bool = True
    gapless: bool = False
    max_pause: float = 600.0

    @property
    def window(self) -> int:
        return self.concurrency * WINDOW_FACTOR


class Batch:
    """One run. ``ask`` raises only UsageError; its receipt may say when to ask again. ``write`` gets some
    receipts at a time and returns when they are safe; what it raises ends the run. ``budget``: the money for
    all of them together. ``on_pause`` is told of each pause.
    """

    def __init__(
        self,
        ask: Callable[[Ask, RepeatRules], Awaitable[Receipt]],
        write: Callable[[Sequence[Receipt]], Awaitable[None]],
        limits: BatchLimits,
        ports: Ports,
        budget: BatchBudget | None = None,
        on_pause: Callable[[RunPause], None] = lambda _pause: None,
    ) -> None:
        self._ask = ask
        self._write = write
        self._limits = limits
        self._ports = ports
        self._budget = budget
        self._call_slots = asyncio.Semaphore(limits.concurrency)
        self._window_slots = asyncio.Semaphore(limits.window)
        self._writing = asyncio.Lock()
        self._pauses = RunPauses(ports, on_pause)
        self._ready: dict[int, Receipt | None] = {}
        self._has_given_up = False
        self._next_place = 0
        self._next_start_at = ports.monotonic()
        self._feeder: asyncio.Task[None] | None = None
        self._source_error: LlmfailError | None = None
        self.under_way = 0

    async def run(self, source: AsyncIterator[Ask | Receipt]) -> bool:
        """Whether every ask of the source came to a receipt before ``stop``. A receipt in the source goes
        on in its place. An error of the source is raised when what was under way is written. Whoever cancels
        this loses what is under way, and nothing that was answered.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._feeder = group.create_task(self._feed(source, group))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        except asyncio.CancelledError:
            await self._write_rest()
            raise
        if self._source_error is not None:
            raise self._source_error
        return not self._feeder.cancelled() and not self._has_given_up

    def stop(self) -> None:
        """Begin nothing more; what is under way is finished and written. Who waits in a pause gives up."""
        self._pauses.stop()
        if self._feeder is not None:
            self._feeder.cancel()

    async def _feed(self, source: AsyncIterator[Ask | Receipt], group: asyncio.TaskGroup) -> None:
        places = count()
        try:
            await self._window_slots.acquire()
            async for one in source:
                if isinstance(one, Receipt):
                    await self._hand_in(next(places), one)
                else:
                    await self._call_slots.acquire()
                    ask = one if self._budget is None else await self._budget.reserve(one)
                    await self._wait_for_start()
                    group.create_task(self._run_ask(next(places), ask))
                await self._window_slots.acquire()
        except LlmfailError as error:
            self._source_error = error

    async def _wait_for_start(self) -> None:
        if self._limits.per_minute is None:
            return
        wait = self._next_start_at - self._ports.monotonic()
        if wait > 0:
            await self._ports.sleep(wait)
        self._next_start_at = (
            max(self._next_start_at, self._ports.monotonic()) + 60.0 / self._limits.per_minute
        )

    async def _run_ask(self, place: int, ask: Ask) -> None:
        receipt, paid = await self._ask_patiently(ask)
        self._has_given_up = self._has_given_up or receipt is None
        if self._budget is not None:
            self._budget.settle(ask, paid)
        await self._hand_in(place, receipt)

    async def _ask_patiently(self, ask: Ask) -> tuple[Receipt | None, int]:
        """The receipt, after as many asks and pauses as it takes, and what they cost; without a receipt when
        the run is stopped in a pause. Begins with a slot, and ends without; a pause takes none.
        """
        max_pause = self._limits.max_pause if ask.wait is None else ask.wait
        trail: tuple[TrailEntry, ...] = ()
        while True:
            if not self._pauses.is_paused(ask):
                receipt = await self._ask_once(ask, RepeatRules(max_pause, trail))
                trail, repeat = receipt.trail, receipt.repeat
                if repeat is None:
                    return receipt, sum_worst_case_cost(trail)
                if repeat.is_pause:
                    self._pauses.begin(ask, repeat.at)
                else:
                    await self._pauses.sleep(repeat.at - self._ports.wall())
            else:
                self._call_slots.release()
            if not await self._pauses.wait(ask):
                return None, sum_worst_case_cost(trail)
            await self._call_slots.acquire()

    async def _ask_once(self, ask: Ask, rules: RepeatRules) -> Receipt:
        if ask.max_cost is not None:
            ask = replace(ask, max_cost=max(ask.max_cost - sum_worst_case_cost(rules.earlier), 0))
        self.under_way += 1
        try:
            return await self._ask_or_report(replace(ask, wait=0.0), rules)
        finally:
            self.under_way -= 1
            self._call_slots.release()

    async def _ask_or_report(self, ask: Ask, rules: RepeatRules) -> Receipt:
        """Nothing that is wrong with one line is a reason to lose the others."""
        try:
            return await self._ask(ask, rules)
        except UsageError as error:
            failure = Failure(error.exit_code, "usage", str(error))
        except Exception as error:  # noqa: BLE001 - the others have been paid for
            failure = _explain_unexpected(error)
        return Receipt(self._ports.new_id(), ask.feature, ref=ask.ref, error=failure)

    async def _hand_in(self, place: int, receipt: Receipt | None) -> None:
        """None where there will be no receipt."""
        self._ready[place] = receipt
        async with self._writing:
            while portion := self._take_portion():
                if receipts := [one for one in portion if one is not None]:
                    await self._write(receipts)
                for _ in portion:
                    self._window_slots.release()

    def _take_portion(self) -> list[Receipt | None]:
        """What may be written now; nobody else writes it."""
        if not self._limits.ordered:
            portion = list(self._ready.values())
            self._ready.clear()
            return portion
        portion = []
        while self._next_place in self._ready:
            if self._limits.gapless and self._ready[self._next_place] is None:
                break
            portion.append(self._ready.pop(self._next_place))
            self._next_place += 1
        return portion

    async def _write_rest(self) -> None:
        """Answers that waited for an earlier one, which will not come."""
        found = (self._ready[place] for place in sorted(self._ready))
        left = [receipt for receipt in found if receipt is not None]
        if left and not self._limits.gapless:
            with suppress(TimeoutError):
                async with asyncio.timeout(FINAL_WRITE_TIMEOUT):
                    await self._write(left)


def _explain_unexpected(error: Exception) -> Failure:
    exhaustion = explain_exhaustion(error)
    if exhaustion is not None:
        return Failure(ExitCode.UNAVAILABLE, "exhaustion", exhaustion)
    what = f"{type(error).__name__}: {error}"
    return Failure(ExitCode.BUG, "bug", f"a bug in llmfail, please report it: {what}")
