"""The window in which a circuit counts calls and failures for its failure rate."""

from __future__ import annotations

from collections.abc import Mapping

from llmfail.core.admission.circuit import BreakerRules, Circuit, WindowSlot

SLOTS_PER_WINDOW = 10
"""The rate window is counted in so many slots."""


def count_failure(slots: tuple[WindowSlot, ...], now: float, rules: BreakerRules) -> tuple[WindowSlot, ...]:
    """The window with one more failure, without slots that are too old."""
    number = _slot_number(now, rules)
    kept = tuple(slot for slot in slots if number - SLOTS_PER_WINDOW < slot.number < number)
    calls, failures = next(((s.calls, s.failures) for s in slots if s.number == number), (0, 0))
    return (*kept, WindowSlot(number, calls + 1, failures + 1))


def count_answer(answered: Mapping[int, int], now: float, rules: BreakerRules) -> Mapping[int, int]:
    number = _slot_number(now, rules)
    return {**drop_old(answered, now, rules), number: answered.get(number, 0) + 1}


def drop_old(answered: Mapping[int, int], now: float, rules: BreakerRules) -> Mapping[int, int]:
    last = _slot_number(now, rules)
    return {number: calls for number, calls in answered.items() if last - SLOTS_PER_WINDOW < number <= last}


def has_high_failure_rate(circuit: Circuit, rules: BreakerRules) -> bool:
    calls = sum(slot.calls for slot in circuit.slots) + sum(circuit.answered.values())
    failures = sum(slot.failures for slot in circuit.slots)
    return calls >= rules.volume_threshold and failures / calls >= rules.failure_rate


def _slot_number(now: float, rules: BreakerRules) -> int:
    return int(now / (rules.window / SLOTS_PER_WINDOW))
