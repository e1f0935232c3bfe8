"""What is counted: an ask that has ended, and a call that was admitted. One event is counted in several
records, each of which says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from msgspec import Struct

from llmfail.core.model import Usage

MissingAnswer = Literal["service", "credential", "budget", "request", "machine"]
"""What left an ask without an answer: providers that failed, or a cause of the caller's own."""
K = TypeVar("K")
E = TypeVar("E")


class CountedAsk(Struct, frozen=True):
    """``missing``: what left it without an answer; None when there is one. ``hit``: whether a stored answer
    served; None when the ask could not use one. ``is_fallback``: answered elsewhere because the service
    failed. ``request``, ``attempts`` and ``skips`` are joined labels of the metrics.
    """

    tier: int
    missing: MissingAnswer | None
    saw_open_circuit: bool
    latency_ms: int
    hit: bool | None = None
    first_target: str = ""
    is_fallback: bool = False
    request: str = ""
    attempts: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()


class CountedCall(Struct, frozen=True):
    """``cost`` in pico-dollars, None when nobody knows it; ``usage`` is None when nothing was reported.
    ``fallback``: it answered in another's place. ``target`` and ``feature`` as the metrics name them.
    """

    ok: bool
    fallback: bool
    latency_ms: int
    cost: int | None
    error: str | None = None
    usage: Usage | None = None
    target: str = ""
    feature: str = ""


def group_by(key_of: Callable[[E], K], events: Iterable[E]) -> dict[K, list[E]]:
    """The events with the same key together, in their order."""
    groups: dict[K, list[E]] = {}
    for event in events:
        groups.setdefault(key_of(event), []).append(event)
    return groups
