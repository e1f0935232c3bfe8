"""Outages: as they were, as a file gives them, or drawn by chance from an availability and a time to recover.

A file says ``outages: [{target, availability, mttr}]`` (drawn), or ``[{target, from, until, kind}]`` (as they
were). ``target`` is a provider, all of whose models go down together, or one target.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from random import Random
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.settings.schema.quantity import parse_seconds

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


class _FileEntry(Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "until"}):
    target: str
    availability: Annotated[float, Meta(gt=0, le=1)] | None = None
    mttr: float | str | None = None
    start: Any = None
    end: Any = None
    kind: OutageKind = OutageKind.DOWN


class _OutageFile(Struct, forbid_unknown_fields=True):
    outages: list[_FileEntry] = field(default_factory=list)


def parse_outages(document: object) -> OutagePlan:
    """Of a document as YAML gives it. Raises ValueError with one line on what is wrong."""
    try:
        said = msgspec.convert(document, _OutageFile)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    rates, recorded = [], []
    for number, entry in enumerate(said.outages, 1):
        try:
            if entry.availability is not None:
                rates.append(_rate_of(entry))
            else:
                recorded.append(_recorded_of(entry))
        except ValueError as error:
            raise ValueError(f"outage {number} ({entry.target}): {error}") from None
    if not rates and not recorded:
        raise ValueError("it names no outages")
    return OutagePlan(tuple(rates), tuple(recorded))


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


def _rate_of(entry: _FileEntry) -> OutageRate:
    if entry.start is not None or entry.end is not None:
        raise ValueError("say availability, or from and until, not both")
    mttr = DEFAULT_MTTR_SECONDS if entry.mttr is None else parse_seconds(entry.mttr)
    assert entry.availability is not None
    return OutageRate(entry.target, entry.availability, mttr, entry.kind)


def _recorded_of(entry: _FileEntry) -> RecordedOutage:
    if entry.start is None or entry.end is None:
        raise ValueError("say availability (and mttr), or from and until")
    start, end = (_epoch_of(one) for one in (entry.start, entry.end))
    if end <= start:
        raise ValueError("until is not after from")
    return RecordedOutage(entry.target, start, end, entry.kind)


def _epoch_of(said: object) -> float:
    """A time without a zone is in UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(str(said))
    except ValueError:
        raise ValueError(f"a time is such as 2026-11-01T10:00Z, got {str(said)[:40]!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
