"""Why an ask has no answer: the exit code and the sentence, read off the trail."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.receipt import Entry, Failure, Skip, iso

CREDENTIALS = frozenset({Skip.NO_KEY, Skip.DISABLED, Kind.AUTH, Kind.BILLING, Kind.PERMISSION})
BUDGETS = frozenset({Skip.OVER_BUDGET, Skip.UNKNOWN_PRICE, Skip.TOO_EXPENSIVE})
SIZES = frozenset({Skip.TOO_SMALL, Kind.CONTEXT_OVERFLOW})
REQUESTS = frozenset({Kind.BAD_REQUEST, Kind.CONTENT_BLOCKED, Kind.REFUSAL})


def failure(
    trail: Sequence[Entry], *, deadline_passed: bool, own_network: bool, retry_at: float | None
) -> Failure:
    """The most telling reason wins: the request, the deadline, our network; credentials when they are all
    there is; money as soon as it kept anybody from answering; size; else whatever it was.
    """
    if trail and trail[-1].action == "called" and trail[-1].outcome in REQUESTS:
        return _refused(trail[-1])
    last = tuple({entry.target: entry for entry in trail}.values())
    story = "; ".join(map(_tell, last)) or "no target"
    if deadline_passed:
        return Failure(
            ExitCode.DEADLINE_PASSED, "deadline", f"the deadline passed before any target answered: {story}"
        )
    if own_network:
        return Failure(
            ExitCode.UNAVAILABLE,
            "network",
            f"no provider can be reached from here, check the network: {story}",
        )
    return _common(last, story, retry_at)


def broken_off(target: Target, outcome: Outcome) -> Failure:
    """What was shown of an answer stays, and there is no more of it."""
    why = f": {outcome.note}" if outcome.note else f" ({outcome.kind})"
    return Failure(
        ExitCode.INCOMPLETE,
        "incomplete",
        f"{target}: the answer broke off{why}; what was shown is incomplete",
    )


def _common(last: Sequence[Entry], story: str, retry_at: float | None) -> Failure:
    reasons = {entry.cause or entry.outcome for entry in last}
    if reasons == {Skip.NO_KEY}:
        return Failure(
            ExitCode.CREDENTIALS_MISSING, "credentials", f"no target of this chain has a key: {_keys(last)}"
        )
    if reasons <= CREDENTIALS:
        return Failure(ExitCode.CREDENTIALS_MISSING, "credentials", f"no usable credential: {story}")
    if reasons & BUDGETS:
        return _too_dear(reasons & BUDGETS, story)
    if reasons <= CREDENTIALS | REQUESTS:
        return _refused([entry for entry in last if entry.outcome in REQUESTS][-1])
    if reasons <= CREDENTIALS | SIZES:
        return Failure(ExitCode.REQUEST_REFUSED, "too_large", f"too large for every target: {story}")
    when = f"; try again at {iso(retry_at)}" if retry_at is not None else ""
    return Failure(ExitCode.UNAVAILABLE, "unavailable", f"no target could answer: {story}{when}")


def _too_dear(reasons: AbstractSet[str], story: str) -> Failure:
    if reasons == {Skip.TOO_EXPENSIVE}:
        return Failure(ExitCode.OVER_BUDGET, "too_expensive", f"--max-cost does not allow this call: {story}")
    if reasons == {Skip.UNKNOWN_PRICE}:
        return Failure(
            ExitCode.OVER_BUDGET, "unknown_price", f"no limit on costs holds without a price: {story}"
        )
    return Failure(ExitCode.OVER_BUDGET, "over_budget", f"the budget does not allow this call: {story}")


def _keys(last: Sequence[Entry]) -> str:
    return ", or ".join(dict.fromkeys(entry.note for entry in last))


def _refused(entry: Entry) -> Failure:
    note = f": {entry.note}" if entry.note else ""
    return Failure(
        ExitCode.REQUEST_REFUSED, entry.outcome, f"{entry.target} refused the request ({entry.outcome}){note}"
    )


def _tell(entry: Entry) -> str:
    note = f" ({entry.note})" if entry.note else ""
    return f"{entry.target} {entry.outcome}{note}"
