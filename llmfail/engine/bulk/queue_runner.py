"""Asking the queue again: one pass asks everything that is due, the oldest first, and each once.

A request goes only where it might have gone when it was asked: under the same configuration, to the same
servers. Once no target of a feature may be called, its other requests of the pass are not asked.

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
from llmfail.core.receipt import Failure, Receipt, SkipReason, format_time, to_json_line
from llmfail.core.request.ask import Ask
from llmfail.core.routing.attempt_steps import LEASE_MARGIN
from llmfail.engine.engine import Engine
from llmfail.engine.planning.queue_origin import is_of_configuration
from llmfail.engine.ports.stop_signals import block_signals
from llmfail.settings.schema.settings import Settings
from llmfail.store.request_queue import RequestQueue

CLOSED_REASONS = frozenset(
    {
        SkipReason.CIRCUIT_OPEN,
        SkipReason.PROBING,
        SkipReason.FORCED_OPEN,
        SkipReason.DISABLED,
        SkipReason.NO_KEY,
    }
)
"""Why a target is not called whatever the request is."""
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
    """What one pass came to. ``failed``: asked, and not answered. ``passed_over``: due, but no target may be
    called. ``others`` wait for another configuration.
    """

    answered: int = 0
    failed: int = 0
    others: int = 0
    passed_over: int = 0


class QueueRunner:
    """``report`` is called with what people should know of single requests. ``everything``: the requests of
    other configurations too, with the targets of this one. Raises UsageError where the configuration merely
    lay in the current directory: it may name any server.
    """

    def __init__(
        self,
        engine: Engine,
        queue: RequestQueue,
        output: Output,
        report: Callable[[str], None],
        *,
        everything: bool = False,
    ) -> None:
        _require_chosen(engine.settings)
        self._everything = everything
        self._engine = engine
        self._queue = queue
        self._output = output
        self._report = report
        ports = engine.ports
        self._process = ports.process
        self._holder = f"{ports.new_id()} {ports.process.token}"
        self._reported: set[str] = set()
        self._closed: dict[RequestGroup, Receipt] = {}
        """Requests for which no target might be called when one of them was asked last, with its receipt."""

    async def run_pass(self) -> PassResult:
        """Whatever stops a pass, the item that it had taken is given back."""
        for item_id in self._queue.remove_expired():
            self._report(f"{item_id} was not answered within queue.max_age and is gone")
        try:
            result = await self._process_items()
        except BaseException:
            with suppress(StoreError), block_signals():
                self._queue.release(self._holder)
            raise
        finally:
            # With the last connection the journal goes, and what it remembers of prompts.
            self._queue.close()
        return result

    async def _process_items(self) -> PassResult:
        hopeless: set[RequestGroup] = set()
        served: list[bool | None] = []
        others = passed_over = 0
        for item in self._queue.items():
            if not self._may_run(item):
                others += 1
            elif item.ask is None and item.receipt is None:
                served.append(self._report_unreadable(item))
            elif await self._is_due(item, hopeless):
                served.append(await self._process_item(item, hopeless))
            elif item.is_due(self._engine.ports.wall()):
                passed_over += 1
                self._report_closed(item)
        return PassResult(served.count(True), served.count(False), others, passed_over)

    def _may_run(self, item: QueueItem) -> bool:
        if self._everything:
            return True
        if item.ask is None:
            name = self._engine.settings.configuration_name
            return item.origin is not None and item.origin.configuration == name
        return is_of_configuration(self._engine.settings, item)

    async def _is_due(self, item: QueueItem, hopeless: set[RequestGroup]) -> bool:
        """``hopeless``: requests for which nobody would be called, to look only once in a pass."""
        now = self._engine.ports.wall()
        if item.is_backing_off(now) or item.ask is None:
            return not item.is_backing_off(now)
        kind = (item.ask.feature, item.ask.targets)
        if item.has_reached_retry_at(now) and kind not in self._closed:
            return kind not in hopeless
        if kind not in hopeless and await self._can_be_answered(item.ask):
            self._closed.pop(kind, None)
            return True
        hopeless.add(kind)
        return False

    async def _can_be_answered(self, ask: Ask) -> bool:
        try:
            preview = await self._engine.plan(ask)
        except UsageError:
            return False
        return preview.cache == "hit" or any(step.decision == "call" for step in preview.steps)

    async def _process_item(self, item: QueueItem, hopeless: set[RequestGroup]) -> bool | None:
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
            if taken.ask is not None and _is_whole_chain_closed(receipt):
                hopeless.add((taken.ask.feature, taken.ask.targets))
                self._closed[taken.ask.feature, taken.ask.targets] = receipt
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

    def _report_closed(self, item: QueueItem) -> None:
        """Told once for each receipt that says so."""
        receipt = None if item.ask is None else self._closed.get((item.ask.feature, item.ask.targets))
        if receipt is None or receipt.id in self._reported:
            return
        self._reported.add(receipt.id)
        when = "" if receipt.retry_at is None else f" before {format_time(receipt.retry_at)}"
        self._report(f"feature {item.feature}: no target may be called{when}; its other requests wait")

    def _report_unreadable(self, item: QueueItem) -> bool | None:
        """Told once."""
        if item.id not in self._reported:
            self._reported.add(item.id)
            why = "was written by a newer llmfail" if item.is_newer else "is damaged"
            self._report(f"{item.id} cannot be asked: it {why}; `llmfail queue drop {item.id}` removes it")
        return None if item.is_newer else False


def _require_chosen(settings: Settings) -> None:
    if settings.namespace:
        raise UsageError(
            f"{settings.configuration_name} was found in the current directory and would get queued prompts\n"
            "If that is what you want, `llmfail config trust` accepts the file as it is now."
        )


def _is_whole_chain_closed(receipt: Receipt) -> bool:
    return bool(receipt.trail) and all(entry.outcome in CLOSED_REASONS for entry in receipt.trail)
