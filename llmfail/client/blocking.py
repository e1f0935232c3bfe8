"""The client whose calls block their own thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

from msgspec.structs import replace

from llmfail.client import shared
from llmfail.client.connections import LazyWire
from llmfail.client.option_checks import target_of
from llmfail.client.options import Prompt, ask_of, embed_ask_of, show_options
from llmfail.client.resources import clear_cache, count_storage, open_resources
from llmfail.client.streams import AnswerStream, Pieces, iterate_pieces
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.core.request.ask_options import Options
from llmfail.engine.fast_cache_hit import find_cached_receipt
from llmfail.engine.ports.blocking import build_blocking_ports
from llmfail.engine.ports.execution import run_sync
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.client.aio_streams import Put
    from llmfail.client.batch_items import BatchItem
    from llmfail.core.evaluation.experiment_report import ExperimentReport
    from llmfail.core.pricing.usage_record import UsageEntry
    from llmfail.core.pricing.usage_report import DayRange, GroupBy, UsageReport
    from llmfail.core.records.feedback_bucket import FeedbackEntry
    from llmfail.core.reports.cost_estimate import Estimate
    from llmfail.core.reports.scenario import EstimateRequest
    from llmfail.core.reports.status import Status
    from llmfail.core.reports.watch_event import OnEvent
    from llmfail.core.routing.plan import Plan
    from llmfail.engine.engine import Engine
    from llmfail.engine.ports.protocols import OnText
    from llmfail.store.request_queue import RequestQueue


class Client:
    """Asks through the fallback chains of a configuration, each call blocking its own thread.

    ``config`` and ``state_dir`` default to what the command line uses. ``warn`` gets what a person should
    know while the work goes on, such as a store that is down; without it, ``warnings.warn``. ``on_event`` is
    told what happens, event by event, such as ``CircuitChanged``; the logger ``llmfail`` says the same.
    ``pause`` waits so many seconds, for a rate limit or an open circuit.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        warn: Callable[[str], None] | None = None,
        on_event: OnEvent | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._resources = open_resources(config, state_dir, settings, warn, on_event)
        self.settings = self._resources.settings
        self._store = self._resources.state
        self._wire = LazyWire()
        self._ports = build_blocking_ports(
            self._wire, self._resources.stores, self._resources.catalogue, self._wire.connect, pause
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()
        if "queue" in vars(self):
            self.queue.close()
        self._resources.close()

    @cached_property
    def _engine(self) -> Engine:
        """Imported when somebody has to be asked: a stored answer is found without it."""
        from llmfail.engine.engine import Engine

        return Engine(self.settings, self._ports)

    @show_options("ask")
    def ask(self, prompt: Prompt, **options: Unpack[Options]) -> Receipt:
        """The receipt of an answer. Raises the AskError that fits when there is none, and UsageError for what
        cannot be meant. A prompt is a text, or a list of messages, each a ``Message`` or a mapping with
        ``role`` and ``content``.
        """
        return shared.raise_for_error(run_to_end(self._pieces(ask_of(prompt, **options), shown=False)))

    @show_options("ask")
    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AnswerStream:
        """The answer piece by piece, as it comes. Where more is expected of it than some text, it comes
        whole, once it fits. Nothing happens before the first piece is wanted.
        """
        return AnswerStream(self._pieces(replace(ask_of(prompt, **options), stream=True), shown=True))

    @show_options("batch")
    def batch(
        self,
        items: Iterable[BatchItem],
        *,
        concurrency: int = 16,
        rate: float | None = None,
        ordered: bool = True,
        **options: Unpack[Options],
    ) -> Iterator[Receipt]:
        """A receipt for each item, with or without an answer, in their order or (not ``ordered``) as they
        come. An item is a prompt, or a mapping with ``prompt``, ``id`` (which becomes the receipt's ``ref``)
        and options of its own. ``concurrency`` are under way at once, ``rate`` may start in a minute, and
        ``max_cost`` is for all of them together. Who leaves the loop early ends what is under way.
        """
        from llmfail.client.batch_items import read_spec, run_batch
        from llmfail.client.loop_engine import open_loop_engine
        from llmfail.client.loop_thread import run_in_loop_thread

        spec = read_spec(options, concurrency=concurrency, rate=rate, ordered=ordered)

        async def work(put: Put[Receipt]) -> None:
            async with open_loop_engine(self._resources) as engine:
                await run_batch(engine, items, spec, put)

        return run_in_loop_thread(work)

    def _pieces(self, ask: Ask, *, shown: bool) -> Pieces:
        """Where it is ``shown`` to anybody; else there are none."""
        stored = self._find_cached(ask)
        if stored is not None:
            return stored
        if self._may_hedge(ask):
            from llmfail.client.loop_engine import open_loop_engine
            from llmfail.client.loop_thread import run_in_loop_thread

            async def work(put: OnText) -> Receipt:
                async with open_loop_engine(self._resources) as engine:
                    return await engine.ask(ask, on_text=put if shown else None)

            return (yield from run_in_loop_thread(work))
        return (
            yield from iterate_pieces(lambda show: self._engine.ask(ask, on_text=show if shown else None))
        )

    @show_options("embed")
    def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """One vector per text, in ``receipt.embedding.vectors``. Only texts whose vectors are not stored are
        sent, each once, in as many calls as that takes.
        """
        from llmfail.engine.bulk.text_list import embed_texts

        ask = embed_ask_of(texts, options)
        return shared.raise_for_error(run_sync(embed_texts(self._engine, ask)))

    @show_options("plan")
    def plan(self, prompt: Prompt, **options: Unpack[Options]) -> Plan:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        return run_sync(self._engine.plan(ask_of(prompt, **options)))

    def status(self) -> Status:
        """Circuits, rates, latencies and alerts over the last 24 hours."""
        return run_sync(
            shared.operator_of(self.settings, self._ports).status(self._store, count_storage(self._resources))
        )

    def routing_stats(self) -> dict[str, Any]:
        """The figures of ``status`` about all asks: rates, average and 95th percentile latency."""
        routing: dict[str, Any] = self.status().to_json()["routing"]
        return routing

    def reset(self, name: str | None = None) -> tuple[str, ...]:
        """Close circuits and re-enable credentials: of a provider, a target, or all. The names of what there
        was to reset; UsageError when it could not be recorded.
        """
        return shared.require_recorded(
            run_sync(shared.operator_of(self.settings, self._ports).reset(name)), self._store
        )

    def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """Force a provider or target open, for so long or until ``reset``. UsageError when it could not be
        recorded.
        """
        return shared.require_recorded(
            run_sync(shared.operator_of(self.settings, self._ports).trip(name, seconds)), self._store
        )

    def probe_targets(self, name: str | None = None) -> tuple[Target, ...]:
        """Whom a probe of this name would ask; None: one target of each provider that has a key."""
        return shared.operator_of(self.settings, self._ports).probe_targets(name)

    def probe(self, target: Target | str, *, force: bool = False) -> Receipt:
        """Ask this target something tiny, and record how it did; with or without an answer. ``force``: also
        one that is open, whose circuit stays as it is.
        """
        return run_sync(self._engine.probe(target_of(target), is_forced=force))

    def log(self, most: int = 20) -> list[dict[str, Any]]:
        """The last receipts as their JSON has them, the newest first, each with its moment ``at``."""
        return shared.require_readable(run_sync(shared.load_log(self._ports, most)), self._store)

    def feedback(self, id_: str, score: float | str) -> FeedbackEntry:
        """Keep what a user said of an answer, under the id of its receipt: good, bad or a number from 0 to 1.
        UsageError for an id that nobody knows, and when it could not be recorded.
        """
        return shared.require_recorded(run_sync(shared.record_feedback(self._ports, id_, score)), self._store)

    def experiment_report(self, name: str) -> ExperimentReport:
        """The arms of an experiment beside each other."""
        return shared.require_readable(
            run_sync(shared.load_experiment_report(self.settings, self._ports, name)), self._store
        )

    def metrics(self) -> str:
        """What a monitor reads: the metrics of this configuration in the text format of Prometheus."""
        text = run_sync(shared.load_metrics_text(self.settings, self._ports, self.status()))
        return shared.require_readable(text, self._store)

    def usage(self, by: GroupBy = "feature", days: DayRange | None = None) -> UsageReport:
        """What was used and paid for, by feature, target, provider, user or day; else of the last 30 days."""
        return shared.require_readable(
            run_sync(shared.load_usage_report(self.settings, self._ports, by, days)), self._store
        )

    def usage_records(self, days: DayRange | None = None) -> list[UsageEntry]:
        """The records that ``usage`` sums up: one for each day, feature, target and user."""
        return shared.require_readable(
            run_sync(shared.load_usage_records(self.settings, self._ports, days)), self._store
        )

    def estimate(self, wanted: EstimateRequest) -> Estimate:
        """What features cost per request and per month, on every target and in every scenario."""
        return run_sync(shared.estimate(self.settings, self._ports, self._store, wanted))

    def clear_cache(self) -> int:
        """Forget every stored answer; how many there were. UsageError when that cannot be done."""
        return clear_cache(self._resources)

    @cached_property
    def queue(self) -> RequestQueue:
        """The requests kept for later, whose verbs raise StoreError. UsageError where there is no queue."""
        return self._resources.open_queue()

    def _find_cached(self, ask: Ask) -> Receipt | None:
        """A stored answer, while the engine has not been needed yet; a trace is told of by the engine."""
        return (
            None
            if "_engine" in vars(self) or self._resources.listener.is_tracing
            else run_sync(find_cached_receipt(self.settings, self._ports, ask))
        )

    def _may_hedge(self, ask: Ask) -> bool:
        """Looked at closely only where somebody has said what late is."""
        wanted = self.settings.find_feature(ask.feature).hedge if ask.hedge is None else ask.hedge
        return wanted is not None and run_sync(self._engine.may_hedge(ask))


def run_to_end(pieces: Pieces) -> Receipt:
    """What becomes of an answer that is shown to nobody."""
    while True:
        try:
            next(pieces)
        except StopIteration as ended:
            receipt: Receipt = ended.value
            return receipt
