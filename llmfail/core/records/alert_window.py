"""What alerts are judged by: the asks of the last minutes, per minute and per first target of their chain.

Kept apart from the counters of a day, because ``reset`` forgets here what it resets. Only asks that say
something of the service count: one for which a key is missing, which a budget refuses or which is itself at
fault says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from msgspec import field
from msgspec.structs import replace

from llmfail.core.records.counted_events import CountedAsk, group_by
from llmfail.core.records.counters import Histogram, add_latencies, merge_histograms
from llmfail.core.records.joint_write import ADDITION
from llmfail.core.records.record import Record, Values, Write, Writes, dump, load_or_default, without_newer
from llmfail.core.records.state_keys import alert_key

MINUTE_SECONDS = 60
LONGEST_WINDOW_SECONDS = 86400
"""No alert looks back further."""
NO_TARGET = "-"
"""Stands for the first target of an ask that came to none, and for those beyond ``MAX_TARGETS``."""
MAX_TARGETS = 100
"""Targets that are kept apart in a minute: programs may invent any number of them."""


class AlertCounters(Record, frozen=True):
    """Asks that say something of the service. ``fallbacks``: answered elsewhere because the service failed;
    ``errors``: not answered for that reason; ``met_open``: found at least one circuit open.
    """

    asks: int = 0
    fallbacks: int = 0
    errors: int = 0
    met_open: int = 0
    latencies: Histogram = field(default_factory=dict)

    @property
    def has_trouble(self) -> bool:
        return bool(self.fallbacks or self.errors or self.met_open)


class AlertMinute(Record, frozen=True):
    """The asks that ended in one minute, by the first target of their chain."""

    by_target: Mapping[str, AlertCounters] = field(default_factory=dict)


def minute_of(moment: float) -> int:
    return int(moment // MINUTE_SECONDS)


def window_keys(configuration: str, moment: float, window: float) -> list[str]:
    """The keys of the minutes of a window of so many seconds that ends at that moment."""
    return [
        alert_key(configuration, minute)
        for minute in range(minute_of(moment - window), minute_of(moment) + 1)
    ]


def write_minute(minute: AlertMinute, number: int) -> Write:
    return Write(dump(minute), minute_expiry(number), ADDITION)


def minute_expiry(number: int) -> float:
    """Kept as long as any window may reach back."""
    return float((number + 1) * MINUTE_SECONDS + LONGEST_WINDOW_SECONDS)


def count_judged_asks(minute: AlertMinute, asks: Sequence[CountedAsk]) -> AlertMinute:
    """Asks that have an answer, or that the service left without one."""
    by_target = dict(minute.by_target)
    for first_target, its_asks in group_by(attrgetter("first_target"), asks).items():
        has_room = first_target in by_target or len(by_target) < MAX_TARGETS
        target = first_target if has_room else NO_TARGET
        counters = by_target.get(target) or AlertCounters()
        by_target[target] = replace(
            counters,
            asks=counters.asks + len(its_asks),
            fallbacks=counters.fallbacks + sum(map(attrgetter("is_fallback"), its_asks)),
            errors=counters.errors + sum(ask.missing is not None for ask in its_asks),
            met_open=counters.met_open + sum(map(attrgetter("saw_open_circuit"), its_asks)),
            latencies=add_latencies(counters.latencies, map(attrgetter("latency_ms"), its_asks)),
        )
    return AlertMinute(by_target)


def sum_window(minutes: Iterable[AlertMinute]) -> AlertCounters:
    total = AlertCounters()
    for minute in minutes:
        for counters in minute.by_target.values():
            total = AlertCounters(
                asks=total.asks + counters.asks,
                fallbacks=total.fallbacks + counters.fallbacks,
                errors=total.errors + counters.errors,
                met_open=total.met_open + counters.met_open,
                latencies=merge_histograms(total.latencies, counters.latencies),
            )
    return total


def load_window(keys: Iterable[str], values: Values) -> AlertCounters:
    """The window of these keys, as they are stored."""
    return sum_window(load_or_default(values[key], AlertMinute) for key in keys)


def forget_targets(
    is_reset: Callable[[str], bool], values: Values, _now: float
) -> tuple[Writes, tuple[str, ...]]:
    """Take the asks whose first target ``is_reset`` out of all minutes: a change for a store, which gives
    the targets whose asks had trouble.
    """
    writes: dict[str, Write | None] = {}
    troubled: set[str] = set()
    for key, text in values.items():
        minute = load_or_default(text, AlertMinute)
        reset = {target: counters for target, counters in minute.by_target.items() if is_reset(target)}
        if reset:
            rest = {target: one for target, one in minute.by_target.items() if target not in reset}
            number = int(key.rpartition("/")[2])
            writes[key] = write_minute(AlertMinute(rest), number) if rest else None
            troubled |= {target for target, counters in reset.items() if counters.has_trouble}
    return without_newer(writes, values), tuple(sorted(troubled))
