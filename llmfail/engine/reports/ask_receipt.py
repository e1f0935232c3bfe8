"""The receipt of an ask, from how it stood when its chain had ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core.admission.budget import share_of_limit
from llmfail.core.admission.budget_notice import BudgetNotice, BudgetWarning
from llmfail.core.admission.budget_unit import format_amount
from llmfail.core.cache.cache_key import describe_asked
from llmfail.core.errors import ExitCode
from llmfail.core.model import Completion, Embedding, Target
from llmfail.core.receipt import DEGRADED_TIER, Receipt, TrailEntry, sum_cost
from llmfail.core.request.ask import Ask
from llmfail.core.routing.ask_state import AskState
from llmfail.core.routing.attempt_result import FoundAnswer
from llmfail.core.routing.failure import decide_failure, explain_broken_answer
from llmfail.core.routing.rejected_parameters import FORMAT, SCHEMA
from llmfail.engine.planning.embedding_rules import add_skipped
from llmfail.engine.planning.job import Job, tier_of
from llmfail.engine.reports.request_log import describe_unsettled

if TYPE_CHECKING:
    from llmfail.core.answer_piece import RelayedReply

RETRYABLE_EXIT_CODES = frozenset(
    {ExitCode.UNAVAILABLE, ExitCode.CREDENTIALS_MISSING, ExitCode.DEADLINE_PASSED}
)
"""Exit codes after which asking again later may help."""


def build_receipt(
    job: Job,
    ask: Ask,
    state: AskState,
    *,
    earlier: Sequence[TrailEntry],
    key_names: Mapping[Target, str],
    latency_ms: int,
) -> Receipt:
    """What the run of a chain came to. ``earlier``: the trail of runs before, which were asked again;
    ``key_names``: what people call the keys of its targets.
    """
    trail = (*(entry for entry in earlier if entry.action == "called"), *state.trail)
    blank = Receipt(
        id=job.id,
        feature=job.feature,
        trail=trail,
        cost_pico_usd=sum_cost(trail),
        latency_ms=latency_ms,
        ref=ask.ref,
        request=describe_asked(job.digest, job.feature, ask.targets, job.expected),
        looked=job.cache_policy is not None and job.cache_policy.can_read,
        arm=job.arm,
    )
    return (
        add_skipped(_failed_receipt(blank, state, key_names), job.skipped_targets)
        if state.found is None
        else answered_receipt(blank, job, state.found)
    )


def find_reply(receipt: Receipt, state: AskState) -> RelayedReply | None:
    """The reply that is the answer, or the refusal of the request, where it was passed on as it was."""
    if receipt.error is None:
        is_degraded = receipt.tier == DEGRADED_TIER
        return None if state.found is None or is_degraded else state.found.relayed
    return state.relayed if receipt.error.code == ExitCode.REQUEST_REFUSED else None


def answered_receipt(blank: Receipt, job: Job, found: FoundAnswer) -> Receipt:
    answer = found.answer
    receipt = replace(
        blank,
        source="cache" if found.stored else "model",
        tier=tier_of(job, found.candidate.target),
        target=found.candidate.target,
        response_model=answer.model,
        usage=answer.usage,
    )
    if isinstance(answer, Embedding):
        return replace(receipt, embedding=answer, warnings=_usage_warnings(answer))
    return replace(
        receipt,
        answer=answer.text,
        thoughts=answer.all_thoughts,
        parts=answer.parts,
        logprobs=answer.logprobs,
        finish_reason=answer.finish_reason,
        warnings=(*_warnings(job, answer), *_schema_warnings(found)),
    )


def _failed_receipt(blank: Receipt, state: AskState, key_names: Mapping[Target, str]) -> Receipt:
    partial = state.partial
    if partial is not None:
        error = explain_broken_answer(partial.target, partial.outcome)
        return replace(blank, error=error, partial=partial.answer.text, usage=partial.answer.usage)
    error = decide_failure(
        state.trail,
        deadline_passed=state.deadline_passed,
        own_network=state.is_own_network_down,
        retry_at=state.retry_at,
        stopped=state.stopped,
        key_names=key_names,
    )
    return replace(
        blank, error=error, retry_at=state.retry_at if error.code in RETRYABLE_EXIT_CODES else None
    )


def _warnings(job: Job, answer: Completion) -> tuple[str, ...]:
    if answer.finish_reason == "length" and answer.detail:
        return ("the answer was cut: the model's context was full", *_usage_warnings(answer))
    if answer.finish_reason == "length":
        return (f"the answer was cut at max_tokens ({job.request.max_tokens})", *_usage_warnings(answer))
    if answer.finish_reason == "other":
        return ("the provider did not say that the answer is whole", *_usage_warnings(answer))
    return _usage_warnings(answer)


def _schema_warnings(found: FoundAnswer) -> tuple[str, ...]:
    """Told by the ask that learns of it; later ones have it in their trail."""
    if found.dropped.isdisjoint({SCHEMA, FORMAT}):
        return ()
    what = "any schema" if FORMAT in found.dropped else "this schema"
    text = f"{found.candidate.target} does not take {what}: it went into the system prompt"
    return (f"{text}, and the answer was judged by it all the same",)


def _usage_warnings(answer: Completion | Embedding) -> tuple[str, ...]:
    return (answer.usage_warning,) if answer.usage_warning else ()


def describe_notice(notice: BudgetNotice) -> str:
    cover = notice.scope
    if isinstance(notice, BudgetWarning):
        share = share_of_limit(notice.spent, cover.limit)
        spent, limit = (format_amount(cover.unit, amount) for amount in (notice.spent, cover.limit))
        return f"budget {cover.label}: {spent} of {limit} are spent ({share:.0%})"
    return f"budget {cover.label}: {describe_unsettled(notice)}"
