"""What is known of records for a moment, and when it is written what was put off."""

import asyncio

import pytest

from llmfail.core.admission.circuit import BreakerRules, Circuit, Ticket
from llmfail.core.admission.gate import Admission, Gate, Settlement
from llmfail.core.admission.gate_settlement import SettledCall
from llmfail.core.admission.reservation_request import Reservation, ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Address, Target
from llmfail.core.records.receipt_log import LOG_KEY, NextIndex
from llmfail.core.records.record import StoreChange, Write, dump, load_or_default
from llmfail.core.records.statistics import Statistics
from llmfail.core.tokens.token_bounds import EMPTY_PROMPT
from llmfail.engine.ports.deferred_writes import MAX_DEFERRED, MAX_RECENT, DeferredWrites, RecentRecords
from llmfail.engine.ports.store_access import InlineStore
from llmfail.store.disk import DiskStore
from llmfail.store.memory import MemoryStore


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_records_are_known_for_so_long_and_only_all_together():
    clock = Clock()
    recent = RecentRecords(0.5, clock)
    assert recent.find(["a", "b"]) is None
    recent.remember({"a": "1", "never asked for": "x"})
    assert recent.find(["a", "b"]) is None
    clock.now += 0.3
    recent.remember({"b": None})
    assert recent.find(["a", "b"]) == {"a": "1", "b": None}
    clock.now += 0.3
    assert recent.find(["b"]) == {"b": None}
    assert recent.find(["a", "b"]) is None
    recent.forget()
    assert recent.find(["b"]) is None


def test_any_number_of_records_may_be_asked_for():
    recent = RecentRecords(0.5, Clock())
    for number in range(MAX_RECENT + 5):
        recent.find([f"circuit/{number}"])
    assert len(recent) <= MAX_RECENT


def step(name):
    return StoreChange([name], lambda values, _now: {name: Write(f"{values[name] or ''}+")})


def plain_answer(model):
    """One of a target, by which its circuit is written."""
    gate = Gate(Target("p", model), Address("openai", "https://p.test/v1", model), "key", BreakerRules())
    reservation = Reservation(ReservationRequest("id", 60.0, "f", EMPTY_PROMPT, 9), 0.0)
    admission = Admission(Ticket(0), 0.0, frozenset(), reservation)
    return SettledCall(gate, admission, Settlement(Outcome(Kind.OK), 9, 5, fallback=False))


def count_answers(memory, answer):
    key = answer.gate.circuit_key
    return sum(load_or_default(memory.read([key])[0][key], Circuit).answered.values())


def deferred(clock, store=None, warn=print):
    memory, planned = store or MemoryStore(lambda: 0.0), []
    writes = DeferredWrites(InlineStore(memory), 0.25, clock, lambda *what: planned.append(what), warn)
    return writes, memory, planned


def test_it_is_written_after_the_delay_and_once():
    writes, memory, planned = deferred(Clock())
    answers = [plain_answer("a"), plain_answer("b")]
    writes.put_off([Statistics(steps=(step("s"),))], [*answers, answers[0]])
    writes.put_off([Statistics(steps=(step("s"),))])
    assert [seconds for seconds, _ in planned] == [0.25]
    asyncio.run(planned[0][1]())
    asyncio.run(writes.flush())
    assert memory.read(["s"])[0] == {"s": "++"}
    assert [count_answers(memory, one) for one in answers] == [2, 1]


def test_many_are_written_without_waiting():
    writes, _, planned = deferred(Clock())
    for _ in range(MAX_DEFERRED + 5):
        writes.put_off([Statistics(steps=(step("s"),))])
    assert [seconds for seconds, _ in planned] == [0.25, 0.0]


def test_what_is_taken_along_is_not_written_again():
    writes, memory, _ = deferred(Clock())
    answer = plain_answer("a")
    writes.put_off([Statistics(steps=(step("s"),))], [answer])
    [taken] = writes.take_answers()
    asyncio.run(writes.flush())
    assert memory.read(["s"])[0] == {"s": "+"}
    assert count_answers(memory, answer) == 0
    assert answer.gate.circuit_key in taken.change(dict.fromkeys(taken.keys), 0.0)


def refuse(_values, _now):
    raise ValueError("no sense in it")


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (StoreChange(["s"], refuse), "no sense in it"),
        (StoreChange(["s"], lambda _values, _now: {"s": Write("\ud800")}), "'utf-8' codec can't encode"),
    ],
    ids=["a change that raises", "a text that cannot be encoded"],
)
def test_what_cannot_be_written_takes_nothing_along_and_is_told_once(tmp_path, broken, error):
    told = []
    store = DiskStore(tmp_path, 5.0)
    writes, *_ = deferred(Clock(), store, told.append)
    answer = plain_answer("a")
    for _ in range(2):
        good = [Statistics(steps=(step("s"),), entries=(dump({"id": "x"}),)) for _ in range(5)]
        writes.put_off([*good[:2], Statistics(steps=(broken,)), *good[2:]], [answer])
        asyncio.run(writes.flush())
    assert store.read(["s"])[0] == {"s": "+" * 10}
    assert count_answers(store, answer) == 2
    assert load_or_default(store.read([LOG_KEY])[0][LOG_KEY], NextIndex).next == 10
    assert len(told) == 1
    assert told[0].startswith(f"1 of 7 counts of asks and calls could not be kept: {error}")
    store.close()
