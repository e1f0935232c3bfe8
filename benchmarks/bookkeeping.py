"""Admission and settlement of one call on the disk store, with three budgets, rate limits and breaker, over a
millisecond; the same while a thousand other calls are under way; and over two updates of the same file that
change one small record each.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from pairs import compare

from llmfail.core.admission import gate as gates
from llmfail.core.admission import gate_settlement
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.admission.gate import Gate, Settlement
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Address, Request, Target, Usage
from llmfail.core.pricing import usage_record
from llmfail.core.pricing.price import Rate, Rates
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.counters import CallCounters, count_calls
from llmfail.core.records.record import (
    NameSet,
    Write,
    combine,
    dump,
    load_or_default,
)
from llmfail.core.records.statistics import Count, CountedRecord, write_counts
from llmfail.core.request.ask import to_messages
from llmfail.core.tokens import token_bounds
from llmfail.store.disk import DiskStore

CALLS = 200
TARGET = Target("anthropic", "claude-sonnet-5-5")
GATE = Gate(
    TARGET,
    Address("anthropic", "https://api.anthropic.com", TARGET.model),
    "identity",
    BreakerRules(),
    limits=(
        RateLimit("rate/anthropic/requests", "anthropic", "requests", 10**9, 10**6),
        RateLimit("rate/anthropic/tokens", "anthropic", "tokens", 10**12),
    ),
)
END = time.time() + 86400
COVERS = (
    BudgetScope("daily", "budget/daily/day", 10**18, ends_at=END, alert_at=10**17),
    BudgetScope("monthly", "budget/monthly/month", 10**18, ends_at=END),
    BudgetScope(
        "user",
        "budget/user/day/ann",
        10**18,
        ends_at=END,
        each="user",
        bucket="ann",
        bucket_index_key="budget/user/day#",
    ),
)
CLAIM = ReservationRequest(
    call_id="",
    lease_seconds=90.0,
    feature="default",
    size=token_bounds.size_of(Request(to_messages("Say hello"))),
    output_tokens=2000,
    rates=Rates(Rate(2_000_000), Rate(10_000_000)),
    scopes=COVERS,
    max_wait=60.0,
)
CALL = CountedCall(ok=True, fallback=False, latency_ms=900, cost=5_000_000, usage=Usage(12, output_tokens=40))
CALL_RECORDS = (
    CountedRecord(GATE.call_counters_key(0), CallCounters, count_calls),
    usage_record.usage_record_of("2026-11-21", "default", TARGET, "ann"),
)
PAID = Settlement(Outcome(Kind.OK), 900, 5_000_000, fallback=False, usage=Usage(12, output_tokens=40))


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        disk = DiskStore(Path(name), 2.0)
        numbers = iter(range(10**9))

        def bookkeeping() -> None:
            for _ in range(CALLS):
                reservation_request = replace(CLAIM, call_id=str(next(numbers)))
                admitted = disk.update(
                    GATE.keys_with_budgets(reservation_request),
                    partial(gates.admit, GATE, reservation_request),
                )
                counts = [Count(CALL, CALL_RECORDS)]
                step = combine([gate_settlement.settle(GATE, admitted, PAID), write_counts(counts)])
                disk.update(step.keys, lambda values, now, step=step: (step.change(values, now), None))

        def two_updates() -> None:
            for number in range(2 * CALLS):
                disk.update(["plain"], lambda values, _now, n=number: (_plain(values, n), None))

        def a_millisecond_each() -> None:
            ends_at = time.perf_counter() + CALLS / 1000
            while time.perf_counter() < ends_at:
                pass

        fine = compare(
            f"{CALLS} admissions and settlements over a millisecond each",
            bookkeeping,
            a_millisecond_each,
            limit=1.0,
            pairs=15,
        )
        compare(
            "the same over two updates of one small record", bookkeeping, two_updates, limit=10.0, pairs=15
        )
        for _ in range(1000):
            reservation_request = replace(CLAIM, call_id=str(next(numbers)))
            disk.update(
                GATE.keys_with_budgets(reservation_request), partial(gates.admit, GATE, reservation_request)
            )
        crowded = compare(
            "the same with 1,000 calls under way, over a millisecond each",
            bookkeeping,
            a_millisecond_each,
            limit=1.0,
            pairs=15,
        )
        disk.close()
    return 0 if fine and crowded else 1


def _plain(values, number):
    load_or_default(values["plain"], NameSet)
    return {"plain": Write(dump(NameSet(frozenset({str(number)}))))}


if __name__ == "__main__":
    sys.exit(main())
