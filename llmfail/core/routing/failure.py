"""Why an ask has no answer: the exit code and the message, from its trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.receipt import Failure, SkipReason, TrailEntry, format_time
from llmfail.core.records.counted_events import MissingAnswer

CREDENTIAL_REASONS = frozenset(
    {SkipReason.NO_KEY, SkipReason.DISABLED, Kind.AUTH, Kind.BILLING, Kind.PERMISSION}
)
BUDGET_REASONS = frozenset({SkipReason.OVER_BUDGET, SkipReason.UNKNOWN_PRICE, SkipReason.TOO_EXPENSIVE})
SIZE_REASONS = frozenset({SkipReason.TOO_SMALL, Kind.CONTEXT_OVERFLOW})
UNSUITED_REASONS = frozenset({SkipReason.UNSUITED})
REQUEST_REASONS = frozenset({Kind.BAD_REQUEST, Kind.CONTENT_BLOCKED, Kind.REFUSAL})
SERVICE_REASONS = frozenset(
    {
        *(Kind.NETWORK, Kind.TIMEOUT, Kind.SERVER_ERROR, Kind.OVERLOADED, Kind.MALFORMED),
        *(Kind.RATE_LIMITED, Kind.QUOTA, Kind.REJECTED_ANSWER),
        *(SkipReason.CIRCUIT_OPEN, SkipReason.PROBING, SkipReason.FORCED_OPEN),
    }
)
"""What a provider may be blamed for; neither missing keys nor budgets nor requests at fault are."""
_OWN_CAUSES: Mapping[int, MissingAnswer] = {
    ExitCode.CREDENTIALS_MISSING: "credential",
    ExitCode.OVER_BUDGET: "budget",
    ExitCode.REQUEST_REFUSED: "request",
}
_OWN_KINDS = frozenset({"network", "machine"})
"""Kinds of failures that are trouble of this machine or of its network."""


_KEY_VERDICTS: Mapping[str, str] = {
    Kind.AUTH: "was refused",
    Kind.BILLING: "belongs to an account without credit",
    Kind.PERMISSION: "has no permission",
}
MAX_SHOWN_KEYS = 3
"""Missing keys that a message names before it only counts."""


def decide_failure(
    trail: Sequence[TrailEntry],
    *,
    deadline_passed: bool,
    own_network: bool,
    retry_at: float | None,
    stopped: bool = False,
    key_names: Mapping[Target, str] = MappingProxyType({}),
) -> Failure:
    """``stopped``: no other target could have helped. ``key_names``: what people call the key of each target,
    such as the name of its variable. The first that applies: the request was refused (by
    the content policy of one target, by two endpoints, or by every target that was called), the deadline
    passed, our network is down, only credentials are missing, a budget refused a target, the request is too
    large, any other reason.
    """
    last_entries = tuple({entry.target: entry for entry in trail}.values())
    called = [entry for entry in last_entries if entry.action == "called"]
    if called and _is_refused(called, trail[-1], stopped=stopped):
        return _explain_refusal(_same_as_last(called))
    tried = "; ".join(map(_describe_entry, last_entries)) or "no target"
    if deadline_passed:
        return Failure(
            ExitCode.DEADLINE_PASSED, "deadline", f"the deadline passed before any target answered: {tried}"
        )
    if own_network:
        return Failure(
            ExitCode.UNAVAILABLE,
            "network",
            f"no provider can be reached from here, check the network: {tried}",
        )
    return _decide_by_reasons(last_entries, tried, retry_at, key_names)


def find_missing_cause(failure: Failure | None) -> MissingAnswer | None:
    """What left an ask without an answer; None where there is one."""
    if failure is None:
        return None
    return "machine" if failure.kind in _OWN_KINDS else _OWN_CAUSES.get(failure.code, "service")


def has_service_failed(trail: Sequence[TrailEntry]) -> bool:
    """Whether a provider failed on the way, so that another had to answer."""
    return any(entry.outcome in SERVICE_REASONS for entry in trail)


def _is_refused(called: Sequence[TrailEntry], last: TrailEntry, *, stopped: bool) -> bool:
    if {entry.outcome for entry in called} <= {Kind.BAD_REQUEST}:
        return True
    is_refused_at_last = last.action == "called" and last.outcome in REQUEST_REASONS
    return is_refused_at_last and (stopped or last.outcome != Kind.BAD_REQUEST)


def explain_broken_answer(target: Target, outcome: Outcome) -> Failure:
    """The failure of an answer that broke off after a part of it was shown."""
    reason = f": {outcome.note}" if outcome.note else f" ({outcome.kind})"
    return Failure(
        ExitCode.INCOMPLETE,
        "incomplete",
        f"{target}: the answer broke off{reason}; what was shown is incomplete",
    )


def _decide_by_reasons(
    last_entries: Sequence[TrailEntry],
    tried: str,
    retry_at: float | None,
    key_names: Mapping[Target, str],
) -> Failure:
    reasons = {entry.cause or entry.outcome for entry in last_entries}
    if reasons == {SkipReason.NO_KEY}:
        return Failure(
            ExitCode.CREDENTIALS_MISSING,
            "credentials",
            f"no target of this chain has a key: {_list_missing_keys(last_entries)}",
        )
    if reasons <= CREDENTIAL_REASONS:
        found = _describe_credentials(last_entries, key_names)
        return Failure(ExitCode.CREDENTIALS_MISSING, "credentials", f"no usable credential: {found}")
    if reasons & BUDGET_REASONS:
        return _explain_over_budget(reasons & BUDGET_REASONS, tried)
    others = reasons - CREDENTIAL_REASONS - UNSUITED_REASONS
    if others <= REQUEST_REASONS or others <= SIZE_REASONS:
        return _explain_request(others, last_entries, tried)
    when = f"; try again at {format_time(retry_at)}" if retry_at is not None else ""
    kind = "machine" if reasons == {Kind.CANCELLED} else "unavailable"
    return Failure(ExitCode.UNAVAILABLE, kind, f"no target could answer: {tried}{when}")


def _explain_request(reasons: AbstractSet[str], last_entries: Sequence[TrailEntry], tried: str) -> Failure:
    """Whatever target is asked, the request stands in the way: for ``reasons``, or because it suits none."""
    if not reasons:
        message = f"no target can take this request: {tried}"
        return Failure(ExitCode.REQUEST_REFUSED, "unsuited", message)
    if reasons & SIZE_REASONS:
        return Failure(ExitCode.REQUEST_REFUSED, "too_large", f"too large for every target: {tried}")
    return _explain_refusal(_same_as_last(last_entries))


def _explain_over_budget(reasons: AbstractSet[str], tried: str) -> Failure:
    if reasons == {SkipReason.TOO_EXPENSIVE}:
        return Failure(
            ExitCode.OVER_BUDGET, "too_expensive", f"the maximum cost does not allow this call: {tried}"
        )
    if reasons == {SkipReason.UNKNOWN_PRICE}:
        return Failure(
            ExitCode.OVER_BUDGET, "unknown_price", f"no cost limit can be kept without a price: {tried}"
        )
    return Failure(ExitCode.OVER_BUDGET, "over_budget", f"the budget does not allow this call: {tried}")


def _describe_credentials(entries: Sequence[TrailEntry], key_names: Mapping[Target, str]) -> str:
    """Each key that was refused, and what it would take besides."""
    missing = [entry for entry in entries if entry.outcome == SkipReason.NO_KEY]
    refused = [_describe_refused_key(entry, key_names) for entry in entries if entry not in missing]
    return "; ".join([*refused, _list_missing_keys(missing)] if missing else refused)


def _describe_refused_key(entry: TrailEntry, key_names: Mapping[Target, str]) -> str:
    if entry.target not in key_names:
        return _describe_entry(entry)
    verdict = _KEY_VERDICTS.get(entry.cause or entry.outcome, "cannot be used")
    note = f": {entry.note}" if entry.note else ""
    return f"{key_names[entry.target]} {verdict} ({entry.target}{note})"


def _list_missing_keys(entries: Sequence[TrailEntry]) -> str:
    """The first few ways to set one, and how many more there are."""
    hints = list(dict.fromkeys(entry.note for entry in entries))
    shown = hints[:MAX_SHOWN_KEYS] if len(hints) > MAX_SHOWN_KEYS + 1 else hints
    more = len(hints) - len(shown)
    return ", or ".join(shown) + (f", or one of {more} more (`llmfail plan` lists them)" if more else "")


def _same_as_last(entries: Sequence[TrailEntry]) -> list[TrailEntry]:
    """The refusals of the kind of the last one."""
    refusals = [entry for entry in entries if entry.outcome in REQUEST_REASONS]
    return [entry for entry in refusals if entry.outcome == refusals[-1].outcome]


def _explain_refusal(refusals: Sequence[TrailEntry]) -> Failure:
    last = refusals[-1]
    note = f": {last.note}" if last.note else ""
    targets = " and ".join(str(entry.target) for entry in refusals)
    message = f"{targets} refused the request ({last.outcome}){note}"
    return Failure(ExitCode.REQUEST_REFUSED, last.outcome, message)


def _describe_entry(entry: TrailEntry) -> str:
    note = f" ({entry.note})" if entry.note else ""
    return f"{entry.target} {entry.shown_outcome}{note}"
