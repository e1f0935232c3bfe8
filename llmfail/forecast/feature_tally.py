"""What became of the asks of one feature, counted as they end."""

from __future__ import annotations

from array import array
from collections import Counter
from math import sqrt
from statistics import mean, stdev
from typing import NamedTuple

from llmfail.core.evaluation.interval import Z_95, Interval, wilson_interval
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt, sum_cost

DAY_SECONDS = 86400.0


class PassedOverAsk(NamedTuple):
    """An ask that a healthy target answered. ``lost``: the seconds that a hedge took, where there was one,
    whose other call gave no answer.
    """

    moment: float
    target: Target
    latency: float
    cost: int | None
    lost: float | None = None


class FeatureTally:
    """``asks`` and ``answered`` per day of the forecast; ``served`` per target; ``wasted_calls`` are calls
    that gave no answer; ``failovers`` are the seconds lost to them by asks that were answered all the same.
    ``cost`` in pico-dollars, of the answers; None once the price of one is unknown. ``uncertain_calls``:
    calls without an answer that may have been charged all the same.
    """

    def __init__(self, days: int) -> None:
        self.asks = [0] * days
        self.answered = [0] * days
        self.served: Counter[Target] = Counter()
        self.degraded = 0
        self.wasted_calls = 0
        self.uncertain_calls = 0
        self.latencies = array("d")
        self.failovers = array("d")
        self.cost: int | None = 0

    def count_passed_over(self, ask: PassedOverAsk) -> None:
        self._count_answer(ask.moment, ask.target, ask.latency, ask.cost)
        if ask.lost is not None:
            self.wasted_calls += 1
            self.uncertain_calls += 1
            self.failovers.append(ask.lost)

    def count_receipt(self, moment: float, receipt: Receipt) -> None:
        called = [entry for entry in receipt.trail if entry.action == "called"]
        wasted = [entry for entry in called if entry.outcome != "ok"]
        self.wasted_calls += len(wasted)
        self.uncertain_calls += sum(entry.cost_pico_usd is None for entry in wasted)
        if receipt.error is not None:
            self.asks[self._day_of(moment)] += 1
            return
        if receipt.target is None:
            self.degraded += 1
        latency = receipt.latency_ms / 1000
        cost = sum_cost([entry for entry in called if entry.outcome == "ok"])
        self._count_answer(moment, receipt.target, latency, cost)
        if wasted and receipt.target is not None:
            answered = next((entry for entry in called if entry.outcome == "ok"), called[-1])
            self.failovers.append(latency - (answered.latency_ms or 0) / 1000)

    @property
    def total(self) -> int:
        return sum(self.asks)

    @property
    def availability(self) -> float:
        return sum(self.answered) / self.total if self.total else 1.0

    def availability_interval(self) -> Interval:
        """At 95 %. Asks of one outage fail together, so the days are the values, where there are several; it
        is never narrower than that of as many asks which fail each by itself.
        """
        least = wilson_interval(sum(self.answered), self.total)
        shares = [ok / asks for ok, asks in zip(self.answered, self.asks, strict=True) if asks]
        if len(shares) < 2:
            return least
        half = Z_95 * stdev(shares) / sqrt(len(shares))
        middle = mean(shares)
        low, high = min(least.low, middle - half), max(least.high, middle + half)
        return Interval(max(0.0, low), min(1.0, high))

    def _count_answer(self, moment: float, target: Target | None, latency: float, cost: int | None) -> None:
        day = self._day_of(moment)
        self.asks[day] += 1
        self.answered[day] += 1
        if target is not None:
            self.served[target] += 1
        self.latencies.append(latency)
        self.cost = None if cost is None or self.cost is None else self.cost + cost

    def _day_of(self, moment: float) -> int:
        return min(int(moment // DAY_SECONDS), len(self.asks) - 1)
