"""The metrics of one configuration: one table of their names, and the values that a status and the counted
records give them. How they are written for a monitor is somebody else's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from msgspec import Struct

from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.records.metric_counters import (
    SECONDS_BUCKETS,
    SEPARATOR,
    AskMetrics,
    Entries,
    UseMetrics,
)
from llmfail.core.reports.status import Status

MetricKind = Literal["counter", "gauge", "histogram"]
CIRCUIT_STATES = {"closed": 0, "half_open": 1, "open": 2, "forced_open": 3, "disabled": 4, "paused": 5}
HEALTH_STATES = {"healthy": 0, "degraded": 1, "unhealthy": 2}


class Sample(NamedTuple):
    """``labels`` are the values of the family's labels, in their order."""

    labels: tuple[str, ...]
    value: float


class HistogramValue(NamedTuple):
    """``buckets``: how many were at most so much, cumulated; the last is all of them."""

    buckets: tuple[tuple[str, int], ...]
    total: float


class MetricFamily(Struct, frozen=True):
    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...] = ()
    histogram: HistogramValue | None = None


class MetricSources(Struct, frozen=True):
    """What the values are taken from; ``features`` are the names of all features."""

    status: Status
    asks: AskMetrics
    use: UseMetrics
    features: tuple[str, ...] = ()


class _Row(NamedTuple):
    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    help: str
    samples: Callable[[MetricSources], Iterator[Sample]]


def _entries(entries: Entries) -> Iterator[Sample]:
    for name, value in sorted(entries.items()):
        yield Sample(tuple(name.split(SEPARATOR)), value)


def _dollars(entries: Entries) -> Iterator[Sample]:
    for sample in _entries(entries):
        yield Sample(sample.labels, float(int(sample.value) / PICO_PER_DOLLAR))


def _circuit_states(sources: MetricSources) -> Iterator[Sample]:
    for target in sources.status.targets:
        yield Sample((str(target.target),), CIRCUIT_STATES[target.shown_state])


def _circuit_shares(sources: MetricSources) -> Iterator[Sample]:
    for target in sources.status.targets:
        yield Sample((str(target.target),), target.gate_view.share)


def _budgets(
    sources: MetricSources, amount: Literal["spent", "held", "limit"], *, in_usd: bool
) -> Iterator[Sample]:
    """One that is divided is summed up, because users and keys are no labels; it has no limit as a whole. One
    that does not count dollars has its unit as a label.
    """
    sums: dict[str, int] = {}
    for budget in sources.status.budgets:
        scope = budget.scope
        if (amount == "limit" and scope.each is not None) or (scope.unit == "usd") is not in_usd:
            continue
        of = {"spent": budget.spending.spent, "held": budget.spending.held, "limit": scope.limit}
        name = scope.name if in_usd else SEPARATOR.join((scope.name, scope.unit))
        sums[name] = sums.get(name, 0) + of[amount]
    yield from (_dollars if in_usd else _entries)(sums)


def _answerable(sources: MetricSources) -> Iterator[Sample]:
    for feature in sources.features:
        yield Sample((feature,), float(feature not in sources.status.unanswerable))


def _one(value: float | None) -> Iterator[Sample]:
    """No sample of what nobody knows."""
    if value is not None:
        yield Sample((), value)


METRICS: tuple[_Row, ...] = (
    _Row("llmfail_requests", "counter", ("feature", "source", "tier", "status"),
         "Asks that have ended, by what answered them; status is ok or the kind of error.",
         lambda s: _entries(s.asks.requests)),
    _Row("llmfail_attempts", "counter", ("target", "outcome"), "Calls within asks, by their outcome.",
         lambda s: _entries(s.asks.attempts)),
    _Row("llmfail_skips", "counter", ("target", "reason"), "Targets that were not called, and why.",
         lambda s: _entries(s.asks.skips)),
    _Row("llmfail_tokens", "counter", ("target", "kind"),
         "Tokens: input (cached_input and cache_write are parts of it) and output.",
         lambda s: _entries(s.use.tokens)),
    _Row("llmfail_cost_usd", "counter", ("target", "feature"), "US dollars spent, where the price is known.",
         lambda s: _dollars(s.use.cost)),
    _Row("llmfail_charged_calls", "counter", ("target",), "Calls that answered or may have been charged.",
         lambda s: _entries(s.use.calls)),
    _Row("llmfail_unpriced", "counter", ("target",), "Those of them whose cost is not known.",
         lambda s: _entries(s.use.unpriced)),
    _Row("llmfail_circuit_state", "gauge", ("target",),
         "0 closed, 1 half-open, 2 open, 3 held by an operator, 4 disabled, 5 paused.", _circuit_states),
    _Row("llmfail_circuit_share", "gauge", ("target",),
         "The share of asks that a circuit takes which admits any; below 1 it ramps.", _circuit_shares),
    _Row("llmfail_feature_answerable", "gauge", ("feature",), "1 where some target can be called now.",
         _answerable),
    _Row("llmfail_health", "gauge", (), "0 healthy, 1 degraded, 2 unhealthy.",
         lambda s: _one(HEALTH_STATES[s.status.health])),
    _Row("llmfail_alerts", "gauge", (), "Alerts that are raised now.", lambda s: _one(len(s.status.alerts))),
    _Row("llmfail_budget_spent_usd", "gauge", ("budget",), "Spent in the period that runs.",
         lambda s: _budgets(s, "spent", in_usd=True)),
    _Row("llmfail_budget_held_usd", "gauge", ("budget",), "Held for calls under way.",
         lambda s: _budgets(s, "held", in_usd=True)),
    _Row("llmfail_budget_limit_usd", "gauge", ("budget",), "The limit of the period.",
         lambda s: _budgets(s, "limit", in_usd=True)),
    _Row("llmfail_budget_spent", "gauge", ("budget", "unit"), "The same of budgets in requests or tokens.",
         lambda s: _budgets(s, "spent", in_usd=False)),
    _Row("llmfail_budget_held", "gauge", ("budget", "unit"), "Held of them for calls under way.",
         lambda s: _budgets(s, "held", in_usd=False)),
    _Row("llmfail_budget_limit", "gauge", ("budget", "unit"), "Their limit.",
         lambda s: _budgets(s, "limit", in_usd=False)),
    _Row("llmfail_queue_pending", "gauge", (), "Requests kept for later.",
         lambda s: _one(s.status.storage.pending)),
    _Row("llmfail_cache_entries", "gauge", (), "Stored answers.", lambda s: _one(s.status.storage.entries)),
    _Row("llmfail_cache_bytes", "gauge", (), "Their size.", lambda s: _one(s.status.storage.bytes)),
)  # fmt: skip
"""Every metric but the histogram of seconds. Counters are of one configuration, since its first ask."""
SECONDS_NAME = "llmfail_request_seconds"


def build_families(sources: MetricSources) -> tuple[MetricFamily, ...]:
    """In the order of the table."""
    rows = (
        MetricFamily(one.name, one.kind, one.help, one.labels, tuple(one.samples(sources))) for one in METRICS
    )
    return (*rows, _seconds_family(sources.asks))


def _seconds_family(asks: AskMetrics) -> MetricFamily:
    buckets, seen = [], 0
    for index, end in enumerate((*(f"{end:g}" for end in SECONDS_BUCKETS), "+Inf")):
        seen += asks.seconds.get(index, 0)
        buckets.append((end, seen))
    value = HistogramValue(tuple(buckets), asks.total_ms / 1000)
    return MetricFamily(SECONDS_NAME, "histogram", "How long asks took.", (), histogram=value)
