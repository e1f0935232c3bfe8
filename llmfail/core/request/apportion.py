"""Dividing a whole number by weights, such that the shares add up to it."""

from __future__ import annotations

from collections.abc import Sequence


def apportion(whole: int, weights: Sequence[int]) -> list[int]:
    """The shares, each its part rounded down, or one more where the largest remainders are."""
    total = sum(weights)
    if total <= 0:
        weights, total = [1] * len(weights), len(weights)
    shares = [whole * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -(whole * weights[place] % total))
    for place in by_remainder[: whole - sum(shares)]:
        shares[place] += 1
    return shares
