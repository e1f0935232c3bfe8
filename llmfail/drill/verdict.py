"""What the scenes of a feature come to: kept promises or not, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from msgspec import Struct

from llmfail.drill.scenarios import Scene


class Verdict(Struct, frozen=True):
    """``ok``: everything that the configuration promises was kept."""

    feature: str
    ok: bool
    text: str
    scenes: tuple[Scene, ...]

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "scenes": [_shown(scene) for scene in self.scenes], "verdict": self.text}


def verdicts(scenes: Iterable[Scene]) -> tuple[Verdict, ...]:
    """One for each feature; the scenes of a feature follow one another."""
    return tuple(_verdict(name, tuple(group)) for name, group in groupby(scenes, lambda scene: scene.feature))


def _verdict(feature: str, scenes: Sequence[Scene]) -> Verdict:
    words = dict.fromkeys(scene.words for scene in scenes if scene.words)
    ok = all(scene.ok for scene in scenes)
    return Verdict(feature, ok, "; ".join(words) or "as expected", tuple(scenes))


def _shown(scene: Scene) -> dict[str, Any]:
    receipt = scene.receipt
    return {
        "scene": scene.name,
        "ok": scene.ok,
        "expected": scene.expected,
        "saw": scene.saw,
        "target": str(receipt.target) if receipt and receipt.target else None,
        "tier": receipt.tier if receipt else None,
        "requests": {str(target): sent for target, sent in scene.requests.items()},
    }
