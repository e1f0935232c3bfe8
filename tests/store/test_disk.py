"""The state file: whose it is, what may be wrong with it, and what is said then."""

import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import worker_processes

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.store.disk import DiskStore
from llmfail.store.sqlite import database
from llmfail.store.sqlite.lock_retry import LockPatience
from llmfail.store.sqlite.state_directory import identify_file


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def disk(directory, warnings):
    made = DiskStore(directory, 5, warn=warnings.append)
    yield made
    made.close()


@pytest.fixture
def public():
    """A directory that other users can reach, unlike pytest's."""
    made = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(made, 65534, 65534)
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


def put(disk, **texts):
    disk.update([], lambda _values, _now: ({key: Write(text) for key, text in texts.items()}, None))


def get(disk, key):
    return disk.read([key])[0][key]


def attempt(directory):
    """What an update comes to, as text."""
    disk = DiskStore(directory, 0.05)
    try:
        put(disk, a="1")
    except StoreError as error:
        return f"StoreError: {error}"
    finally:
        disk.close()
    return "written"


def break_pages(file):
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 40960)


def fill(disk):
    disk.update([], lambda _values, _now: ({f"key/{n}": Write("x" * 500) for n in range(200)}, None))


def set_aside(directory):
    return sorted(path.name for path in directory.iterdir() if ".corrupt-" in path.name)


def test_nothing_is_touched_before_the_first_verb(directory):
    DiskStore(directory, 5).close()
    assert not directory.exists()


def test_who_cannot_wait_makes_no_file_anew(disk, directory):
    disk.update([], lambda _values, _now: ({}, None))
    (directory / "state.sqlite3").unlink()
    with pytest.raises(StoreError, match="not open yet"):
        disk.update([], lambda _values, _now: ({}, None), waits=False)
    assert not (directory / "state.sqlite3").exists()


def test_directory_and_files_are_for_their_owner_only(disk, directory):
    before = os.umask(0)
    try:
        put(disk, a="1")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(
        ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm", "state.lock"], 0o600
    )


def test_the_file_is_sqlite_in_wal_mode_with_a_schema_version(disk, directory):
    put(disk, a="1")
    with sqlite3.connect(directory / "state.sqlite3") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT * FROM state").fetchall() == [("a", "1", None)]
    connection.close()


@pytest.mark.parametrize("name", ["with space", "50% ?#&", "日本", "a'b\"c", "\udcff"])
def test_any_directory_name_will_do(tmp_path, name):
    assert attempt(tmp_path / name) == "written"
    assert (tmp_path / name / "state.sqlite3").is_file()


def test_a_relative_directory_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert attempt(Path("state")) == "written"


def test_a_lock_held_longer_than_the_timeout_is_an_error_that_says_so(disk, directory):
    put(disk, a="1")
    holder = sqlite3.connect(directory / "state.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert "state.sqlite3 is locked by another process" in attempt(directory)
    assert get(disk, "a") == "1", "readers do not wait for writers"
    holder.close()
    assert attempt(directory) == "written"


def test_e2_a_file_that_others_keep_writing_is_busy_and_not_out_of_order(disk, directory):
    """Waited for ten times as long as for a lock that nobody gives back."""
    put(disk, a="1")
    holder = sqlite3.connect(directory / "state.sqlite3", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    ends = threading.Event()

    def keep_writing():
        """Never leaves the file to anybody else for long."""
        for _ in range(8):
            holder.execute("INSERT OR REPLACE INTO state VALUES ('other', '1', NULL)")
            holder.execute("COMMIT")
            holder.execute("BEGIN IMMEDIATE")
            ends.wait(0.1)
        holder.execute("COMMIT")

    slow = DiskStore(directory, 0.2)
    slow.read(["a"])
    writer = threading.Thread(target=keep_writing)
    writer.start()
    put(slow, a="2")
    ends.set()
    writer.join()
    holder.close()
    slow.close()
    assert get(disk, "a") == "2"


def test_e2_a_process_that_was_stopped_has_not_waited_for_the_file():
    """The time in which it could not even try does not count."""
    now = [100.0]
    patience = LockPatience(2.0, lambda: 0.0, clock=lambda: now[0])
    now[0] += 0.4
    assert patience.seconds_left() == pytest.approx(1.6)
    now[0] += 3600
    assert patience.seconds_left() > 1
    for _ in range(10):
        now[0] += 0.2
        left = patience.seconds_left()
    assert left < 0


def test_a_thread_that_keeps_its_turn_is_an_error_that_says_so(directory):
    disk = DiskStore(directory, 0.05)
    with pytest.raises(StoreError, match="kept busy by another thread"):
        disk.update([], lambda _values, _now: disk.read(["a"]))
    disk.close()


def test_a_file_of_a_newer_schema_is_left_alone(disk, directory):
    put(disk, a="1")
    disk.close()
    connection = sqlite3.connect(directory / "state.sqlite3")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    before = (directory / "state.sqlite3").read_bytes()
    assert "written by a newer llmfail; upgrade" in attempt(directory)
    assert (directory / "state.sqlite3").read_bytes() == before


@pytest.mark.parametrize("value", [b"\xff\xfe", 7, 1.5, None])
def test_a_tampered_value_is_text_or_nothing(disk, directory, value):
    put(disk, a="1")
    with sqlite3.connect(directory / "state.sqlite3") as connection:
        connection.execute("UPDATE state SET value = ?", (value,))
    connection.close()
    assert isinstance(get(disk, "a"), str | None)
    put(disk, a="2")
    assert get(disk, "a") == "2"


@pytest.mark.parametrize("content", [b"garbage", b"garbage " * 4096, b"SQLite format 3\x00" + b"\xaa" * 9000])
def test_a_file_that_is_no_database_is_set_aside_and_made_anew(disk, directory, warnings, content):
    directory.mkdir()
    (directory / "state.sqlite3").write_bytes(content)
    put(disk, a="1")
    assert get(disk, "a") == "1"
    (aside,) = set_aside(directory)
    assert (directory / aside).read_bytes() == content
    assert warnings == [f"{disk.file.path} was damaged and is now {directory / aside}; a new one was begun"]


def test_an_empty_file_is_no_damage(disk, directory, warnings):
    directory.mkdir()
    (directory / "state.sqlite3").touch()
    put(disk, a="1")
    assert (get(disk, "a"), warnings) == ("1", [])


def test_damage_that_shows_only_in_a_query_is_mended_within_the_verb(disk, directory, warnings):
    fill(disk)
    disk.close()
    break_pages(directory / "state.sqlite3")
    assert get(disk, "key/1") is None
    put(disk, a="1")
    assert get(disk, "a") == "1"
    assert len(warnings) == len(set_aside(directory)) == 1


def test_who_has_the_damaged_file_open_moves_to_the_new_one(disk, directory, warnings):
    fill(disk)
    disk.close()
    get(disk, "none")
    other = DiskStore(directory, 5, warn=warnings.append)
    break_pages(directory / "state.sqlite3")
    put(other, a="1")
    assert get(disk, "a") == "1"
    put(disk, b="2")
    disk.close()
    assert get(other, "b") == "2"
    other.close()
    assert (get(disk, "a"), get(disk, "b")) == ("1", "2")
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "names", [["state.sqlite3"], ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"]]
)
def test_a_file_deleted_by_a_person_is_made_anew(disk, directory, names):
    put(disk, a="1")
    for name in names:
        (directory / name).unlink()
    put(disk, b="2")
    assert (get(disk, "a"), get(disk, "b")) == (None, "2")
    disk.close()
    assert get(disk, "b") == "2"


def test_a_directory_deleted_by_a_person_is_made_anew(disk, directory):
    put(disk, a="1")
    shutil.rmtree(directory)
    put(disk, b="2")
    assert (get(disk, "a"), get(disk, "b")) == (None, "2")


def test_a_full_disk_keeps_what_is_there_and_says_so(directory, disk):
    put(disk, a="1")
    disk.close()

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))
        try:
            put(disk, b="x" * 100_000)
        except StoreError as error:
            return f"{get(disk, 'a')} {error}"
        return "written"

    text = worker_processes.run_in_child(work)
    assert text.startswith(f"1 cannot use {disk.file.path}: ")
    assert get(disk, "b") is None


@pytest.fixture
def tiny(tmp_path):
    """A file system of 64 kB."""
    point = tmp_path / "tiny"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(point)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_full_file_system_is_an_error_at_creation_and_later(tiny):
    ballast = tiny / "ballast"
    ballast.write_bytes(b"x" * 65536)
    assert "No space left" in attempt(tiny / "state") or "no space" in attempt(tiny / "state")
    ballast.unlink()
    disk = DiskStore(tiny / "state", 0.05)
    with pytest.raises(StoreError, match=r"state\.sqlite3"):
        put(disk, b="x" * 100_000)
    disk.close()


def test_a_file_system_that_became_read_only_is_an_error(tiny):
    subprocess.run(["mount", "-o", "remount,size=10M", str(tiny)], check=True)
    assert attempt(tiny / "state") == "written"
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    assert attempt(tiny / "state").startswith("StoreError: cannot use")
    assert attempt(tiny / "other").startswith("StoreError: cannot use")


def read_only_directory(base):
    (base / "state").mkdir(mode=0o500)


def read_only_directory_with_state(base):
    attempt(base / "state")
    (base / "state").chmod(0o500)


def read_only_file(base):
    attempt(base / "state")
    (base / "state" / "state.sqlite3").chmod(0o400)


def unreadable_file(base):
    attempt(base / "state")
    (base / "state" / "state.sqlite3").chmod(0)


def a_file(base):
    (base / "state").write_text("not a directory")


def no_right_to_the_parent(base):
    base.chmod(0)


def a_directory_for_a_file(base):
    (base / "state" / "state.sqlite3").mkdir(parents=True)


def a_pipe_for_a_file(base):
    (base / "state").mkdir()
    os.mkfifo(base / "state" / "state.sqlite3")


def a_link_for_a_file(base):
    attempt(base / "elsewhere")
    (base / "state").mkdir()
    (base / "state" / "state.sqlite3").symlink_to(base / "elsewhere" / "state.sqlite3")


def a_link_to_nothing(base):
    (base / "state").mkdir()
    (base / "state" / "state.sqlite3").symlink_to(base / "planted")


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (read_only_directory, "Permission denied"),
        (read_only_directory_with_state, "it is read-only"),
        (read_only_file, "it is read-only"),
        (unreadable_file, "it cannot be opened"),
        (a_file, "Not a directory"),
        (no_right_to_the_parent, "Permission denied"),
        (a_directory_for_a_file, "is not a regular file"),
        (a_pipe_for_a_file, "is not a regular file"),
        (a_link_for_a_file, "is not a regular file"),
        (a_link_to_nothing, "is not a regular file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_whatever_is_wrong_is_one_line_that_says_what_to_do(public, trouble, reason):
    def work():
        trouble(public)
        return attempt(public / "state")

    text = worker_processes.run_unprivileged(work)
    assert text.startswith("StoreError: ")
    assert reason in text
    assert str(public / "state" / "state.sqlite3") in text
    assert "--state-dir" in text
    assert "\n" not in text


def test_a_parent_that_cannot_be_made_is_an_error():
    assert "cannot use /proc/none/state/state.sqlite3" in attempt(Path("/proc/none/state"))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@needs_root
@pytest.mark.parametrize(
    ("owner", "mode"), [(65533, 0o777), (65533, 0o1777), (65533, 0o775), (65533, 0o755), (0, 0o775)]
)
def test_d3_a_directory_of_another_user_is_refused_and_its_owner_named(public, owner, mode):
    (public / "state").mkdir()
    os.chown(public / "state", owner, owner)
    (public / "state").chmod(mode)
    text = worker_processes.run_unprivileged(lambda: attempt(public / "state"))
    assert f"belongs to {'root' if owner == 0 else 'uid 65533'}, and not to" in text
    assert "name a directory of your own with --state-dir" in text
    assert list((public / "state").iterdir()) == []


@needs_root
def test_d3_a_directory_of_root_where_nobody_else_may_write_is_believed(public):
    (public / "state").mkdir(mode=0o755)
    text = worker_processes.run_unprivileged(lambda: attempt(public / "state"))
    assert "Permission denied" in text


@needs_root
@pytest.mark.parametrize("name", ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm", "state.lock"])
@pytest.mark.parametrize("owner", [0, 65533])
def test_d3_d8_a_file_of_another_user_in_ones_own_directory_is_refused_and_its_owner_named(
    public, name, owner
):
    state = public / "state"
    assert worker_processes.run_unprivileged(lambda: attempt(state)) == "written"
    (state / name).touch()
    os.chown(state / name, owner, owner)
    (state / name).chmod(0o666)
    text = worker_processes.run_unprivileged(lambda: attempt(state))
    assert (
        f"cannot use {state / name}: it belongs to {'root' if owner == 0 else 'uid 65533'}; remove it" in text
    )


@needs_root
def test_d8_root_makes_no_state_in_the_home_of_somebody_else(public):
    home = public / "home"
    home.mkdir()
    os.chown(home, 65533, 65533)
    assert f"{home} belongs to uid 65533, and not to root" in attempt(home / "deep" / "state")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_what_others_may_do_in_a_directory_of_ones_own_is_ones_own_decision(tmp_path, mode):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)
    assert attempt(tmp_path / "state") == "written"


def test_importing_the_disk_store_imports_neither_diskcache_nor_the_network():
    code = "import sys, llmfail.store.disk; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"diskcache", "redis", "httpcore", "socket", "random"} & {*done.stdout.split()}


def test_a_damaged_file_that_somebody_else_has_set_aside_is_left_alone(tmp_path):
    path, heard = tmp_path / "state.sqlite3", []
    path.write_bytes(b"no database")
    damaged = identify_file(path)
    database.quarantine(path, damaged, heard.append)
    database.quarantine(path, damaged, heard.append)
    assert len(heard) == 1
    assert len(list(tmp_path.glob("state.sqlite3.corrupt-*"))) == 1
