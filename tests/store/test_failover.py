"""The store that never costs an answer."""

import threading

import pytest

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.store.disk import DiskStore
from llmfail.store.failover import MAX_RECENT_RECORDS, FailoverStore
from llmfail.store.memory import MemoryStore

WARNING = "out of order; circuits and limits of this run are kept in memory only"


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


@pytest.fixture
def guarded(store, warnings):
    return FailoverStore(store, MemoryStore(lambda: 2000.0), warnings.append)


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


def test_a_store_that_recovers_is_not_trusted_again_in_this_process(guarded, store):
    store.broken = True
    guarded.read(["a"])
    store.broken = False
    put(guarded, a="1")
    assert guarded.is_down
    assert store.memory.read(["a"])[0] == {"a": None}


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
    assert warning.endswith("; circuits and limits of this run are kept in memory only")


def test_what_an_update_has_seen_is_known_when_the_store_fails(guarded, store):
    guarded.update([], lambda values, now: ({"circuit": Write("open")}, None))
    guarded.update(["circuit"], lambda values, now: ({}, None))
    store.broken = True
    assert guarded.update(["circuit"], lambda values, now: ({}, values["circuit"])) == "open"


def test_what_was_written_before_is_there_when_memory_takes_over(guarded, store):
    guarded.update(["a"], lambda values, now: ({"a": Write("mine")}, None))
    store.broken = True
    assert guarded.read(["a"])[0] == {"a": "mine"}


def test_a_process_that_lives_long_remembers_only_the_records_of_late(guarded, store):
    last = 3 * MAX_RECENT_RECORDS
    for number in range(last + 1):
        guarded.update([str(number)], lambda values, now, key=str(number): ({key: Write("x")}, None))
    store.broken = True
    values, _ = guarded.read(["0", str(last - MAX_RECENT_RECORDS + 1), str(last)])
    assert list(values.values()) == [None, "x", "x"]
