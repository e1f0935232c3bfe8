"""A settled call as it is counted: for its target, for what was used on its day, and for the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from functools import lru_cache

from msgspec import Struct

from llmfail.core.admission.gate_settlement import SettledCall
from llmfail.core.classification.outcome import Kind
from llmfail.core.model import Address, Target
from llmfail.core.pricing.usage_record import usage_record_of
from llmfail.core.records.alert_window import MINUTE_SECONDS, minute_of
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.counters import CallCounters, count_calls, counters_expiry, hour_of
from llmfail.core.records.metric_counters import UseMetrics, count_use_metrics
from llmfail.core.records.state_keys import call_counters_key, use_metrics_key
from llmfail.core.records.statistics import Count, CountedRecord, Statistics
from llmfail.engine.planning.budget_period import day_of
from llmfail.engine.planning.job import Job
from llmfail.engine.planning.metric_labels import label_of
from llmfail.settings.schema.settings import Settings


class CallSource(Struct, frozen=True):
    """For whom a call was made, and in which minute. ``says_something``: of its target; ``is_used``: it
    answered, or may have been charged.
    """

    configuration: str
    address: Address
    target: Target
    feature: str
    user: str | None
    zone: tzinfo
    minute: int
    says_something: bool
    is_used: bool


def statistics_of_call(settings: Settings, job: Job, call: SettledCall) -> Statistics:
    """What was cancelled says nothing of its target, and what was free and no answer is not worth a record of
    its use.
    """
    gate, admission, settlement = call
    outcome, cost = settlement.outcome, settlement.cost
    ok = outcome.kind is Kind.OK
    source = CallSource(
        configuration=settings.configuration_id,
        address=gate.address,
        target=gate.target,
        feature=job.feature,
        user=job.caller.user,
        zone=job.zone,
        minute=minute_of(admission.at),
        says_something=outcome.kind is not Kind.CANCELLED,
        is_used=ok or cost != 0,
    )
    counted = CountedCall(
        ok=ok,
        fallback=ok and settlement.fallback,
        latency_ms=settlement.latency_ms,
        cost=cost,
        error=None if ok else f"{outcome.kind}: {outcome.note}".rstrip(": "),
        usage=settlement.usage,
        target=label_of(settings, gate.target),
        feature=job.feature,
    )
    return Statistics((Count(counted, _records_of(source)),))


@lru_cache(maxsize=1024)
def _records_of(source: CallSource) -> tuple[CountedRecord, ...]:
    return tuple(_iter_records(source))


def _iter_records(source: CallSource) -> Iterator[CountedRecord]:
    """A day begins with a minute in every time zone."""
    moment = source.minute * MINUTE_SECONDS
    if source.says_something:
        hour = hour_of(moment)
        key = call_counters_key(source.address, hour)
        yield CountedRecord(key, CallCounters, count_calls, counters_expiry(hour))
    if source.is_used:
        day = day_of(moment, source.zone).isoformat()
        yield usage_record_of(day, source.feature, source.target, source.user)
        yield CountedRecord(use_metrics_key(source.configuration), UseMetrics, count_use_metrics)
