"""What is kept of experiments: the counters of each arm, and what users said of answers."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from llmfail.core.arm_choice import ArmChoice
from llmfail.core.classification.outcome import Kind
from llmfail.core.model import Target
from llmfail.core.receipt import PICO_PER_DOLLAR, Receipt
from llmfail.core.records.arm_counters import (
    COUNTERS_LIFETIME,
    ArmCounters,
    ArmOutcome,
    count_feedback,
    count_outcome,
)
from llmfail.core.records.feedback_bucket import (
    FEEDBACK_LIFETIME,
    FeedbackBucket,
    FeedbackEntry,
    bucket_of,
)
from llmfail.core.records.record import (
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    load_or_default,
    without_newer,
)
from llmfail.core.records.state_keys import arm_key, feedback_key

ANSWERED_KINDS = frozenset({Kind.OK, Kind.REJECTED_ANSWER, Kind.REFUSAL, Kind.CONTENT_BLOCKED})
"""Outcomes in which a target said something, which was as expected or not."""


def count_arm_step(receipt: Receipt, arm: ArmChoice, configuration: str) -> StoreChange:
    """Count an ask for its arm, and know from now on to which arm it belongs."""
    name, target = arm.experiment, str(arm.target)
    counters_key = arm_key(configuration, name, target)
    bucket_key = feedback_key(bucket_of(receipt.id))
    entry, outcome = FeedbackEntry(receipt.id, configuration, name, target), _outcome_of(receipt, arm.target)

    def change(values: Values, now: float) -> Writes:
        counters = count_outcome(load_or_default(values[counters_key], ArmCounters), outcome)
        bucket = load_or_default(values[bucket_key], FeedbackBucket).put(entry)
        return without_newer(
            {counters_key: _write_counters(counters, now), bucket_key: _write_bucket(bucket, now)}, values
        )

    return StoreChange([counters_key, bucket_key], change)


def feedback_step(entry: FeedbackEntry, score: float) -> StoreChange:
    """Keep what was said of the answer of an ask, in the place of what was said before."""
    bucket_key = feedback_key(bucket_of(entry.id))
    keys = [bucket_key]
    if entry.experiment is not None and entry.arm is not None:
        keys.append(arm_key(entry.configuration, entry.experiment, entry.arm))
    return StoreChange(keys, partial(_give_feedback, keys, entry, score))


def _give_feedback(keys: list[str], entry: FeedbackEntry, score: float, values: Values, now: float) -> Writes:
    bucket_key, *counters_keys = keys
    bucket = load_or_default(values[bucket_key], FeedbackBucket)
    known = bucket.find(entry.id) or entry
    writes = {bucket_key: _write_bucket(bucket.put(replace(known, score=score)), now)}
    for key in counters_keys:
        counters = load_or_default(values[key], ArmCounters)
        writes[key] = _write_counters(count_feedback(counters, score, known.score), now)
    return without_newer(writes, values)


def _outcome_of(receipt: Receipt, target: Target) -> ArmOutcome:
    outcomes = {
        entry.outcome for entry in receipt.trail if entry.action == "called" and entry.target == target
    }
    gave_answer = not outcomes.isdisjoint(ANSWERED_KINDS)
    cost = receipt.cost_pico_usd
    return ArmOutcome(
        is_hit=receipt.source == "cache",
        is_served=receipt.source == "model" and receipt.target == target,
        fits=Kind.OK in outcomes if gave_answer else None,
        cost=None if cost is None else float(cost / PICO_PER_DOLLAR),
        latency_ms=receipt.latency_ms if receipt.error is None else None,
    )


def _write_counters(counters: ArmCounters, now: float) -> Write:
    """No addition: a mean is no sum, and two asks that lead from one mean to the same one are still two."""
    return Write(dump(counters), hourly_expiry(now + COUNTERS_LIFETIME))


def _write_bucket(bucket: FeedbackBucket, now: float) -> Write:
    return Write(dump(bucket), hourly_expiry(now + FEEDBACK_LIFETIME))
