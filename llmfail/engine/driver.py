"""Drives one ask: does what ``ask_machine`` commands and tells it what came of it.

One operation at a time, and then nothing in here suspends but what the ports do: a blocking caller needs no
event loop. Where a hedge may start, each operation is a task of the event loop. An interruption reaches the
operation that it meets; what is left to settle stands in ``state``, and ``settle`` settles it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from llmfail.core.admission.budget_notice import BudgetNotice
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.records.record import StoreChange
from llmfail.core.records.statistics import Statistics
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing import ask_machine, ask_state
from llmfail.core.routing.ask_events import Command, Event, Moment, Operation
from llmfail.core.routing.ask_state import AskPlan, Stage
from llmfail.core.routing.attempt_result import FoundAnswer
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.attempt.operations import Operations
from llmfail.engine.planning.codec import Codec
from llmfail.engine.planning.job import Job, reservation_request_of
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import AnswerReader, Ports, WatchListener

if TYPE_CHECKING:
    import asyncio

    from llmfail.engine.attempt.event_reports import TrailReporter

Trace = Callable[[Event | Command, Moment], None]
"""Is called with each event just before it is applied, and with each operation just before it begins."""


_NEVER_WAITS = frozenset({ev.Started, ev.Admitted, ev.Sent, ev.FirstOutput, ev.Settled})
"""Events behind which nothing waits for a time that depends on chance."""


class Driver:
    """One ask under way, until ``ends_at`` on the monotonic clock; ``ports`` have no listener where nobody
    listens. Run it once, read ``state``, and ``settle`` whatever happened.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what an ask needs
        self,
        routes: TargetRoutes,
        ports: Ports,
        job: Job,
        codec: Codec,
        ends_at: float,
        reader: AnswerReader | None,
        trace: Trace | None = None,
    ) -> None:
        self._ports = ports
        self._trace = trace
        self._queue: deque[Operation] = deque()
        self._tasks: dict[asyncio.Task[Event], Operation | ev.ArmTimer] = {}
        self._reporter = None if ports.listener is None else _reporter_of(ports.listener, ports, job)
        plan = _plan_of(routes, ports, job, ends_at, reader)
        self.state = ask_state.begin(plan)
        self._operations = Operations(routes, ports, job, codec, reader, self)
        self.notices: Sequence[BudgetNotice] = self._operations.log.notices
        """What people should know of budgets, once everything is settled."""

    async def run(self) -> FoundAnswer | None:
        try:
            if self.state.plan.hedge_delay is not None:
                # An answer is late by the target's time, not by that of our own imports.
                self._ports.prepare()
            self.apply_event(ev.Started())
            while self._queue or self._tasks:
                if self._tasks:
                    await self._await_tasks()
                else:
                    self.apply_event(await self._perform(self._queue.popleft()))
        except BaseException:
            await self._stop()
            raise
        return self.state.found

    async def settle(self, *also: StoreChange, statistics: Sequence[Statistics] = ()) -> None:
        """Settle what is left to settle, in one step with ``also``."""
        await self._operations.log.settle(*also, statistics=statistics)

    def end(self) -> None:
        """The last thing that is done with it. It and its operations know each other, which would keep the
        request until the next search for garbage.
        """
        del self._operations

    async def _perform(self, command: Operation) -> Event:
        if self._trace is not None:
            self._trace(command, Moment(self._ports.monotonic(), self._ports.wall()))
        return await self._operations.perform(command)

    def apply_event(self, event: Event) -> None:
        """What can be done at once is done, an operation waits for its turn."""
        ports = self._ports
        random_number = 0.5 if type(event) in _NEVER_WAITS else ports.random()
        now = Moment(ports.monotonic(), ports.wall(), random_number)
        if self._trace is not None:
            self._trace(event, now)
        self.state, commands = ask_machine.step(self.state, event, now)
        if self._reporter is not None:
            self._reporter.report_news(self.state)
        for command in commands:
            match command:
                case ev.Cancel(number):
                    self._cancel(number)
                case ev.ArmTimer() | ev.DisarmTimer():
                    self._set_timer(command)
                case _:
                    self._begin(command)

    def _begin(self, command: Operation) -> None:
        if self.state.plan.hedge_delay is None or self.state.stage is Stage.INTERRUPTED:
            self._queue.append(command)
            return
        import asyncio

        self._tasks[asyncio.ensure_future(self._perform(command))] = command

    async def _await_tasks(self) -> None:
        """Until something has ended."""
        import asyncio

        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in [one for one in self._tasks if one.done()]:
            ended = self._tasks.pop(task, None)
            if ended is not None:
                self.apply_event(self._event_of(task, ended))

    def _event_of(self, task: asyncio.Task[Event], command: Operation | ev.ArmTimer) -> Event:
        """What ends an attempt that has lost is of no interest."""
        number = getattr(command, "attempt", ev.ASK)
        is_lost = number != ev.ASK and self.state.attempt(number).is_cancelling
        if task.cancelled() or (is_lost and task.exception() is not None):
            return ev.Cancelled(number)
        return task.result()

    def _cancel(self, number: int) -> None:
        for task, command in self._tasks.items():
            if getattr(command, "attempt", ev.ASK) == number:
                task.cancel()

    def _set_timer(self, command: ev.ArmTimer | ev.DisarmTimer) -> None:
        import asyncio

        for task in [one for one, armed in self._tasks.items() if isinstance(armed, ev.ArmTimer)]:
            task.cancel()
            del self._tasks[task]
        if isinstance(command, ev.ArmTimer):
            self._tasks[asyncio.ensure_future(self._fire_after(command.seconds))] = command

    async def _fire_after(self, seconds: float) -> Event:
        await self._ports.sleep(seconds)
        return ev.TimerFired()

    async def _stop(self) -> None:
        """Nothing goes on once the ask is interrupted, and no other ask waits for its answers any more."""
        self._queue.clear()
        self._apply_results()
        await self._cancel_tasks()
        self.apply_event(ev.AskInterrupted())
        while self._queue:
            self.apply_event(await self._perform(self._queue.popleft()))

    def _apply_results(self) -> None:
        """What has ended before the interruption counts as what it came to; nothing new is begun."""
        for task in [one for one in self._tasks if one.done() and not one.cancelled()]:
            command = self._tasks.pop(task)
            if task.exception() is None:
                self.apply_event(self._event_of(task, command))

    async def _cancel_tasks(self) -> None:
        """An interruption meanwhile waits for them all the same."""
        if not self._tasks:
            return
        import asyncio

        for task in self._tasks:
            task.cancel()
        while any(not task.done() for task in self._tasks):
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._tasks)
        self._tasks.clear()


def _reporter_of(listener: WatchListener, ports: Ports, job: Job) -> TrailReporter:
    from llmfail.engine.attempt.event_reports import TrailReporter

    return TrailReporter(listener, ports, job)


def _plan_of(
    routes: TargetRoutes, ports: Ports, job: Job, ends_at: float, reader: AnswerReader | None
) -> AskPlan:
    def build_reservation_request(candidate: Candidate, moment: float) -> ReservationRequest:
        scopes = routes.budget_scopes(job.feature, job.caller, candidate.target, moment)
        return reservation_request_of(job, candidate, scopes, moment, priced=False)

    return AskPlan(
        id=job.id,
        request=job.request,
        size=job.size,
        candidates=job.candidates,
        primary=job.primary,
        ends_at=ends_at,
        wait_ends_at=ports.monotonic() + job.wait,
        fair_deadline=job.fair_deadline,
        reservation_request_of=build_reservation_request,
        rounds=job.rounds,
        target_retries=job.target_retries,
        stop_on_refusal=job.stop_on_refusal,
        hedge_delay=job.hedge_delay if ports.concurrent else None,
        is_streamed=job.stream_timeouts is not None,
        is_shown=reader is not None,
        is_for_program=reader is not None and reader.on_piece is not None,
        is_cached=ports.answers is not None and job.cache_policy is not None,
    )
