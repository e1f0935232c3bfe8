"""Whether an ask of a batch that has failed is asked again, and when. A batch is patient; an ask is not.

A line whose targets are all held back (by an open circuit, a pause, a rate limit of our own) waits until the
first of them may be asked. One that was asked in vain, where the failures may pass, is asked again as well,
until ``MAX_FAILED_CALLS`` to one target have failed: then the line itself is perhaps the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.classification.outcome import CONSEQUENCES, Kind
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.receipt import Failure, Repeat, SkipReason, TrailEntry
from llmfail.core.routing.next_step import compute_backoff

MAX_FAILED_CALLS = 6
HELD_BACK = frozenset(
    {SkipReason.CIRCUIT_OPEN, SkipReason.PROBING, SkipReason.FORCED_OPEN, SkipReason.RATE_LIMITED_HERE}
)
"""Why a target was skipped that may be asked later."""


class RepeatRules(Struct, frozen=True):
    """What a batch allows one of its asks: pauses of so many seconds each, and what it has been through."""

    max_pause: float
    earlier: tuple[TrailEntry, ...] = ()


def find_hopeful(trail: Sequence[TrailEntry]) -> frozenset[Target]:
    """The targets for which what stood in the way may pass."""
    last = {entry.target: entry for entry in trail}
    return frozenset(target for target, entry in last.items() if _may_pass(entry))


def find_repeat(
    failure: Failure,
    trail: Sequence[TrailEntry],
    opening: float | None,
    now: float,
    *,
    max_pause: float,
    random_number: float,
) -> Repeat | None:
    """``trail`` is that of all asks of this line. ``opening`` is when the first of its hopeful targets may be
    asked, in epoch seconds, None when none will be by itself. ``random_number`` is in [0, 1).
    """
    called = Counter(entry.target for entry in trail if entry.action == "called")
    calls = max(called.values(), default=0)
    is_final = failure.code != ExitCode.UNAVAILABLE or calls >= MAX_FAILED_CALLS
    if is_final or not max_pause or opening is None or opening - now > max_pause:
        return None
    if opening > now:
        return Repeat(opening, is_pause=True)
    return Repeat(now + compute_backoff(calls, random_number), is_pause=False)


def _may_pass(entry: TrailEntry) -> bool:
    if entry.action == "skipped":
        return entry.outcome in HELD_BACK
    return CONSEQUENCES[Kind(entry.outcome)].is_transient
