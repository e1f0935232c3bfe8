"""Asking the queue again: one pass asks everything that is due, the oldest first, and each once.

An answer is stored before it is printed, so that one that was paid for is never lost, and its item is removed
as soon as it is printed. Whoever is killed in the few microseconds between the two leaves an answer that the
next pass prints a second time: it has the same ``id`` and the same ``queued``, by which a reader can tell.
A runner whose item was taken over, because it was stopped for longer than its lease, prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.degrade.queue_item import QueueItem, reschedule
from llmfail.core.errors import StoreError, UsageError
from llmfail.core.model import Target
from llmfail.core.one_line import one_line
from llmfail.core.receipt import Failure, Receipt, to_json_line
from llmfail.core.request.ask import Ask
from llmfail.core.routing.attempt_steps import LEASE_MARGIN
from llmfail.engine.engine import Engine
from llmfail.engine.ports.protocols import LeasedQueue
from llmfail.engine.ports.stop_signals import block_signals

PRINT_LEASE = 30.0
"""Seconds of a lease for the time in which an answer is printed; renewed while nobody takes it."""
RENEW_INTERVAL = 5.0


class Output(Protocol):
    """Where receipts go, a line each. What it raises ends the pass, and costs no answer."""

    def ready(self, max_wait: float) -> bool:
        """Whether a line would be taken now, or within ``max_wait`` seconds."""
        ...

    def write(self, line: str, meanwhile: Callable[[], object]) -> None:
        """When this returns, the line has left the process. ``meanwhile`` is called while it has to wait."""
        ...


RequestGroup = tuple[str, tuple[Target, ...]]
"""Requests of the same feature and targets."""


class PassResult(Struct, frozen=True):
    """What one pass came to. ``failed``: due, and not answered."""

    answered: int = 0
    failed: int = 0


class QueueRunner:
    """``report`` is called with what people should know of single requests."""

    def __init__(
        self, engine: Engine, queue: LeasedQueue, output: Output, report: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._output = output
        self._report = report
        ports = engine.ports
        self._process = ports.process
        self._holder = f"{ports.new_id()} {ports.process.token}"
        self._reported: set[str] = set()

    async def run_pass(self) -> PassResult:
        """Whatever stops a pass, the item that it had taken is given back."""
        for item_id in self._queue.remove_expired():
            self._report(f"{item_id} was not answered within queue.max_age and is gone")
        try:
            answers = await self._process_items()
        except BaseException:
            with suppress(StoreError), block_signals():
                self._queue.release(self._holder)
            raise
        finally:
            # With the last connection the journal goes, and what it remembers of prompts.
            self._queue.close()
        return PassResult(answers.count(True), answers.count(False))

    async def _process_items(self) -> list[bool]:
        """For each item that was due and is not somebody else's, whether it was answered."""
        hopeless: set[RequestGroup] = set()
        served: list[bool | None] = []
        for item in self._queue.items():
            if item.ask is None and item.receipt is None:
                served.append(self._report_unreadable(item))
            elif await self._is_due(item, hopeless):
                served.append(await self._process_item(item))
        return [answered for answered in served if answered is not None]

    async def _is_due(self, item: QueueItem, hopeless: set[RequestGroup]) -> bool:
        """``hopeless``: requests for which nobody would be called, to look only once in a pass."""
        now = self._engine.ports.wall()
        if item.is_backing_off(now) or item.ask is None or item.has_reached_retry_at(now):
            return not item.is_backing_off(now)
        kind = (item.ask.feature, item.ask.targets)
        if kind not in hopeless and await self._can_be_answered(item.ask):
            return True
        hopeless.add(kind)
        return False

    async def _can_be_answered(self, ask: Ask) -> bool:
        try:
            preview = await self._engine.plan(ask)
        except UsageError:
            return False
        return preview.cache == "hit" or any(step.decision == "call" for step in preview.steps)

    async def _process_item(self, item: QueueItem) -> bool | None:
        """Whether it was answered; None when it is somebody else's. Nothing is asked before the answer can be
        printed.
        """
        while not self._output.ready(RENEW_INTERVAL):
            pass
        taken = self._queue.take(item.id, self._holder, self._lease_seconds(item), self._is_holder_gone)
        if taken is None:
            return None
        if taken.receipt is not None:
            return self._print(taken.id, taken.receipt)
        receipt = await self._ask(taken)
        if receipt.error is not None:
            return self._record_failure(taken, receipt, receipt.error)
        for warning in receipt.warnings:
            self._report(f"warning: {taken.id}: {warning}")
        return self._store_answer(taken.id, to_json_line(receipt))

    def _lease_seconds(self, item: QueueItem) -> float:
        """As long as the ask may take, and some more."""
        if item.ask is None or item.receipt is not None:
            return PRINT_LEASE
        if item.ask.deadline is not None:
            return item.ask.deadline + LEASE_MARGIN
        settings = self._engine.settings
        try:
            return settings.resolve_defaults(settings.find_feature(item.ask.feature)).deadline + LEASE_MARGIN
        except UsageError:
            return LEASE_MARGIN

    def _is_holder_gone(self, holder: str) -> bool:
        return self._process.is_gone(holder.partition(" ")[2])

    async def _ask(self, item: QueueItem) -> Receipt:
        """Without the degrade steps, and without waiting for a circuit: the queue waits."""
        assert item.ask is not None
        try:
            receipt = await self._engine.ask(replace(item.ask, wait=0.0), degrade=False)
        except UsageError as error:
            failure = Failure(error.exit_code, "usage", str(error))
            receipt = Receipt(self._engine.ports.new_id(), item.feature, error=failure)
        return replace(receipt, queued=item.id)

    def _record_failure(self, item: QueueItem, receipt: Receipt, failure: Failure) -> bool | None:
        called = any(entry.action == "called" for entry in receipt.trail)
        retry_at, rests_until = reschedule(item, self._engine.ports.wall(), receipt.retry_at, called=called)
        error = one_line(failure.message)
        told = self._queue.give_back(
            item.id, self._holder, attempted=called, rests_until=rests_until, retry_at=retry_at, error=error
        )
        if not told:
            self._report_lost(item.id)
            return None
        with block_signals():
            self._output.write(to_json_line(receipt), lambda: None)
        return False

    def _store_answer(self, item_id: str, line: str) -> bool | None:
        """An answer that cannot be stored is printed all the same: it was paid for."""
        try:
            stored = self._queue.store_answer(item_id, self._holder, line, PRINT_LEASE)
        except StoreError:
            return self._print_and_remove(item_id, line)
        if not stored:
            self._report_lost(item_id)
            return None
        return self._print(item_id, line)

    def _print(self, item_id: str, line: str) -> bool | None:
        """While nobody takes it, it stays ours."""
        while not self._output.ready(RENEW_INTERVAL):
            self._renew(item_id)
        with block_signals():
            if self._renew(item_id):
                return self._print_and_remove(item_id, line)
        self._report_lost(item_id)
        return None

    def _print_and_remove(self, item_id: str, line: str) -> bool:
        """Nothing comes between printing and removing but the end of the process."""
        with block_signals():
            self._output.write(line, lambda: self._renew(item_id))
            self._queue.remove(item_id, self._holder)
        return True

    def _renew(self, item_id: str) -> bool:
        return self._queue.renew(item_id, self._holder, PRINT_LEASE)

    def _report_lost(self, item_id: str) -> None:
        self._report(
            f"{item_id} was dropped, or taken over by somebody else; its receipt is not printed here"
        )

    def _report_unreadable(self, item: QueueItem) -> bool | None:
        """Told once."""
        if item.id not in self._reported:
            self._reported.add(item.id)
            why = "was written by a newer llmfail" if item.is_newer else "is damaged"
            self._report(f"{item.id} cannot be asked: it {why}; `llmfail queue drop {item.id}` removes it")
        return None if item.is_newer else False
