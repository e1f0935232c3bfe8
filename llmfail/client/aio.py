"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack
from weakref import WeakSet

from msgspec.structs import replace

from llmfail.client import shared
from llmfail.client.aio_streams import AsyncAnswerStream, Put, RunningTasks, TaskOutput, cancel_tasks
from llmfail.client.connections import LazyAsyncWire
from llmfail.client.option_checks import target_of
from llmfail.client.options import Prompt, ask_of, embed_ask_of, show_options
from llmfail.client.resources import count_storage, open_resources
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask_options import Options
from llmfail.engine.bulk.text_list import embed_texts
from llmfail.engine.engine import Engine
from llmfail.engine.ports.aio import build_asyncio_ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.client.batch_items import BatchItem
    from llmfail.core.answer_piece import OriginalRequest, ServedAnswer
    from llmfail.core.evaluation.experiment_report import ExperimentReport
    from llmfail.core.pricing.usage_record import UsageEntry
    from llmfail.core.pricing.usage_report import DayRange, GroupBy, UsageReport
    from llmfail.core.records.feedback_bucket import FeedbackEntry
    from llmfail.core.reports.cost_estimate import Estimate
    from llmfail.core.reports.scenario import EstimateRequest
    from llmfail.core.reports.status import Status
    from llmfail.core.reports.watch_event import OnEvent
    from llmfail.core.request.ask import Ask
    from llmfail.core.routing.plan import Plan
    from llmfail.engine.operator import Operator
    from llmfail.engine.ports.deferred_writes import DeferredWrites
    from llmfail.engine.ports.protocols import OnPiece
    from llmfail.store.request_queue import RequestQueue

CLOSING_PAUSE_SECONDS = 0.05
"""Between two tries to use a store again before the end."""
T = TypeVar("T")
_open: WeakSet[AsyncClient] = WeakSet()


class AsyncClient:
    """The same for asyncio: any number of calls at once. Use it within one event loop.

    ``write_delay`` is for services: for so many seconds answers may wait to be counted together, and what
    others have changed of a circuit may be unknown for twice as long. Budgets and limits stay exact; with
    ``budget_slices`` in the configuration it holds parts of them ahead of its calls. Close the client, so
    that nothing is lost.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        warn: Callable[[str], None] | None = None,
        on_event: OnEvent | None = None,
        write_delay: float = 0.0,
    ) -> None:
        self._resources = open_resources(config, state_dir, settings, warn, on_event)
        self.settings = self._resources.settings
        self._store = self._resources.state
        self._write_delay = write_delay
        self._wire = LazyAsyncWire()
        self._start()
        _open.add(self)

    def _start(self) -> None:
        """What belongs to one process and one event loop."""
        self._ports = build_asyncio_ports(
            self._wire, self._resources.stores, self._resources.catalogue, self._wire.connect
        )
        if self._write_delay > 0:
            self._ports = replace(self._ports, deferred=self._defer_writes(self._write_delay))
        self._engine = Engine(self.settings, self._ports)
        self._running: RunningTasks = set()
        self._writing: set[asyncio.Task[None]] = set()

    def _start_anew(self) -> None:
        """In a forked child: threads, connections, tasks and what was put off are its parent's."""
        if not self._wire.is_closed:
            self._wire = LazyAsyncWire()
            self._start()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """The end of its streams and batches, whoever has left them, and of its connections."""
        await cancel_tasks(self._running)
        await self._write_deferred(is_last=True)
        await self._wire.close()
        if "queue" in vars(self):
            self.queue.close()
        try:
            await self._wait_for_store()
        finally:
            self._resources.close()
            if self._ports.deferred is not None:
                self._store.tell_loss()

    @show_options("ask")
    async def ask(self, prompt: Prompt, **options: Unpack[Options]) -> Receipt:
        """As ``Client.ask``."""
        return shared.raise_for_error(await self._engine.ask(ask_of(prompt, **options)))

    @show_options("ask")
    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncAnswerStream:
        """As ``Client.stream``."""
        ask = replace(ask_of(prompt, **options), stream=True)
        return AsyncAnswerStream(lambda show: self._engine.ask(ask, on_text=show), self._running)

    async def serve(
        self, ask: Ask, *, original: OriginalRequest | None = None, on_piece: OnPiece | None = None
    ) -> ServedAnswer:
        """Answer a program that asked over HTTP; ``on_piece`` gets a streamed answer in pieces. A failure
        is in the receipt; raises UsageError for what is not configured. Cancelling it ends the call.
        """
        return await self._engine.serve(ask, original, on_piece)

    @show_options("batch")
    def batch(
        self,
        items: Iterable[BatchItem] | AsyncIterable[BatchItem],
        *,
        concurrency: int = 16,
        rate: float | None = None,
        ordered: bool = True,
        **options: Unpack[Options],
    ) -> AsyncIterator[Receipt]:
        """As ``Client.batch``; the items may come as asynchronously."""
        from llmfail.client.batch_items import read_spec, run_batch

        spec = read_spec(options, concurrency=concurrency, rate=rate, ordered=ordered)

        async def work(put: Put[Receipt]) -> None:
            await run_batch(self._engine, items, spec, put)

        return aiter(TaskOutput(work, self._running))

    @show_options("embed")
    async def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """As ``Client.embed``."""
        return shared.raise_for_error(await embed_texts(self._engine, embed_ask_of(texts, options)))

    @show_options("plan")
    async def plan(self, prompt: Prompt, **options: Unpack[Options]) -> Plan:
        """As ``Client.plan``."""
        return await self._engine.plan(ask_of(prompt, **options))

    async def status(self) -> Status:
        """As ``Client.status``."""
        await self._write_deferred()
        storage = await self._ports.run_blocking(lambda: count_storage(self._resources))
        return await shared.operator_of(self.settings, self._ports).status(self._store, storage)

    async def routing_stats(self) -> dict[str, Any]:
        """As ``Client.routing_stats``."""
        routing: dict[str, Any] = (await self.status()).to_json()["routing"]
        return routing

    async def reset(self, name: str | None = None) -> tuple[str, ...]:
        """As ``Client.reset``."""
        return shared.require_recorded(
            await self._as_operator(lambda operator: operator.reset(name)), self._store
        )

    async def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """As ``Client.trip``."""
        return shared.require_recorded(
            await self._as_operator(lambda operator: operator.trip(name, seconds)), self._store
        )

    def probe_targets(self, name: str | None = None) -> tuple[Target, ...]:
        """As ``Client.probe_targets``."""
        return shared.operator_of(self.settings, self._ports).probe_targets(name)

    async def probe(self, target: Target | str, *, force: bool = False) -> Receipt:
        """As ``Client.probe``."""
        return await self._engine.probe(target_of(target), is_forced=force)

    async def log(self, most: int = 20) -> list[dict[str, Any]]:
        """As ``Client.log``."""
        await self._write_deferred()
        return shared.require_readable(await shared.load_log(self._ports, most), self._store)

    async def feedback(self, id_: str, score: float | str) -> FeedbackEntry:
        """As ``Client.feedback``."""
        await self._write_deferred()
        return shared.require_recorded(await shared.record_feedback(self._ports, id_, score), self._store)

    async def experiment_report(self, name: str) -> ExperimentReport:
        """As ``Client.experiment_report``."""
        await self._write_deferred()
        return shared.require_readable(
            await shared.load_experiment_report(self.settings, self._ports, name), self._store
        )

    async def metrics(self) -> str:
        """As ``Client.metrics``."""
        text = await shared.load_metrics_text(self.settings, self._ports, await self.status())
        return shared.require_readable(text, self._store)

    async def usage(self, by: GroupBy = "feature", days: DayRange | None = None) -> UsageReport:
        """As ``Client.usage``."""
        await self._write_deferred()
        report = await shared.load_usage_report(self.settings, self._ports, by, days)
        return shared.require_readable(report, self._store)

    async def usage_records(self, days: DayRange | None = None) -> list[UsageEntry]:
        """As ``Client.usage_records``."""
        await self._write_deferred()
        records = await shared.load_usage_records(self.settings, self._ports, days)
        return shared.require_readable(records, self._store)

    async def estimate(self, wanted: EstimateRequest) -> Estimate:
        """As ``Client.estimate``."""
        await self._write_deferred()
        return await shared.estimate(self.settings, self._ports, self._store, wanted)

    @cached_property
    def queue(self) -> RequestQueue:
        """As ``Client.queue``; its verbs hold the event loop up for some milliseconds."""
        return self._resources.open_queue()

    async def _as_operator(self, act: Callable[[Operator], Awaitable[T]]) -> T:
        """What was put off comes before it, and what was known of circuits is read again after it."""
        await self._write_deferred()
        done = await act(shared.operator_of(self.settings, self._ports))
        if self._ports.deferred is not None:
            self._ports.deferred.recent.forget()
        return done

    def _defer_writes(self, seconds: float) -> DeferredWrites:
        from llmfail.engine.ports.budget_slices import BudgetSlices
        from llmfail.engine.ports.deferred_writes import DeferredWrites

        ports, warn, slices = self._ports, self._resources.warn, None
        if self.settings.budget_slices:
            slices = BudgetSlices(ports.monotonic, ports.is_down)
        return DeferredWrites(ports.store, seconds, ports.monotonic, self._run_later, warn, slices)

    async def _write_deferred(self, *, is_last: bool = False) -> None:
        """All that was put off until now; ``is_last``: nothing is held from now on. Whoever stops waiting for
        it stops no write.
        """
        if self._ports.deferred is not None:
            await self._wait_for_writes()
            while is_last and self._writing:  # none of them may hold what is given back
                await self._wait_for_writes()
            self._begin_write(partial(self._ports.deferred.flush, is_last=is_last))
            await self._wait_for_writes()

    async def _wait_for_store(self) -> None:
        """A service waits for a store that is down once more before it ends, as long as for one that is
        locked.
        """
        ports = self._ports
        ends_at = ports.monotonic() + (0.0 if ports.deferred is None else self.settings.store_timeout)
        while self._store.has_kept and ports.monotonic() < ends_at:
            await ports.sleep(CLOSING_PAUSE_SECONDS)
            await ports.run_blocking(self._store.write_kept)

    def _run_later(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.get_running_loop().call_later(seconds, self._begin_write, work)

    def _begin_write(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.ensure_future(work())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _wait_for_writes(self) -> None:
        if self._writing:
            await asyncio.wait(self._writing)


def _start_all_anew() -> None:
    for one in list(_open):
        one._start_anew()  # noqa: SLF001 - no caller of a client may


os.register_at_fork(after_in_child=_start_all_anew)
