"""Stored answers in diskcache: only text, only inside the database, whatever somebody put into it."""

import os
import pickle
import sqlite3
import stat
import subprocess
import sys

import pytest

from llmfail.core.errors import StoreError
from llmfail.store.responses import ForeignRow, Responses, TextDisk


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "responses"


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def responses(directory, warnings):
    made = Responses(directory, 10_000_000, 5, warnings.append)
    yield made
    made.close()


class Bomb:
    """Unpickling it leaves a mark."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def tamper(directory, statement, *values):
    connection = sqlite3.connect(directory / "cache.db", isolation_level=None)
    connection.execute(statement, values)
    connection.close()


def test_what_is_set_is_got(responses):
    responses.set("key", '{"answer": "é🙂"}', 60)
    assert responses.get("key") == '{"answer": "é🙂"}'
    assert responses.get("other") is None


@pytest.mark.parametrize("size", [0, 40_000, 2_000_000])
def test_an_answer_of_any_size_is_inside_the_database(responses, directory, size):
    responses.set("key", "é" * size, 60)
    assert responses.get("key") == "é" * size
    assert {path.name for path in directory.iterdir()} <= {
        "cache.db",
        "cache.db-wal",
        "cache.db-shm",
        "cache.lock",
    }


def test_an_answer_ends(responses):
    responses.set("key", "text", 0)
    assert responses.get("key") is None
    responses.set("key", "text", 60)
    assert responses.get("key") == "text"


def test_an_empty_cache_is_opened_once(responses):
    responses.get("key")
    cache = responses._cache
    responses.get("key")
    assert responses._cache is cache


def test_delete_and_clear(responses):
    for number in range(300):
        responses.set(f"key/{number}", "text", 60)
    responses.delete("key/0")
    responses.delete("never")
    assert (responses.get("key/0"), responses.get("key/1")) == (None, "text")
    assert responses.stats()[0] == 299
    responses.clear()
    assert (responses.get("key/1"), responses.stats()[0]) == (None, 0)


def test_the_oldest_make_room_when_the_size_limit_is_reached(directory):
    responses = Responses(directory, 2_000_000)
    for number in range(300):
        responses.set(f"key/{number}", f"{number:020000}", 60)
    entries, size = responses.stats()
    assert 50 <= entries <= 110
    assert size <= 2_500_000
    assert responses.get("key/0") is None
    assert responses.get("key/299") is not None
    responses.close()


def test_nothing_is_touched_before_the_first_verb(directory):
    Responses(directory, 1000).close()
    assert not directory.exists()


def test_directory_and_files_are_for_their_owner_only(responses, directory):
    before = os.umask(0)
    try:
        responses.set("key", "text", 60)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_pickle_in_a_row_is_no_answer_and_never_runs(responses, directory, tmp_path):
    responses.set("key", "text", 60)
    bomb = pickle.dumps(Bomb(tmp_path / "mark"))
    for mode in (0, 1, 2, 3, 4, 5):
        tamper(directory, "UPDATE Cache SET mode = ?, value = ?", mode, bomb)
        assert responses.get("key") is None
    assert not (tmp_path / "mark").exists()
    responses.set("key", "new", 60)
    assert responses.get("key") == "new"


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_a_file_named_by_a_row_is_neither_read_nor_removed(responses, directory, tmp_path, mode):
    victim = tmp_path / "victim"
    victim.write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    for change in (lambda: responses.set("key", "new", 60), lambda: responses.delete("key"), responses.clear):
        for name in (str(victim), "../victim"):
            responses.set("key", "text", 60)
            tamper(directory, "UPDATE Cache SET mode = ?, filename = ?", mode, name)
            assert responses.get("key") is None
            change()
    assert victim.exists()
    assert not (tmp_path / "mark").exists()


def test_a_pickled_key_never_runs(tmp_path):
    disk = TextDisk(str(tmp_path))
    with pytest.raises(ForeignRow):
        disk.get(pickle.dumps(Bomb(tmp_path / "mark")), raw=False)
    with pytest.raises(ForeignRow):
        disk.get(b"bytes", raw=True)
    assert disk.get("key", raw=True) == "key"
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("value", [b"bytes", 1, 1.5, None, ["list"], object()])
def test_nothing_but_text_goes_in(tmp_path, value):
    disk = TextDisk(str(tmp_path))
    with pytest.raises(ForeignRow):
        disk.put(value)
    with pytest.raises(ForeignRow):
        disk.store(value, read=False)
    with pytest.raises(ForeignRow):
        disk.store("text", read=True)
    with pytest.raises(ForeignRow):
        disk.filename()


@pytest.mark.parametrize(
    ("name", "value"),
    [("_disk", "x"), ("directory", "/"), ("disk_fetch", "x"), ("sqlite_temp_store", 1), ("count", "many")],
)
def test_settings_of_others_do_no_harm(responses, directory, warnings, name, value):
    responses.set("key", "text", 60)
    responses.close()
    tamper(directory, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", name, value)
    assert responses.stats()[0] == 0, "begun anew"
    responses.set("key", "new", 60)
    assert responses.get("key") == "new"
    assert len(warnings) == 1


@pytest.mark.parametrize("content", [b"garbage " * 1000, b"SQLite format 3\x00" + b"\xaa" * 9000])
def test_a_damaged_file_is_set_aside_and_made_anew(responses, directory, warnings, content):
    directory.mkdir()
    (directory / "cache.db").write_bytes(content)
    responses.set("key", "text", 60)
    assert responses.get("key") == "text"
    assert "was damaged and is now" in warnings[0]


def test_damage_that_shows_later_is_mended_within_the_verb(responses, directory, warnings):
    for number in range(100):
        responses.set(f"key/{number}", "x" * 2000, 60)
    responses.close()
    file = directory / "cache.db"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 100_000)
    assert responses.get("key/50") is None
    responses.set("key", "text", 60)
    assert responses.get("key") == "text"
    assert len(warnings) == 1


def test_a_lock_held_longer_than_the_timeout_is_an_error_and_costs_no_minute(directory):
    responses = Responses(directory, 1_000_000, 0.05)
    responses.set("key", "text", 60)
    holder = sqlite3.connect(directory / "cache.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        responses.set("key", "new", 60)
    assert responses.get("key") == "text"
    with pytest.raises(StoreError, match="locked by another process"):
        Responses(directory, 1_000_000, 0.05).get("key")
    holder.close()
    responses.close()


def test_a_directory_that_is_a_file_is_an_error_that_says_so(tmp_path):
    (tmp_path / "responses").write_text("")
    with pytest.raises(StoreError, match=r"cannot use .*cache\.db: .*--state-dir"):
        Responses(tmp_path / "responses", 1000).get("key")


WORKER = """
import sys
from pathlib import Path
from llmfail.store.responses import Responses
responses = Responses(Path(sys.argv[1]), 10_000_000, 30)
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    responses.set(f"{sys.argv[2]}/{number}", "text " * 1000, 600)
assert all(responses.get(f"{sys.argv[2]}/{number}") == "text " * 1000 for number in range(20))
responses.close()
"""


def test_12_processes_open_and_fill_a_directory_that_does_not_exist(directory, responses):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(directory), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(12)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    errors = [worker.communicate()[1] for worker in workers]
    assert errors == [""] * 12
    assert responses.stats()[0] == 240
