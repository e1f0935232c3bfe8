"""The money of a whole batch, on the engine in memory: never beyond the limit, and close to it."""

import asyncio

import pytest
from scripted_engine import ScriptedEngine, answer, error, wire_error

from llmfail.core.model import Target
from llmfail.core.receipt import sum_worst_case_cost
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.bulk.batch_budget import BatchBudget

PRICED = """\
models:
  a/one: {price: {input: 0, output: 1000}}
  a/two: {price: {input: 0, output: 2000}}
"""
UNIT = 10**9
"""What a token of output costs of a/one, and half of what it does of a/two; an answer has five, and may have
ten.
"""


def stage_of(tmp_path, *words):
    return ScriptedEngine(tmp_path, {"a": list(words) or [answer()]}, more=PRICED)


def ran(stage, limit, number, *, spent=0, targets=("a/one",), concurrency=4, **options):
    """So many asks within so many units: their receipts, and the purse."""
    written, highest = [], []
    purse = BatchBudget(limit * UNIT, spent * UNIT, stage.engine.plan)

    async def source():
        for ref in range(number):
            chosen = tuple(map(Target.parse, targets))
            yield Ask(to_messages("hi"), ref=ref, targets=chosen, max_tokens=10, **options)

    async def ask(asked, _repeats):
        await asyncio.sleep(0)
        receipt = await stage.engine.ask(asked)
        highest.append(purse.spent + purse.reserved)
        await asyncio.sleep(0)
        return receipt

    async def write(receipts):
        written.extend(receipts)

    asyncio.run(Batch(ask, write, BatchLimits(concurrency), stage.ports, purse).run(source()))
    assert max(highest, default=0) <= max(limit, spent) * UNIT
    assert purse.reserved == 0
    assert purse.spent == spent * UNIT + sum(sum_worst_case_cost(receipt.trail) for receipt in written)
    return written, purse


@pytest.mark.parametrize("concurrency", [1, 2, 4, 64])
@pytest.mark.parametrize(
    ("limit", "answered"),
    [(0, 0), (9, 0), (10, 1), (14, 1), (15, 2), (100, 19), (1000, 30)],
)
def test_as_many_are_answered_as_the_worst_case_of_the_next_allows(tmp_path, limit, answered, concurrency):
    """However many would be under way: who could go beyond waits for what the others give back."""
    receipts, purse = ran(stage_of(tmp_path), limit, 30, concurrency=concurrency)
    assert [receipt.ok for receipt in receipts] == [True] * answered + [False] * (30 - answered)
    assert {receipt.error.code for receipt in receipts if receipt.error} <= {4}
    assert purse.spent == 5 * answered * UNIT


def test_as_many_are_under_way_as_their_worst_cases_have_room(tmp_path):
    stage, most = stage_of(tmp_path), 0
    purse = BatchBudget(35 * UNIT, 0, stage.engine.plan)

    async def scene():
        nonlocal most
        asks = [Ask(to_messages("hi"), targets=(Target("a", "one"),), max_tokens=10) for _ in range(4)]
        taken = [await asyncio.wait_for(purse.reserve(ask), 5) for ask in asks[:3]]
        last = asyncio.create_task(purse.reserve(asks[3]))
        await asyncio.sleep(0.01)
        assert not last.done()
        purse.settle(taken[0], 5 * UNIT)
        assert (await asyncio.wait_for(last, 5)).max_cost == 10 * UNIT

    asyncio.run(scene())


def test_what_an_earlier_run_has_spent_counts(tmp_path):
    receipts, _ = ran(stage_of(tmp_path), 100, 5, spent=88)
    assert [receipt.ok for receipt in receipts] == [True, False, False, False, False]


def test_when_less_is_left_than_was_spent_nothing_is(tmp_path):
    receipts, _ = ran(stage_of(tmp_path), 100, 2, spent=200)
    assert [receipt.error.code for receipt in receipts] == [4, 4]


def test_a_line_may_spend_no_more_than_it_says_itself(tmp_path):
    receipts, _ = ran(stage_of(tmp_path), 100, 2, max_cost=9 * UNIT)
    assert [receipt.error.kind for receipt in receipts] == ["too_expensive"] * 2


def test_there_is_money_for_a_fallback_after_a_call_that_may_have_been_charged(tmp_path):
    stage = stage_of(tmp_path, wire_error("cut"), answer())
    receipts, purse = ran(stage, 30, 1, targets=("a/one", "a/two"))
    assert receipts[0].ok
    assert purse.spent == (10 + 2 * 5) * UNIT, "a call of unknown cost counts at its worst"


def test_a_call_that_cannot_have_been_charged_costs_nothing(tmp_path):
    receipts, purse = ran(stage_of(tmp_path, error(503), answer()), 30, 1, targets=("a/one", "a/two"))
    assert receipts[0].ok
    assert purse.spent == 2 * 5 * UNIT


def test_at_the_end_of_the_money_a_cheaper_target_answers(tmp_path):
    receipts, _ = ran(stage_of(tmp_path), 25, 4, targets=("a/two", "a/one"))
    assert [str(receipt.target) for receipt in receipts[:3]] == ["a/two", "a/one", "a/one"]
    assert receipts[3].error.code == 4


def test_a_target_without_a_price_is_refused(tmp_path):
    receipts, _ = ran(stage_of(tmp_path), 100, 2, targets=("b/one",))
    assert [receipt.error.kind for receipt in receipts] == ["unknown_price"] * 2


def test_one_that_is_not_configured_holds_nothing(tmp_path):
    receipts, _ = ran(stage_of(tmp_path), 100, 2, targets=("nobody/x",))
    assert [receipt.error.kind for receipt in receipts] == ["usage"] * 2


@pytest.mark.parametrize(("limit", "calls"), [(19, 1), (20, 2)])
def test_a_simplified_prompt_has_what_the_first_one_left(tmp_path, limit, calls):
    """The first call may have been charged ten."""
    simplify = ", degrade: [{simplify: {keep_chars: 100, max_tokens: 10}}]"
    stage = ScriptedEngine(tmp_path, {"a": [wire_error("cut"), answer()]}, more=PRICED, feature=simplify)
    receipt = stage.ask(targets=("a/one",), max_tokens=10, max_cost=limit * UNIT)
    assert (len(stage.calls), receipt.ok) == (calls, calls == 2)
