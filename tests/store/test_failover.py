"""The store that never costs an answer."""

import threading
from itertools import pairwise

import pytest

from llmfail.core.errors import StoreError
from llmfail.core.records.record import StoreChange, Write, settle_in_any_case
from llmfail.store.disk import DiskStore
from llmfail.store.failover import MAX_KEPT_SETTLEMENTS, MAX_RECENT_RECORDS, FailoverStore
from llmfail.store.memory import MemoryStore

WARNING = "out of order; meanwhile circuits and limits are kept in memory only"
BACK = "the disk store can be used again"


class Breakable:
    """A memory that fails when it is told to: before an update, or only when it comes to writing."""

    name = "disk"

    def __init__(self):
        self.memory = MemoryStore(lambda: 1000.0)
        self.broken = False
        self.read_only = False
        self.meet = lambda: None

    def read(self, keys):
        self.check(self.broken)
        return self.memory.read(keys)

    def update(self, keys, change, *, waits=True):
        self.check(self.broken)
        if self.read_only:
            change(*self.memory.read(keys))
        self.check(self.read_only)
        return self.memory.update(keys, change, waits=waits)

    def close(self):
        self.check(self.broken)

    def check(self, broken):
        if broken:
            self.meet()
            raise StoreError("out of order")


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def store():
    return Breakable()


class Clock:
    """Monotonic seconds, which pass only when they are told to."""

    def __init__(self):
        self.now = 50_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guarded(store, warnings, clock):
    return FailoverStore(store, MemoryStore(lambda: 2000.0), warnings.append, clock=clock)


def adding(key, number=1):
    """A settlement that adds to a number."""
    return settle_in_any_case(
        StoreChange([key], lambda values, _now: {key: Write(str(int(values[key] or 0) + number))})
    )


def put(store, **texts):
    store.update([], lambda _values, _now: ({key: Write(text) for key, text in texts.items()}, None))


def test_a_store_that_works_is_passed_through(guarded, store, warnings):
    put(guarded, a="1")
    assert guarded.read(["a"]) == ({"a": "1"}, 1000.0)
    assert store.memory.read(["a"])[0] == {"a": "1"}
    guarded.close()
    assert (guarded.name, guarded.is_down, warnings) == ("disk", False, [])


def test_the_first_error_is_told_once_and_memory_takes_over(guarded, store, warnings):
    store.broken = True
    put(guarded, a="1")
    assert guarded.read(["a"]) == ({"a": "1"}, 2000.0)
    guarded.close()
    assert (guarded.name, guarded.is_down, warnings) == ("memory", True, [WARNING])


def test_e2_a_store_that_works_again_is_used_again_and_that_is_told_once(guarded, store, warnings, clock):
    store.broken = True
    guarded.read(["a"])
    store.broken = False
    clock.now += 0.2
    guarded.read(["a"])
    assert guarded.is_down
    clock.now += 0.1
    put(guarded, a="1")
    put(guarded, b="1")
    assert not guarded.is_down
    assert store.memory.read(["a", "b"])[0] == {"a": "1", "b": "1"}
    assert warnings == [WARNING, BACK]


def test_e2_a_store_that_is_down_is_tried_after_pauses_that_double_up_to_ten_seconds(guarded, store, clock):
    tried = []
    store.meet = lambda: tried.append(clock.now)
    store.broken = True
    for _ in range(200):
        guarded.read(["a"])
        clock.now += 0.25
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses[:7] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0]


def test_e2_what_was_settled_meanwhile_is_added_to_what_others_have_written(guarded, store, clock):
    guarded.update(["a"], adding("a", 50))
    store.broken = True
    guarded.update(["a"], adding("a", 7))
    guarded.update(["a"], adding("a", 3))
    assert guarded.read(["a"])[0] == {"a": "60"}
    store.broken = False
    put(store.memory, a="100")
    clock.now += 1
    assert guarded.read(["a"])[0] == {"a": "110"}


def test_e2_what_was_only_decided_in_memory_is_not_written(guarded, store, clock):
    """Such as an admission: its moment is over when the store is back."""
    store.broken = True
    guarded.update(["a"], lambda _values, _now: ({"a": Write("admitted")}, None))
    store.broken = False
    clock.now += 1
    assert guarded.read(["a"])[0] == {"a": None}


def test_e2_a_store_that_only_seems_to_work_is_not_used_and_loses_nothing(guarded, store, warnings, clock):
    store.broken = True
    guarded.update(["a"], adding("a"))
    store.broken, store.read_only = False, True
    clock.now += 1
    guarded.update(["a"], adding("a"))
    assert guarded.is_down
    store.read_only = False
    guarded.close()
    assert store.memory.read(["a"])[0] == {"a": "2"}
    assert warnings == [WARNING, BACK]


def test_e2_of_what_was_settled_in_a_long_outage_the_latest_is_kept(guarded, store, warnings, clock):
    store.broken = True
    for _ in range(MAX_KEPT_SETTLEMENTS + 5):
        guarded.update(["a"], adding("a"))
    store.broken = False
    clock.now += 1
    assert guarded.read(["a"])[0] == {"a": str(MAX_KEPT_SETTLEMENTS)}
    assert warnings == [WARNING, f"{BACK}; 5 settlements were too many to keep"]


def test_e2_a_settlement_that_cannot_be_made_stops_no_other(guarded, store, clock):
    def refuse(values, _now):
        if values["b"] == "real":
            raise ValueError
        return {}

    put(store.memory, b="real")
    store.broken = True
    guarded.update(["a"], adding("a"))
    guarded.update(["b"], settle_in_any_case(StoreChange(["b"], refuse)))
    guarded.update(["a"], adding("a"))
    store.broken = False
    clock.now += 1
    assert guarded.read(["a"])[0] == {"a": "2"}


def test_e2_what_threads_settle_while_the_store_comes_back_is_written_once(guarded, store, clock):
    store.broken = True
    guarded.read([])

    def work():
        for _ in range(200):
            guarded.update(["a"], adding("a"))
            clock.now += 0.01
            store.broken = clock.now % 3 < 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.broken = False
    guarded.close()
    assert store.memory.read(["a"])[0] == {"a": "1200"}


def test_e2_an_event_loop_does_not_try_a_store_that_is_down(guarded, store, clock):
    store.broken = True
    guarded.read(["a"])
    store.broken = False
    clock.now += 1
    with pytest.raises(StoreError, match="about to be tried again"):
        guarded.update(["a"], adding("a"), waits=False)
    assert guarded.is_down


def test_a_change_that_ran_before_the_error_runs_again_on_the_spare(guarded, store):
    store.read_only = True
    result = guarded.update(["a"], lambda values, now: ({"a": Write("1")}, (values["a"], now)))
    assert result == (None, 2000.0)
    assert guarded.read(["a"])[0] == {"a": "1"}


def test_what_was_read_before_the_error_is_still_known(guarded, store):
    put(store.memory, open="yes", other="x")
    guarded.read(["open", "missing"])
    store.read_only = True
    put(guarded, a="1")
    assert guarded.read(["open", "missing", "other"])[0] == {"open": "yes", "missing": None, "other": None}


def test_closing_a_store_that_fails_is_no_error(guarded, store):
    store.broken = True
    guarded.close()
    assert guarded.is_down


def test_an_error_of_the_change_itself_is_not_the_stores(guarded):
    def change(values, now):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        guarded.update([], change)
    assert not guarded.is_down


def test_threads_that_meet_the_error_together_are_told_once_and_lose_nothing(guarded, store, warnings):
    store.broken = True
    store.meet = threading.Barrier(8).wait

    def work():
        guarded.update(["a"], lambda values, _now: ({"a": Write(str(int(values["a"] or 0) + 1))}, None))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert guarded.read(["a"])[0] == {"a": "8"}
    assert warnings == [WARNING]


def test_a_real_state_directory_that_is_a_file(tmp_path, warnings):
    (tmp_path / "state").write_text("")
    guarded = FailoverStore(DiskStore(tmp_path / "state", 5), MemoryStore(lambda: 2000.0), warnings.append)
    put(guarded, a="1")
    assert guarded.read(["a"])[0] == {"a": "1"}
    (warning,) = warnings
    assert warning.startswith(f"cannot use {tmp_path}/state/state.sqlite3: Not a directory; ")
    assert warning.endswith("; meanwhile circuits and limits are kept in memory only")


def test_what_an_update_has_seen_is_known_when_the_store_fails(guarded, store):
    guarded.update([], lambda values, now: ({"circuit": Write("open")}, None))
    guarded.update(["circuit"], lambda values, now: ({}, None))
    store.broken = True
    assert guarded.update(["circuit"], lambda values, now: ({}, values["circuit"])) == "open"


def test_what_was_written_before_is_there_when_memory_takes_over(guarded, store):
    guarded.update(["a"], lambda values, now: ({"a": Write("mine")}, None))
    store.broken = True
    assert guarded.read(["a"])[0] == {"a": "mine"}


def test_e2_what_was_settled_in_one_outage_is_known_in_the_next(guarded, store, clock):
    guarded.update(["a"], adding("a", 50))
    store.broken = True
    guarded.update(["a"], adding("a", 7))
    store.broken = False
    clock.now += 1
    guarded.read([])
    store.broken = True
    assert guarded.read(["a"])[0] == {"a": "57"}


def test_a_process_that_lives_long_remembers_only_the_records_of_late(guarded, store):
    last = 3 * MAX_RECENT_RECORDS
    for number in range(last + 1):
        guarded.update([str(number)], lambda values, now, key=str(number): ({key: Write("x")}, None))
    store.broken = True
    values, _ = guarded.read(["0", str(last - MAX_RECENT_RECORDS + 1), str(last)])
    assert list(values.values()) == [None, "x", "x"]


def test_x1_what_the_store_calls_now_is_now_everywhere(store, warnings, clock):
    """The clock of the machine is five seconds ahead of that of the store, and goes on with it."""
    machine = Clock()
    machine.now = 1005.0
    guarded = FailoverStore(store, MemoryStore(machine), warnings.append, clock=clock, machine_wall=machine)
    assert guarded.wall() == 1005.0
    guarded.read(["a"])
    machine.now += 3
    assert guarded.wall() == 1003.0
    store.broken = True
    guarded.read(["a"])
    assert guarded.wall() == 1003.0


def test_x1_clocks_that_hardly_differ_are_one(store, warnings):
    machine = Clock()
    machine.now = 1000.01
    guarded = FailoverStore(store, MemoryStore(machine), warnings.append, machine_wall=machine)
    put(guarded, a="1")
    assert guarded.wall() == 1000.01
