"""The queue's file: whose it is, and what is said when it cannot be used."""

import contextlib
import sqlite3
import stat

import pytest

from llmfail.core.degrade.queue_item import dump_ask
from llmfail.core.errors import StoreError
from llmfail.core.request.ask import Ask, to_messages
from llmfail.store.disk_queue import DiskQueue

ASK = dump_ask(Ask(to_messages("Say hello"), max_tokens=7))


def clock():
    return 1000.0


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "deep" / "state"


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def queue(directory, warnings):
    made = DiskQueue(directory, 5, 100, 5, clock, warnings.append)
    yield made
    made.close()


@pytest.fixture
def full(queue):
    """A queue of three: A, B and C."""
    for name in "ABC":
        queue.put(name, "vpr", ASK, None)
    return queue


def ids(queue):
    return [item.id for item in queue.items()]


def rows(directory, statement="SELECT * FROM queue", *values):
    with contextlib.closing(sqlite3.connect(directory / "queue.sqlite3")) as connection, connection:
        return connection.execute(statement, values).fetchall()


def everything_in(directory):
    return b"".join(path.read_bytes() for path in directory.iterdir())


@pytest.mark.parametrize("column", ["feature", "created_at", "expires_at", "attempts", "error", "ask"])
@pytest.mark.parametrize("value", [b"\xff\xfe", 7, 1.5, "text"])
def test_a_tampered_row_can_still_be_listed_and_dropped(full, directory, column, value):
    full.close()
    rows(directory, f"UPDATE queue SET {column} = ? WHERE id = 'B'", value)
    assert ids(full) == ["A", "B", "C"]
    assert full.drop(["B"]) == ["B"]


def test_it_is_for_its_owner_only(full, directory):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    names = ["queue.sqlite3", "queue.sqlite3-wal", "queue.sqlite3-shm", "queue.lock"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(names, 0o600)


def test_nothing_of_a_prompt_is_left_once_it_has_gone(queue, directory):
    secret = "the patient's name is Ödön "
    for name in "ABC":
        queue.put(name, "vpr", dump_ask(Ask(to_messages(f"{secret * 2000} {name}"))), None)
    assert secret.encode() in everything_in(directory)
    size = sum(path.stat().st_size for path in directory.iterdir())
    queue.take("A", "one", 30)
    queue.store_answer("A", "one", secret, 30)
    queue.remove("A", "one")
    queue.drop(["B"])
    queue.drop_all()
    queue.close()
    assert secret.encode() not in everything_in(directory)
    assert sum(path.stat().st_size for path in directory.iterdir()) < size / 4, "nor its room"


def test_a_file_of_a_newer_schema_is_left_alone(full, directory):
    full.close()
    rows(directory, "PRAGMA user_version = 3")
    before = (directory / "queue.sqlite3").read_bytes()
    for verb in (full.count_pending, full.drop_all, lambda: full.put("D", "vpr", ASK, None)):
        with pytest.raises(StoreError, match=r"queue\.sqlite3 was written by a newer llmfail"):
            verb()
    assert (directory / "queue.sqlite3").read_bytes() == before


def test_a_damaged_file_is_set_aside_and_that_is_told(full, directory, warnings):
    full.close()
    (directory / "queue.sqlite3").write_bytes(b"no database " * 1000)
    full.put("D", "vpr", ASK, None)
    assert ids(full) == ["D"]
    assert len(warnings) == 1
    assert "queue.sqlite3 was damaged and is now" in warnings[0]
    assert b"no database" in everything_in(directory)


def test_a_lock_held_longer_than_the_timeout_is_an_error_that_says_so(full, directory):
    hasty = DiskQueue(directory, 5, 100, 0.05, clock)
    holder = sqlite3.connect(directory / "queue.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for verb in (lambda: hasty.put("D", "vpr", ASK, None), lambda: hasty.take("A", "one", 30)):
        with pytest.raises(StoreError, match=r"queue\.sqlite3 is locked by another process"):
            verb()
    assert hasty.count_pending() == 3, "who looks does not wait"
    holder.close()
    hasty.put("D", "vpr", ASK, None)
    hasty.close()


def test_a_place_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").touch()
    queue = DiskQueue(tmp_path / "file", 5, 100, 1, clock)
    for verb in (queue.count_pending, lambda: queue.put("A", "vpr", ASK, None), lambda: ids(queue)):
        with pytest.raises(StoreError, match=r"cannot use .*queue\.sqlite3: Not a directory"):
            verb()


def test_a_queue_that_was_deleted_by_a_person_is_empty(full, directory):
    for path in directory.glob("queue.*"):
        path.unlink()
    assert ids(full) == []
    full.put("D", "vpr", ASK, None)
    assert ids(full) == ["D"]
