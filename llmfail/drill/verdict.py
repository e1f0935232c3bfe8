"""What the scenes of a feature come to: kept promises or not, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from msgspec import Struct

from llmfail.drill.scenarios import ScenarioResult


class Verdict(Struct, frozen=True):
    """``ok``: everything that the configuration promises was kept."""

    feature: str
    ok: bool
    text: str
    results: tuple[ScenarioResult, ...]

    @property
    def failovers(self) -> dict[str, float]:
        """Seconds that each fault cost before the call that was answered, by scene."""
        return {one.name: one.failover for one in self.results if one.failover is not None}

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "scenes": [_result_to_json(scene) for scene in self.results],
            "verdict": self.text,
        }


def judge_features(results: Iterable[ScenarioResult]) -> tuple[Verdict, ...]:
    """One for each feature; the scenes of a feature follow one another."""
    return tuple(
        _judge_feature(name, tuple(group)) for name, group in groupby(results, lambda scene: scene.feature)
    )


def _judge_feature(feature: str, results: Sequence[ScenarioResult]) -> Verdict:
    words = dict.fromkeys(scene.summary for scene in results if scene.summary)
    ok = all(scene.ok for scene in results)
    return Verdict(feature, ok, "; ".join(words) or "as expected", tuple(results))


def _result_to_json(result: ScenarioResult) -> dict[str, Any]:
    receipt = result.receipt
    return {
        "scene": result.name,
        "ok": result.ok,
        "expected": result.expected,
        "saw": result.observed,
        "target": str(receipt.target) if receipt and receipt.target else None,
        "tier": receipt.tier if receipt else None,
        "requests": {str(target): sent for target, sent in result.requests.items()},
        "failover_ms": None if result.failover is None else round(result.failover * 1000, 1),
    }
