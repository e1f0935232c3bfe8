"""Whose fault a failed call is. What is not the target's fault never counts against its circuit; what is may
(``core.classification.outcome.CONSEQUENCES``).

One function, ``attribute``, reads one table, ``ATTRIBUTIONS``: the first row that holds decides, and where
none does the target is at fault. It is asked at three moments, each of which knows more: when the time of a
call is over (has this machine stood still?), when the call has ended (did the deadline leave it a fair
share?), and when the call is settled (does our own network work?).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import WireError

TIMEOUT_SLACK = 1.0
"""Seconds by which the end of a time may be noticed late, on a machine that is busy."""
ROUNDING = 0.999
"""A time limit this close to the fair share is the fair share."""
BROKEN_OFF_NOTE = "the deadline passed before it was whole"


class Attribution(StrEnum):
    TARGET = "target"
    NETWORK = "network"
    """No host could be found: it may be our own network."""
    DEADLINE = "deadline"
    """The caller's deadline left the target too little time."""
    MACHINE = "machine"
    """This process stood still, or was stopped, while the call was under way."""


class Evidence(Struct, frozen=True):
    """What is known of a failed call. Durations in seconds. ``is_slow``: it ran out of the time that any
    stream has, for its first token or between two; ``is_committed``: its text is being shown;
    ``is_reported``: the provider itself says that it timed out (408, 504, 524), whatever time was left.
    """

    kind: Kind
    noticed_late: float = 0.0
    is_slow: bool = False
    is_committed: bool = False
    is_reported: bool = False
    limit: float = 0.0
    fair_share: float = 0.0
    is_unreachable: bool = False
    network_is_proven: bool = True


ATTRIBUTIONS: tuple[tuple[Callable[[Evidence], bool], Attribution], ...] = (
    (lambda known: known.kind is Kind.CANCELLED, Attribution.MACHINE),
    (lambda known: known.is_unreachable and not known.network_is_proven, Attribution.NETWORK),
    (lambda known: known.kind is not Kind.TIMEOUT, Attribution.TARGET),
    (lambda known: known.is_reported, Attribution.TARGET),
    (lambda known: known.noticed_late > TIMEOUT_SLACK, Attribution.MACHINE),
    (lambda known: known.is_slow, Attribution.TARGET),
    (lambda known: known.is_committed, Attribution.DEADLINE),
    (lambda known: known.limit < known.fair_share * ROUNDING, Attribution.DEADLINE),
)


def attribute(evidence: Evidence) -> Attribution:
    return next((fault for holds, fault in ATTRIBUTIONS if holds(evidence)), Attribution.TARGET)


def attribute_timeout(error: WireError, ends_at: float, now: float) -> WireError:
    """A timeout that was noticed long after its moment says something of this process, not of the target."""
    if error.cause != "timeout":
        return error
    if attribute(Evidence(Kind.TIMEOUT, noticed_late=now - ends_at)) is not Attribution.MACHINE:
        return error
    return WireError("standstill", "this process stood still while the call was under way")


def attribute_deadline(
    outcome: Outcome, *, is_slow: bool, is_committed: bool, limit: float, fair_share: float
) -> Outcome:
    """A target that had less than its fair share of time is not to blame for running out of it, nor is one
    whose text was still coming.
    """
    known = Evidence(
        outcome.kind,
        is_slow=is_slow,
        is_committed=is_committed,
        is_reported=outcome.status is not None and outcome.status >= 400,
        limit=limit,
        fair_share=fair_share,
    )
    if attribute(known) is not Attribution.DEADLINE:
        return outcome
    too_short = f"no answer in the {max(limit, 0.0):.3g} s that the deadline left"
    return Outcome(Kind.CANCELLED, BROKEN_OFF_NOTE if is_committed else too_short)


def attribute_network(outcome: Outcome, *, is_proven: bool) -> Outcome:
    """A failure of our own network says nothing about the target."""
    if not outcome.is_unreachable:
        return outcome
    known = Evidence(outcome.kind, is_unreachable=outcome.is_unreachable, network_is_proven=is_proven)
    return replace(outcome, kind=Kind.CANCELLED) if attribute(known) is Attribution.NETWORK else outcome
