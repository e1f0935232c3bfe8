"""Outages: as they were, or drawn by chance from an availability and a time to recover. Their name is a
provider, all of whose models go down together, or one target.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from math import prod
from random import Random
from typing import Any

from msgspec import Struct

from llmfail.core.errors import UsageError
from llmfail.core.model import Target

DEFAULT_MTTR_SECONDS = 1200.0
MIN_AVAILABILITY = 0.01
"""Of a target that was down all the time."""


class OutageKind(StrEnum):
    """``down``: an error at once. ``hang``: no reply at all. ``slow``: ten times the latency.
    ``rate_limited``: a refusal that names a wait of 30 seconds.
    """

    DOWN = "down"
    HANG = "hang"
    SLOW = "slow"
    RATE_LIMITED = "rate_limited"


class Outage(Struct, frozen=True, order=True):
    """From ``start`` until ``end``, in seconds of the forecast."""

    start: float
    end: float
    kind: OutageKind = OutageKind.DOWN


class OutageRate(Struct, frozen=True):
    """Of one provider or target: the share of time in which it works, and how long an outage lasts on
    average, in seconds.
    """

    name: str
    availability: float
    mttr: float = DEFAULT_MTTR_SECONDS
    kind: OutageKind = OutageKind.DOWN


class RecordedOutage(Struct, frozen=True):
    """Of one provider or target, in epoch seconds."""

    name: str
    start: float
    end: float
    kind: OutageKind = OutageKind.DOWN


class OutagePlan(Struct, frozen=True):
    """All that a forecast knows of outages."""

    rates: tuple[OutageRate, ...] = ()
    recorded: tuple[RecordedOutage, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        drawn, recorded = [one.name for one in self.rates], [one.name for one in self.recorded]
        return tuple(dict.fromkeys((*drawn, *recorded)))

    def compute_availability(self, chain: Sequence[Target]) -> float | None:
        """Of a chain whose providers fail by themselves and whose failovers cost nothing. None where an
        outage is recorded, or none is known.
        """
        if self.recorded or not self.rates:
            return None
        down = 1.0
        for provider in dict.fromkeys(target.provider for target in chain):
            mine = [target for target in chain if target.provider == provider]
            of_models = prod(1 - self._availability_of(str(target)) for target in mine)
            down *= 1 - self._availability_of(provider) * (1 - of_models)
        return 1 - down

    def _availability_of(self, name: str) -> float:
        return prod(one.availability for one in self.rates if one.name == name)


class OutageHistory:
    """The outages of one target, none of which overlap."""

    def __init__(self, outages: Iterable[Outage]) -> None:
        self.outages = _merge_overlaps(outages)
        self._starts = [one.start for one in self.outages]

    def find(self, moment: float) -> OutageKind | None:
        place = bisect_right(self._starts, moment) - 1
        if place < 0 or self.outages[place].end <= moment:
            return None
        return self.outages[place].kind

    def is_healthy(self, start: float, end: float) -> bool:
        """Whether there is no outage from ``start`` to ``end``."""
        following = bisect_right(self._starts, end) - 1
        return following < 0 or self.outages[following].end <= start


def draw_histories(
    plan: OutagePlan, targets: Sequence[Target], seconds: float, dice: Random
) -> Mapping[Target, OutageHistory]:
    """The outages of each target over so many seconds. What is recorded starts the forecast with its first
    outage; what belongs to a provider hits all its models at the same time.
    """
    begin = min((one.start for one in plan.recorded), default=0.0)
    by_name: dict[str, list[Outage]] = {name: [] for name in plan.names}
    for one in plan.recorded:
        by_name[one.name].append(Outage(one.start - begin, one.end - begin, one.kind))
    for rate in plan.rates:
        by_name[rate.name].extend(_draw_outages(rate, seconds, dice))
    return {
        target: OutageHistory((*by_name.get(target.provider, ()), *by_name.get(str(target), ())))
        for target in targets
    }


def require_known_names(plan: OutagePlan, targets: Iterable[Target]) -> None:
    """Raises UsageError for an outage of nobody."""
    known = {name for target in targets for name in (target.provider, str(target))}
    unknown = [name for name in plan.names if name not in known]
    if unknown:
        raise UsageError(
            f"an outage of {unknown[0]}, which no feature asks; known are {', '.join(sorted(known))}"
        )


def estimate_rates(rows: Sequence[Mapping[str, Any]]) -> OutagePlan:
    """From rows of the log, the oldest first: how often and how long each target was down. It is down from
    its first failed call until a call succeeds, when at least two failed in a row; what failed last is over
    with the last row.
    """
    recorded = _read_recorded_outages(rows)
    if not any(recorded.values()):
        return OutagePlan()
    span = _moment_of(rows[-1]) - _moment_of(rows[0])
    return OutagePlan(
        rates=tuple(_estimate_rate(name, recorded[name], span) for name in recorded if recorded[name])
    )


def _estimate_rate(name: str, outages: Sequence[RecordedOutage], span: float) -> OutageRate:
    down = sum(one.end - one.start for one in outages)
    return OutageRate(name, max(1 - down / span, MIN_AVAILABILITY), down / len(outages))


def _moment_of(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(row["at"])).timestamp()


def _read_recorded_outages(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[RecordedOutage]]:
    seen: dict[str, list[tuple[float, bool]]] = {}
    for row in rows:
        at = _moment_of(row)
        for entry in row.get("trail") or ():
            if entry.get("action") == "called" and entry.get("outcome") in {"ok", *_FAILURES}:
                seen.setdefault(entry["target"], []).append((at, entry["outcome"] == "ok"))
    return {name: list(_find_outages(name, calls)) for name, calls in seen.items()}


_FAILURES = frozenset({"network", "timeout", "server_error", "overloaded", "malformed"})
_MIN_FAILURES = 2


def _find_outages(name: str, calls: Sequence[tuple[float, bool]]) -> Iterable[RecordedOutage]:
    started, failures = 0.0, 0
    for at, is_ok in calls:
        if not is_ok:
            started = started if failures else at
            failures += 1
            continue
        if failures >= _MIN_FAILURES:
            yield RecordedOutage(name, started, at)
        failures = 0
    if failures >= _MIN_FAILURES and calls[-1][0] > started:
        yield RecordedOutage(name, started, calls[-1][0])


def _draw_outages(rate: OutageRate, seconds: float, dice: Random) -> Iterable[Outage]:
    """Working and failing take turns, each for a time without memory."""
    if rate.availability >= 1:
        return
    uptime = rate.mttr * rate.availability / (1 - rate.availability)
    moment = dice.expovariate(1 / uptime) if dice.random() < rate.availability else 0.0
    while moment < seconds:
        end = moment + dice.expovariate(1 / rate.mttr)
        yield Outage(moment, end, rate.kind)
        moment = end + dice.expovariate(1 / uptime)


def _merge_overlaps(outages: Iterable[Outage]) -> tuple[Outage, ...]:
    """What begins later holds from then on; what it interrupts goes on behind it."""
    ordered = sorted(outages)
    moments = sorted({moment for one in ordered for moment in (one.start, one.end)})
    waiting, active, merged = deque(ordered), list[Outage](), list[Outage]()
    for start, end in pairwise(moments):
        while waiting and waiting[0].start <= start:
            active.append(waiting.popleft())
        active = [one for one in active if one.end >= end]
        if not active:
            continue
        kind = active[-1].kind
        if merged and merged[-1].end == start and merged[-1].kind is kind:
            merged[-1] = Outage(merged[-1].start, end, kind)
        else:
            merged.append(Outage(start, end, kind))
    return tuple(merged)
