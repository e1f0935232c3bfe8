"""The client whose calls block their own thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

from msgspec.structs import replace

from llmfail.client import shared
from llmfail.client.connections import Line
from llmfail.client.options import Options, ask_of, texts_of
from llmfail.client.resources import clear, holdings, open_
from llmfail.client.streams import Answering, Pieces, pieces
from llmfail.core.model import Message, Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.engine.fast_cache_hit import at_hand
from llmfail.engine.ports import ports
from llmfail.engine.reports import request_log
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.pricing.usage_record import Entry
    from llmfail.core.pricing.usage_report import By, Days, Report
    from llmfail.core.reports.cost_estimate import Estimate
    from llmfail.core.reports.scenario import Wanted
    from llmfail.core.reports.status import Status
    from llmfail.core.routing.plan import Preview
    from llmfail.engine.bulk.queue_runner import Output, Pass
    from llmfail.engine.engine import Engine
    from llmfail.store.queue import Queue


class Client:
    """Asks through the fallback chains of a configuration, each call blocking its own thread.

    ``config`` and ``state_dir`` default to what the command line uses. ``warn`` hears what a person should
    know while the work goes on, such as a store that is down; without it, ``warnings.warn``. ``pause`` waits
    so many seconds, for a rate limit or an open circuit.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        warn: Callable[[str], None] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._opened = open_(config, state_dir, settings, warn)
        self.settings = self._opened.settings
        self._store = self._opened.state
        self._line = Line()
        self._ports = ports.blocking(
            self._line, self._opened.stores, self._opened.catalogue, self._line.connected, pause
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._line.close()
        if "queue" in vars(self):
            self.queue.close()
        self._opened.close()

    @cached_property
    def _engine(self) -> Engine:
        """Imported when somebody has to be asked: a stored answer is found without it."""
        from llmfail.engine.engine import Engine

        return Engine(self.settings, self._ports)

    def ask(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> Receipt:
        """The receipt of an answer. Raises the AskError that fits when there is none."""
        return shared.checked(self.receipt(ask_of(prompt, **options)))

    def receipt(self, ask: Ask) -> Receipt:
        """The receipt, with or without an answer; raises only UsageError."""
        return _all(self._pieces(ask, shown=False))

    def stream(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> Answering:
        """The answer piece by piece, as it comes. Where more is expected of it than some text, it comes
        whole, once it fits.
        """
        return self.answering(ask_of(prompt, **options))

    def answering(self, ask: Ask) -> Answering:
        """The same for an Ask. Nothing happens before the first piece is wanted."""
        return Answering(self._pieces(replace(ask, stream=True), shown=True))

    def _pieces(self, ask: Ask, *, shown: bool) -> Pieces:
        """Where it is ``shown`` to anybody; else there are none."""
        stored = self._stored(ask)
        if stored is not None:
            return stored
        if self._races(ask):
            from llmfail.client.loop_thread import looped

            return (yield from looped(self._opened, ask, shown=shown))
        return (yield from pieces(lambda show: self._engine.ask(ask, show=show if shown else None)))

    def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """One vector per text, in ``receipt.embedding.vectors``."""
        return shared.checked(self.embedded(texts_of(texts, options)))

    def embedded(self, ask: Ask) -> Receipt:
        """The receipt, with or without one vector per message; raises only UsageError."""
        return ports.drive(self._engine.embed(ask))

    def plan(self, prompt: str, **options: Unpack[Options]) -> Preview:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        return ports.drive(self._engine.plan(ask_of(prompt, **options)))

    def status(self) -> Status:
        """Circuits, rates, latencies and alerts over the last 24 hours."""
        return ports.drive(
            shared.operator(self.settings, self._ports).status(self._store, holdings(self._opened))
        )

    def stats(self) -> dict[str, Any]:
        """The figures of ``status`` about all asks: rates, average and 95th percentile latency."""
        routing: dict[str, Any] = self.status().to_json()["routing"]
        return routing

    def reset(self, name: str | None = None) -> tuple[str, ...]:
        """Close circuits and re-enable credentials: of a provider, a target, or all. The names of what there
        was to reset; UsageError when it could not be recorded.
        """
        return shared.recorded(
            ports.drive(shared.operator(self.settings, self._ports).reset(name)), self._store
        )

    def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """Hold a provider or target open, for so long or until ``reset``. UsageError when it could not be
        recorded.
        """
        return shared.recorded(
            ports.drive(shared.operator(self.settings, self._ports).trip(name, seconds)), self._store
        )

    def probed(self, name: str | None = None) -> tuple[Target, ...]:
        """Whom a probe of this name would ask; None: one target of each provider that has a key."""
        return shared.operator(self.settings, self._ports).probed(name)

    def probe(self, target: Target) -> Receipt:
        """Ask this target something tiny, and record how it did."""
        return ports.drive(self._engine.probe(target))

    def log(self, most: int = 20) -> list[dict[str, Any]]:
        """The last receipts, the newest first, each with its moment ``at``."""
        return ports.drive(request_log.recent(self._ports, most))

    def usage(self, by: By = "feature", days: Days | None = None) -> Report:
        """What was used and paid for, by feature, target, provider, user or day; else of the last 30 days."""
        return ports.drive(shared.usage(self.settings, self._ports, by, days))

    def recorded(self, days: Days | None = None) -> list[Entry]:
        """The records that ``usage`` sums up: one for each day, feature, target and user."""
        return ports.drive(shared.recorded_usage(self.settings, self._ports, days))

    def estimate(self, wanted: Wanted) -> Estimate:
        """What features cost per request and per month, on every target and in every scenario."""
        from llmfail.engine.reports.estimator import Estimator

        return ports.drive(Estimator(self.settings, self._ports).estimate(wanted))

    def clear_cache(self) -> int:
        """Forget every stored answer; how many there were. UsageError when that cannot be done."""
        return clear(self._opened)

    @cached_property
    def queue(self) -> Queue:
        """The requests kept for later, whose verbs raise StoreError. UsageError where there is no queue."""
        return self._opened.queue()

    def runner(self, output: Output, say: Callable[[str], None]) -> Callable[[], Pass]:
        """Asks again whatever is due in the queue, each time it is called."""
        from llmfail.engine.bulk.queue_runner import Runner

        runner = Runner(self._engine, self.queue, output, say)
        return lambda: ports.drive(runner.once())

    def _stored(self, ask: Ask) -> Receipt | None:
        """A stored answer, while the engine has not been needed yet."""
        return None if "_engine" in vars(self) else ports.drive(at_hand(self.settings, self._ports, ask))

    def _races(self, ask: Ask) -> bool:
        """Looked at closely only where somebody has said what late is."""
        wanted = self.settings.feature(ask.feature).hedge if ask.hedge is None else ask.hedge
        return wanted is not None and ports.drive(self._engine.races(ask))


def _all(pieces: Pieces) -> Receipt:
    """What becomes of an answer that is shown to nobody."""
    while True:
        try:
            next(pieces)
        except StopIteration as ended:
            receipt: Receipt = ended.value
            return receipt
