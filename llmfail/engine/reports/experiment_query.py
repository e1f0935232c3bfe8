"""The report of an experiment, and feedback on the answers of asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from llmfail.core.errors import UsageError
from llmfail.core.evaluation.experiment_report import ExperimentReport, compare_arms
from llmfail.core.records.arm_counters import ArmCounters
from llmfail.core.records.feedback_bucket import FeedbackBucket, FeedbackEntry, bucket_of
from llmfail.core.records.receipt_log import LOG_LENGTH
from llmfail.core.records.record import load_or_default
from llmfail.core.records.state_keys import arm_key, feedback_key
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.ports.store_access import write
from llmfail.engine.reports.experiment_steps import feedback_step
from llmfail.engine.reports.request_log import load_recent
from llmfail.settings.schema.settings import Settings, UnknownName

SCORE_WORDS = {"good": 1.0, "bad": 0.0}


async def load_experiment_report(settings: Settings, ports: Ports, name: str) -> ExperimentReport:
    """Raises UsageError for an experiment that is not configured."""
    found = next((one for one in settings.experiments if one.name == name), None)
    if found is None:
        raise UnknownName("experiment", name, tuple(one.name for one in settings.experiments))
    weights = {str(target): weight for target, weight in found.weights.items()}
    keys = {target: arm_key(settings.configuration_id, name, target) for target in weights}
    values, now = await ports.store.read(list(keys.values()))
    counters = {target: load_or_default(values[key], ArmCounters) for target, key in keys.items()}
    arms, differences = compare_arms(weights, counters)
    return ExperimentReport(
        name=name,
        feature=found.feature,
        sticky=found.sticky,
        until=found.until,
        is_running=found.is_running(now),
        arms=arms,
        differences=differences,
    )


async def record_feedback(ports: Ports, id_: str, score: float | str) -> FeedbackEntry:
    """What is kept now. Raises UsageError for what is no score, and for an id that nobody knows."""
    said, entry = parse_score(score), await _find_ask(ports, id_)
    await write(ports.store, feedback_step(entry, said))
    return replace(entry, score=said)


def parse_score(written: float | str) -> float:
    """``good``, ``bad`` or a number from 0 to 1. Raises UsageError."""
    try:
        score = SCORE_WORDS[written] if written in SCORE_WORDS else float(written)
    except (TypeError, ValueError):
        score = -1.0
    if not 0 <= score <= 1:
        raise UsageError(f"feedback is good, bad or a number from 0 to 1, got {written!r}")
    return score


async def load_log(ports: Ports, limit: int) -> list[dict[str, Any]]:
    """The last receipts, the newest first, with the ``feedback`` that there is."""
    found = await load_recent(ports, limit)
    known = await _load_feedback(ports, [str(one.get("id")) for one in found])
    scores = {id_: entry.score for id_, entry in known.items() if entry is not None}
    return [
        one if scores.get(str(one.get("id"))) is None else {**one, "feedback": scores[str(one["id"])]}
        for one in found
    ]


async def _load_feedback(ports: Ports, ids: Sequence[str]) -> dict[str, FeedbackEntry | None]:
    keys = {id_: feedback_key(bucket_of(id_)) for id_ in ids}
    values, _ = await ports.store.read(list(set(keys.values())))
    return {id_: load_or_default(values[key], FeedbackBucket).find(id_) for id_, key in keys.items()}


async def _find_ask(ports: Ports, id_: str) -> FeedbackEntry:
    """By its whole id; one in the log also by the beginning of it. Raises UsageError."""
    known = (await _load_feedback(ports, [id_]))[id_]
    if known is not None:
        return known
    logged = [str(one["id"]) for one in await load_recent(ports, LOG_LENGTH) if "id" in one]
    if id_ in logged:
        return FeedbackEntry(id_)
    found = [one for one in logged if id_ and one.startswith(id_)]
    if len(found) == 1:
        return await _find_ask(ports, found[0])
    if found:
        raise UsageError(f"{len(found)} requests begin with {id_}; say more of the id, such as {found[0]}")
    raise UsageError(f"no request is called {id_}, or it was too long ago; `llmfail log` shows ids")
