"""What every store promises. A new store adds one line to the fixture."""

import math
import threading
import time

import pytest

from llmfail.core.records.record import Write
from llmfail.core.store_url import parse_redis_url
from llmfail.store.disk import DiskStore
from llmfail.store.memory import MemoryStore
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.redis_store import RedisStore


class Clock:
    """Of the store; ``advance`` takes units. That of a server goes by itself, so that its units are short."""

    def __init__(self, unit):
        self.now = 1000.0
        self.unit = unit
        self.is_real = unit != 1

    def __call__(self):
        return self.now

    def advance(self, units):
        if self.is_real:
            time.sleep(units * self.unit)
        else:
            self.now += units


@pytest.fixture(params=["memory", "disk", "redis"])
def kind(request):
    return request.param


@pytest.fixture
def clock(kind):
    return Clock(0.03 if kind == "redis" else 1)


@pytest.fixture
def store(request, kind, tmp_path, clock):
    match kind:
        case "memory":
            made = MemoryStore(clock)
        case "disk":
            made = DiskStore(tmp_path / "state", 5, clock)
        case "redis":
            made = RedisStore(parse_redis_url(request.getfixturevalue("redis_url")), 5)
    yield made
    made.close()


def put(store, **texts):
    store.update([], lambda _values, _now: ({key: Write(text) for key, text in texts.items()}, None))


def get(store, *keys):
    return store.read(keys)[0]


def test_it_says_what_it_is(store):
    assert f"{store.name}store" == type(store).__name__.lower()


def test_a_key_that_was_never_written_has_no_value(store):
    assert get(store, "a", "b") == {"a": None, "b": None}


def test_what_is_written_is_read(store):
    put(store, a="1", b="2")
    assert get(store, "a", "b", "c") == {"a": "1", "b": "2", "c": None}


def test_reading_no_keys_tells_the_clock(store, clock):
    values, now = store.read([])
    assert values == {}
    assert abs(now - time.time()) < 5 if clock.is_real else now == clock.now


def test_a_key_asked_for_twice_is_answered_once(store):
    put(store, a="1")
    assert get(store, "a", "a") == {"a": "1"}


def test_a_change_sees_its_keys_and_the_clock_and_nothing_else(store, clock):
    put(store, a="1", b="2")
    seen = store.update(["a", "c"], lambda values, now: ({}, (dict(values), now)))
    assert seen[0] == {"a": "1", "c": None}
    assert abs(seen[1] - (time.time() if clock.is_real else clock.now)) < 1


def test_a_change_may_write_keys_that_it_did_not_read(store):
    put(store, a="1", b="2")
    store.update(["a"], lambda _values, _now: ({"b": Write("3"), "c": Write("4")}, None))
    assert get(store, "a", "b", "c") == {"a": "1", "b": "3", "c": "4"}


def test_none_deletes(store):
    put(store, a="1", b="2")
    store.update([], lambda _values, _now: ({"a": None, "never": None}, None))
    assert get(store, "a", "b") == {"a": None, "b": "2"}


def test_a_change_without_writes_changes_nothing(store):
    put(store, a="1")
    assert store.update(["a"], lambda _values, _now: ({}, "result")) == "result"
    assert get(store, "a") == {"a": "1"}


def test_a_change_that_raises_leaves_everything_as_it_was(store):
    put(store, a="1")

    def change(values, now):
        raise OSError("not the store's")

    with pytest.raises(OSError, match="not the store's"):
        store.update(["a"], change)
    assert get(store, "a") == {"a": "1"}
    put(store, a="2")
    assert get(store, "a") == {"a": "2"}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_leaves_everything_as_it_was(store, interruption):
    def change(values, now):
        raise interruption

    with pytest.raises(interruption):
        store.update(["a"], change)
    put(store, a="2")
    assert get(store, "a") == {"a": "2"}


def test_a_value_is_gone_at_the_moment_of_its_end(store, clock):
    end = 10 * clock.unit
    store.update([], lambda _values, now: ({"a": Write("1", now + end), "b": Write("2")}, None))
    clock.advance(3)
    assert get(store, "a", "b") == {"a": "1", "b": "2"}
    clock.advance(7)
    assert get(store, "a", "b") == {"a": None, "b": "2"}
    assert store.update(["a"], lambda values, _now: ({}, values["a"])) is None


def test_a_new_value_brings_its_own_end(store, clock):
    first, second = 10 * clock.unit, 20 * clock.unit
    store.update(
        [], lambda _values, now: ({"a": Write("1", now + first), "b": Write("1", now + first)}, None)
    )
    store.update([], lambda _values, now: ({"a": Write("2"), "b": Write("2", now + second)}, None))
    clock.advance(13)
    assert get(store, "a", "b") == {"a": "2", "b": "2"}
    clock.advance(7)
    assert get(store, "a", "b") == {"a": "2", "b": None}


def test_a_clock_set_back_brings_a_value_back_at_most(store, clock):
    if clock.is_real:
        pytest.skip("the clock of the server is set back in test_redis_clock")
    store.update([], lambda _values, now: ({"a": Write("1", now + 10)}, None))
    clock.now -= 500
    assert get(store, "a") == {"a": "1"}


@pytest.mark.parametrize("end", [math.inf, 1e300])
def test_an_end_may_be_for_ever(store, clock, end):
    store.update([], lambda _values, _now: ({"a": Write("1", end)}, None))
    clock.now = 1e12
    put(store, b="2")
    assert get(store, "a") == {"a": "1"}


@pytest.mark.parametrize("end", [0, -5, -math.inf, 999.0])
def test_what_ends_in_the_past_is_not_there(store, end):
    put(store, a="1")
    store.update([], lambda _values, _now: ({"a": Write("2", end), "b": Write("3")}, None))
    assert get(store, "a", "b") == {"a": None, "b": "3"}


def test_expired_values_do_not_pile_up(store, clock):
    if clock.is_real:
        store.update(
            [], lambda _values, now: ({f"k{number}": Write("x", now + 0.01) for number in range(500)}, 0)
        )
        clock.advance(1)
        store.read([f"k{number}" for number in range(500)])
        assert rows_of(store) <= 2
        return
    for _ in range(5000):
        store.update([], lambda _values, now: ({f"k{now}": Write("x", now + 1)}, None))
        clock.now += 1
    assert rows_of(store) <= 2000


def rows_of(store):
    if isinstance(store, MemoryStore):
        return len(store._rows)
    if isinstance(store, RedisStore):
        return store.server.run(("DBSIZE",), TripDeadline(5))
    return store.file._connection.execute("SELECT count(*) FROM state").fetchone()[0]


@pytest.mark.parametrize(
    "text", ["", " ", "é", "日本語", "🙂", "a\x00b", "\n", "'; DROP TABLE state; --", "%_?", "\u2028"]
)
def test_any_text_is_a_key_and_a_value(store, text):
    store.update([], lambda _values, _now: ({text: Write(text)}, None))
    assert get(store, text) == {text: text}


def test_keys_differ_by_case_form_and_trailing_space(store):
    keys = ["a", "A", "a ", "\u00e9", "e\u0301"]
    put(store, **{key: str(number) for number, key in enumerate(keys)})
    assert get(store, *keys) == {key: str(number) for number, key in enumerate(keys)}


@pytest.mark.parametrize("keys", [["a"], []])
def test_a_write_that_cannot_be_made_leaves_nothing_of_the_others(store, keys):
    if isinstance(store, MemoryStore):
        pytest.skip("memory takes any text")
    put(store, a="1")
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the store's
        store.update(keys, lambda _values, _now: ({"a": Write("2"), "b": Write("\ud800")}, None))
    assert get(store, "a", "b") == {"a": "1", "b": None}


def test_a_value_of_several_megabytes_comes_back_whole(store):
    text = "0123456789abcdé🙂" * 400_000
    put(store, a=text)
    assert get(store, "a") == {"a": text}


def test_thousands_of_keys_in_one_update_and_one_read(store):
    texts = {f"key/{number}": str(number) for number in range(7000)}
    put(store, **texts)
    doubled = store.update(
        list(texts),
        lambda values, _now: ({key: Write(2 * text) for key, text in values.items()}, len(values)),
    )
    assert doubled == 7000
    assert get(store, *texts) == {key: 2 * text for key, text in texts.items()}


def test_threads_lose_no_increment(store):
    def work():
        for _ in range(50):
            store.update(["a"], lambda values, _now: ({"a": Write(str(int(values["a"] or 0) + 1))}, None))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get(store, "a") == {"a": "400"}


def test_nobody_sees_half_an_update(store):
    put(store, a="0", b="0")
    stop = threading.Event()

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            put(store, a=str(number), b=str(number))

    writer = threading.Thread(target=work)
    writer.start()
    try:
        seen = [get(store, "a", "b") for _ in range(500)]
    finally:
        stop.set()
        writer.join()
    assert all(values["a"] == values["b"] for values in seen)


def test_it_goes_on_after_close(store):
    put(store, a="1")
    store.close()
    store.close()
    put(store, b="2")
    assert get(store, "a", "b") == {"a": "1", "b": "2"}
