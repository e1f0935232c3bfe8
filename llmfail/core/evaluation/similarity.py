"""How similar two texts are, by the vectors that a model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

Vector = Sequence[float]


def cosine_similarity(first: Vector, second: Vector) -> float:
    """From -1 to 1; 0 for a vector without a direction."""
    size = hypot(*first) * hypot(*second)
    return sum(one * other for one, other in zip(first, second, strict=True)) / size if size else 0.0
