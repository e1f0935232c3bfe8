"""Which targets a watch asks by itself now. Of all that watch the same state one asks: it writes down that it
does, in the update that chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct, field

from llmfail.core.model import Target
from llmfail.core.records.record import Record

OPEN_INTERVAL_SECONDS = 5.0
"""Seconds between two watches that try the same open target."""


class ProbeLog(Record, frozen=True):
    """When each target was last chosen, in epoch seconds."""

    chosen_at: Mapping[str, float] = field(default_factory=dict)


class ProbeCandidate(Struct, frozen=True):
    """A target that has a key. ``is_open``: its circuit is not closed. ``may_be_called``: its gate would
    admit a call now. ``last_result_at``: when a call to it ended last, in epoch seconds.
    """

    target: Target
    is_open: bool
    may_be_called: bool
    last_result_at: float


def choose_probes(
    log: ProbeLog,
    candidates: Iterable[ProbeCandidate],
    which: Literal["open", "idle", "all"],
    every: float,
    now: float,
) -> tuple[ProbeLog, tuple[Target, ...]]:
    """Those that are due. What the gate would refuse is never asked."""
    chosen = tuple(
        one.target
        for one in candidates
        if one.may_be_called and _is_due(one, which, every, log.chosen_at.get(str(one.target), 0.0), now)
    )
    if not chosen:
        return log, ()
    return ProbeLog(chosen_at={**log.chosen_at, **{str(target): now for target in chosen}}), chosen


def _is_due(
    candidate: ProbeCandidate,
    which: Literal["open", "idle", "all"],
    every: float,
    chosen_at: float,
    now: float,
) -> bool:
    if candidate.is_open:
        return now - chosen_at >= OPEN_INTERVAL_SECONDS
    match which:
        case "open":
            return False
        case "idle":
            return now - max(chosen_at, candidate.last_result_at) >= every
        case "all":
            return now - chosen_at >= every
