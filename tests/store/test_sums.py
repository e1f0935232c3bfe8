"""Writes that may be made together with those of others come to the same in every store: what was added, in
any order, and never more than a limit allows.
"""

import json
import math
import threading
from functools import reduce
from operator import getitem

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from llmfail.core.records.joint_write import ADDITION, Raise, RingSlot, Sum, join_sums
from llmfail.core.records.record import StoreChange, Write, combine
from llmfail.core.store_url import parse_redis_url
from llmfail.store.disk import DiskStore
from llmfail.store.memory import MemoryStore
from llmfail.store.redis.record_leaves import build_text, flatten, load_record
from llmfail.store.redis.redis_store import RedisStore

BEYOND_DOUBLES = 2**53


@pytest.fixture(params=["memory", "disk", "redis"])
def open_stores(request, tmp_path):
    """Several stores on one state, as several processes have them."""
    opened = []

    def open_stores(count):
        match request.param:
            case "memory":
                opened.extend([MemoryStore(lambda: 1000.0)] * count)
            case "disk":
                opened.extend(DiskStore(tmp_path / "state", 5, lambda: 1000.0) for _ in range(count))
            case "redis":
                url = parse_redis_url(request.getfixturevalue("redis_url"))
                opened.extend(RedisStore(url, 5.0) for _ in range(count))
        return opened[-count:]

    yield open_stores
    for store in opened:
        store.close()


def load(text):
    return {} if text is None else json.loads(text)


def read(store, key="r"):
    return load(store.read([key])[0][key])


def add(leaves, how=ADDITION, **texts):
    """A change that adds to these leaves of a record, and puts texts into it."""

    def change(values, _now):
        record = {"v": 1, **load(values["r"])}
        for path, amount in leaves.items():
            *parents, last = path.split("/")
            inner = record
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = inner.get(last, 0) + amount
        return {"r": Write(json.dumps(record | texts), how=how)}, record

    return change


def run_together(work, stores):
    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


PATHS = some.sampled_from(["a", "b/c", "b/d", "with ~ and |", "ü"])
STEPS = some.lists(
    some.tuples(some.integers(0, 2), some.dictionaries(PATHS, some.integers(-5, 2**40), min_size=1)),
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
def test_p1_11_sums_of_several_processes_in_any_order_are_the_sum(open_stores, steps):
    stores = open_stores(3)
    stores[0].update([], lambda _values, _now: ({"r": None}, None))
    total = {}
    for place, leaves in steps:
        stores[place].update(["r"], add(leaves))
        for path, amount in leaves.items():
            total[path] = total.get(path, 0) + amount
    found = {"v": 1, **read(stores[1])}
    for path, amount in total.items():
        *parents, last = path.split("/")
        assert reduce(getitem, parents, found)[last] == amount


def test_p1_11_what_processes_add_at_the_same_moment_all_counts(open_stores):
    def work(store):
        for _ in range(40):
            store.update(["r"], add({"a": 1, "b/c": 2}))

    stores = open_stores(4)
    run_together(work, stores)
    assert read(stores[0]) == {"v": 1, "a": 160, "b": {"c": 320}}


@pytest.mark.parametrize("limit", [50, BEYOND_DOUBLES + 57], ids=["small", "above 9,007 dollars"])
def test_p0_4_a_limit_is_never_passed_and_all_of_it_can_be_used(open_stores, limit):
    how = Sum(limited=("spent", "holds/*/amount"), limit=limit)
    each, made = 7, []
    stores = open_stores(4)
    start = (limit - 50) // 2
    stores[0].update(["r"], add({"spent": start, "holds/5/amount": limit - 50 - start}, how))

    def hold(values, now):
        writes, record = add({"holds/5/amount": each}, how)(values, now)
        fits = record["spent"] + record["holds"]["5"]["amount"] <= limit
        return (writes, True) if fits else ({}, False)

    def work(store):
        made.extend(1 for _ in range(6) if store.update(["r"], hold))

    run_together(work, stores)
    assert len(made) == 7
    record = read(stores[0])
    assert record["spent"] + record["holds"]["5"]["amount"] == limit - 1


def test_what_frees_some_of_a_limit_is_never_refused(open_stores):
    how = Sum(limited=("spent", "held"), limit=10)
    first, second = open_stores(2)
    first.update(["r"], add({"held": 10}, how))
    second.update(["r"], add({"held": -10, "spent": 14}, how._replace(limit=None)))
    assert read(first) == {"v": 1, "held": 0, "spent": 14}
    first.update(["r"], add({"spent": -1, "held": 0}, how))
    assert read(second)["spent"] == 13


def test_a_fixed_leaf_is_changed_by_one_of_two(open_stores):
    how = Sum(fixed=("warned",))
    stores = open_stores(2)
    told = []
    for store in stores:
        store.update(["r"], add({"a": 1}, how, warned=False))

    def warn(values, now):
        was_warned = load(values["r"])["warned"]
        writes, _ = add({"a": 1}, how, warned=True)(values, now)
        return writes, not was_warned

    run_together(lambda store: told.append(store.update(["r"], warn)), stores)
    assert sorted(told) == [False, True]
    assert read(stores[0]) == {"v": 1, "a": 4, "warned": True}


def test_a_leaf_that_is_taken_away_takes_only_what_was_seen_of_it(open_stores):
    first, second = open_stores(2)
    first.update(["r"], add({"holds/1": 5, "a": 1}))
    first.read(["r"])
    second.update(["r"], add({"holds/1": 3}))

    def release(values, _now):
        record = load(values["r"])
        left = record["holds"].pop("1") - 5
        if left:
            record["holds"]["1"] = left
        return {"r": Write(json.dumps(record), how=ADDITION)}, None

    first.update(["r"], release)
    assert read(second)["holds"] == {"1": 3}


def test_of_a_latest_leaf_the_last_write_counts_and_a_discarded_one_is_gone(open_stores):
    how = Sum(latest=("at",), discarded=("slots/*",))
    first, second = open_stores(2)
    for store, at in ((first, 1.5), (second, 2.5), (first, 2.25)):
        store.update(["r"], add({"slots/1": 1}, how, at=at))
    assert read(second) == {"v": 1, "slots": {"1": 3}, "at": 2.25}

    def drop(values, _now):
        record = load(values["r"])
        return {"r": Write(json.dumps(record | {"slots": {"2": 1}}), how=how)}, None

    second.update(["r"], drop)
    assert read(first)["slots"] == {"2": 1}


def test_a_raised_leaf_adds_up_and_has_a_ceiling(open_stores):
    def reserve(values, now):
        due = load(values["r"]).get("due", 0.0)
        if due > now + 3:
            return {}, False
        how = Sum(raised=(Raise("due", now, 1.0, now + 3),))
        return {"r": Write(json.dumps({"v": 1, "due": max(due, now) + 1.0}), how=how)}, True

    stores = open_stores(3)
    made = [store.update(["r"], reserve) for store in stores * 3]
    assert made.count(True) == 4
    assert made[:4] == [True] * 4


def test_an_optional_leaf_stays_where_another_has_changed_it(open_stores):
    first, second = open_stores(2)
    first.update(["r"], add({"a": 1}, due=5.5))

    def lower(values, now):
        how = Sum(optional=("due",))
        due = load(values["r"])["due"]
        return add({"a": 1}, how, due=due - 1 if due == 5.5 else due)(values, now)

    second.update(["r"], add({"a": 1}, Sum(latest=("due",)), due=7.5))
    first.update(["r"], lower)
    assert read(second) == {"v": 1, "a": 3, "due": 7.5}


def append(text):
    def change(values, now):
        number = load(values["log"]).get("next", 0)
        return {
            "log": Write(json.dumps({"v": 1, "next": number + 1}), how=ADDITION),
            f"log/{number % 8}": Write(text, now + 100, RingSlot("log/", "log", "next", 8)),
        }

    return StoreChange(("log",), change)


def slots_of(store):
    return {*store.read([f"log/{number}" for number in range(8)])[0].values()}


def test_slots_of_a_ring_are_taken_one_after_another(open_stores):
    stores = open_stores(3)
    for number in range(12):
        step = append(f"line {number}")
        stores[number % 3].update(step.keys, lambda values, now, step=step: (step.change(values, now), None))
    assert slots_of(stores[0]) == {f"line {number}" for number in range(4, 12)}


def test_several_slots_in_one_update_are_as_many(open_stores):
    first, second = open_stores(2)
    for store, names in ((first, "abc"), (second, "de"), (first, "fgh")):
        step = combine([append(name) for name in names])
        store.update(step.keys, lambda values, now, step=step: (step.change(values, now), None))
    assert slots_of(second) == set("abcdefgh")


def test_two_additions_in_one_update_are_both_made_and_keep_to_the_limit():
    first = Sum(("a",), 5, ("f",), raised=(Raise("due", 1.0, 2.0, 10.0),))
    second = Sum(
        ("a",), None, ("g",), raised=(Raise("due", 1.0, 3.0, 9.0), Raise("x", -math.inf, 1.0, math.inf))
    )
    joined = join_sums(first, second)
    assert (joined.limit, joined.fixed) == (5, ("f", "g"))
    assert joined.raised == (Raise("due", 1.0, 5.0, 7.0), Raise("x", -math.inf, 1.0, math.inf))


def test_a_plain_write_before_an_addition_makes_both_plain():
    plain = StoreChange(("r",), lambda _values, _now: {"r": Write('{"v":1,"a":1}')})
    addition = StoreChange(("r",), lambda values, now: add({"a": 1})(values, now)[0])
    assert combine([plain, addition]).change({"r": None}, 0.0)["r"] == Write('{"v": 1, "a": 2}', how=None)


JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**70), 2**60)
    | some.floats(allow_nan=False)
    | some.text(),
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


@given(record=some.dictionaries(some.text(), JSON, min_size=1, max_size=5))
def test_a_record_comes_back_from_its_leaves(record):
    try:
        text = json.dumps(record).encode().decode()
        fields = load_record(text)
    except UnicodeEncodeError:
        return
    if fields is None:  # an integer that is none of 64 bits
        return
    leaves = flatten(fields)
    parts = [part.encode("utf-8", "replace") for leaf in leaves.items() for part in leaf]
    if b"?" not in b"".join(parts[::2]):
        assert json.loads(build_text(parts)) == record
