"""What an experiment says of its arms, each beside the first.

Figures of a fixed sample (Wilson, Student, Welch, Fisher) hold for who looks once, at a time that was chosen
before. Whoever looks as often as they like and stops when they like goes by the confidence sequences, whose
rule is ``STOPPING_RULE``: all of them together, of every arm and both measures, miss a truth in 5 of 100
experiments at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal

from msgspec import Struct

from llmfail.core.evaluation.distribution import compare_means, fisher_exact, mean_interval
from llmfail.core.evaluation.interval import Interval, difference_sequence, mean_sequence, wilson_interval
from llmfail.core.records.arm_counters import ArmCounters, RunningMean
from llmfail.core.records.counters import percentile

STOPPING_RULE = "normal-mixture confidence sequence (Robbins 1970), 95 % over all arms and measures"
ERROR_SHARE = 0.05
Measure = Literal["fits", "feedback"]
MEASURES: tuple[Measure, ...] = ("feedback", "fits")
"""What decides, the first that has enough values before the other."""
Standing = Literal["better", "worse", "cannot tell"]


class ArmReport(Struct, frozen=True):
    """One arm. ``sequences`` are those of its measures, valid whenever somebody looks."""

    target: str
    weight: float
    counters: ArmCounters
    share: float | None
    share_interval: Interval
    configured_share: float
    sequences: Mapping[Measure, Interval]

    @property
    def fit_interval(self) -> Interval:
        return wilson_interval(self.counters.fit, self.counters.judged)

    def to_json(self) -> dict[str, Any]:
        counters = self.counters
        asked = counters.asks - counters.hits
        return {
            "weight": self.weight,
            "asks": counters.asks,
            "from_cache": counters.hits,
            "share": self.share,
            "share_interval": list(self.share_interval),
            "configured_share": self.configured_share,
            "served": _share_to_json(counters.served, asked),
            "fits": {**_share_to_json(counters.fit, counters.judged), **self._sequence_to_json("fits")},
            "cost_usd": {**_sample_to_json(counters.cost), "unknown": counters.unpriced},
            "latency_s": _sample_to_json(counters.latency),
            "latency_p50_ms": percentile(counters.latencies, 0.5),
            "latency_p95_ms": percentile(counters.latencies, 0.95),
            "feedback": {**_sample_to_json(counters.feedback), **self._sequence_to_json("feedback")},
        }

    def _sequence_to_json(self, measure: Measure) -> dict[str, Any]:
        return {"sequence": list(self.sequences[measure])}


class ArmDifference(Struct, frozen=True):
    """An arm less the first one. ``p_values`` are those of a fixed sample; None: too little to say."""

    target: str
    sequences: Mapping[Measure, Interval]
    p_values: Mapping[str, float | None]

    def standing(self, measure: Measure) -> Standing:
        low, high = self.sequences[measure]
        if low > 0:
            return "better"
        return "worse" if high < 0 else "cannot tell"

    @property
    def decision(self) -> tuple[Measure, Standing] | None:
        """The first measure that tells the arms apart; None: go on."""
        told = ((measure, self.standing(measure)) for measure in MEASURES)
        return next(((measure, found) for measure, found in told if found != "cannot tell"), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "differences": {
                measure: {"sequence": list(self.sequences[measure]), "verdict": self.standing(measure)}
                for measure in MEASURES
            },
            "p_values": dict(self.p_values),
        }


class ExperimentReport(Struct, frozen=True):
    """``differences``: of every arm but the first."""

    name: str
    feature: str
    sticky: str
    until: str | None
    is_running: bool
    arms: tuple[ArmReport, ...]
    differences: tuple[ArmDifference, ...]

    def to_json(self) -> dict[str, Any]:
        decided = {one.target: one.decision for one in self.differences}
        return {
            "experiment": self.name,
            "feature": self.feature,
            "sticky": self.sticky,
            "until": self.until,
            "running": self.is_running,
            "control": self.arms[0].target,
            "arms": {arm.target: arm.to_json() for arm in self.arms},
            "compared": {one.target: one.to_json() for one in self.differences},
            "stopping_rule": STOPPING_RULE,
            "decisions": {
                target: None if found is None else {"measure": found[0], "verdict": found[1]}
                for target, found in decided.items()
            },
        }


def compare_arms(
    weights: Mapping[str, float], counters: Mapping[str, ArmCounters]
) -> tuple[tuple[ArmReport, ...], tuple[ArmDifference, ...]]:
    """The arms as they are configured; the first is what the others are compared with."""
    asks = sum(counters[target].asks for target in weights)
    alpha = ERROR_SHARE / (len(weights) * len(MEASURES))
    arms = tuple(
        ArmReport(
            target=target,
            weight=weight,
            counters=counters[target],
            share=counters[target].asks / asks if asks else None,
            share_interval=wilson_interval(counters[target].asks, asks),
            configured_share=weight / sum(weights.values()),
            sequences=_find_sequences(counters[target], alpha),
        )
        for target, weight in weights.items()
    )
    return arms, _find_differences(arms)


def _find_differences(arms: Sequence[ArmReport]) -> tuple[ArmDifference, ...]:
    first, *others = arms
    return tuple(
        ArmDifference(
            target=arm.target,
            sequences={
                name: difference_sequence(first.sequences[name], arm.sequences[name]) for name in MEASURES
            },
            p_values=_find_p_values(first.counters, arm.counters),
        )
        for arm in others
    )


def _find_sequences(counters: ArmCounters, alpha: float) -> dict[Measure, Interval]:
    fit_rate = counters.fit / counters.judged if counters.judged else 0.0
    feedback = counters.feedback
    return {
        "fits": mean_sequence(fit_rate, counters.judged, alpha),
        "feedback": mean_sequence(feedback.mean, feedback.count, alpha),
    }


def _find_p_values(first: ArmCounters, second: ArmCounters) -> dict[str, float | None]:
    has_judged = min(first.judged, second.judged) > 0
    return {
        "fits": fisher_exact((first.fit, second.fit), (first.judged, second.judged)) if has_judged else None,
        "cost_usd": compare_means(first.cost, second.cost),
        "latency_s": compare_means(first.latency, second.latency),
        "feedback": compare_means(first.feedback, second.feedback),
    }


def _share_to_json(part: int, whole: int) -> dict[str, Any]:
    return {
        "count": part,
        "of": whole,
        "rate": part / whole if whole else None,
        "interval": list(wilson_interval(part, whole)),
    }


def _sample_to_json(sample: RunningMean) -> dict[str, Any]:
    interval = mean_interval(sample)
    return {
        "count": sample.count,
        "mean": sample.mean if sample.count else None,
        "interval": list(interval) if isfinite(interval.low) else None,
    }
