"""A state directory that cannot be used never costs an answer that was paid for."""

import os
import resource
import sqlite3
import sys
from pathlib import Path

import mounts
import pytest
from program import OPENAI, build_config, finish

from llmfail.simulator import parse_faults

pytestmark = pytest.mark.disk

needs_mounts = pytest.mark.skipif(not mounts.can_mount(), reason="mounting is not allowed here")


def is_answered_with_one_warning(ended):
    assert ended.code == 0
    assert ended.out == f"{OPENAI} heard: Say hello\n".encode()
    assert len(ended.lines) == 1, ended.err
    assert ended.err.startswith("llmfail: warning: ")
    return True


def a_file(state):
    state.write_text("not a directory")


def a_dangling_link(state):
    state.symlink_to("/nowhere/at/all")


def database_is_a_directory(state):
    (state / "state.sqlite3").mkdir(parents=True)


def database_is_a_link(state):
    state.mkdir(mode=0o700)
    (state / "state.sqlite3").symlink_to("/etc/passwd")


def database_is_a_pipe(state):
    state.mkdir(mode=0o700)
    os.mkfifo(state / "state.sqlite3")


@pytest.mark.parametrize(
    "spoil",
    [a_file, a_dangling_link, database_is_a_directory, database_is_a_link, database_is_a_pipe],
    ids=lambda spoil: spoil.__name__,
)
def test_a_place_that_is_none_costs_no_answer(llmfail, state, spoil):
    spoil(state)
    ended = llmfail("ask", "Say hello")
    assert is_answered_with_one_warning(ended)
    assert "--state-dir" in ended.err


def test_a_place_below_a_file_costs_no_answer(llmfail, tmp_path):
    (tmp_path / "file").touch()
    ended = llmfail.before_that("--state-dir", tmp_path / "file" / "state")("ask", "Say hello")
    assert is_answered_with_one_warning(ended)


def random_bytes(path):
    path.write_bytes(bytes(range(256)) * 64)


def only_the_header(path):
    path.write_bytes(path.read_bytes()[:100])


def zeros_in_the_middle(path):
    data = path.read_bytes()
    path.write_bytes(data[:200] + bytes(len(data) - 200))


@pytest.mark.parametrize(
    "damage", [random_bytes, only_the_header, zeros_in_the_middle], ids=lambda damage: damage.__name__
)
def test_a_corrupt_database_is_set_aside_and_made_anew(llmfail, state, damage):
    llmfail("ask", "Say hello")
    database = state / "state.sqlite3"
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    damage(database)
    assert is_answered_with_one_warning(llmfail("ask", "Say hello"))
    assert list(state.glob("state.sqlite3.corrupt-*"))
    assert llmfail("ask", "Say hello").err == ""
    assert llmfail.status()["routing"]["total_requests"] == 2


def test_a_damaged_record_counts_as_fresh(llmfail, simulator, state):
    simulator.set_faults(parse_faults("openai=429:300"))
    assert llmfail.ask().code == 0
    simulator.set_faults(parse_faults("none"))
    with sqlite3.connect(state / "state.sqlite3") as database:
        (table,) = next(database.execute("select name from sqlite_master where type = 'table'"))
        key, text, *_ = (row[1] for row in database.execute(f"pragma table_info({table})"))
        spoil = f"update {table} set {text} = '{{broken' where {key} like 'pause/%'"
        changed = database.execute(spoil)
        assert changed.rowcount >= 1
    database.close()
    ended = llmfail("ask", "Say hello")
    assert (ended.code, ended.out, ended.err) == (0, f"{OPENAI} heard: Say hello\n".encode(), "")


@needs_mounts
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "with earlier state"])
@pytest.mark.parametrize("place", [mounts.mount_full, mounts.mount_read_only], ids=["full", "read-only"])
def test_a_state_directory_that_takes_no_more_costs_no_answer(llmfail, state, place, earlier):
    if earlier:
        assert llmfail("ask", "Say hello").code == 0
    else:
        state.mkdir(mode=0o700)
    assert is_answered_with_one_warning(llmfail.under(*place(state))("ask", "Say hello"))


@needs_mounts
@pytest.mark.parametrize("place", [mounts.mount_full, mounts.mount_read_only], ids=["full", "read-only"])
def test_answers_and_the_queue_on_a_server_do_not_need_the_state_directory(
    configure, simulator, state, redis_url, place
):
    config = build_config(simulator, cache={"enabled": True, "store": redis_url}, queue={"store": redis_url})
    llmfail = configure(config)
    assert llmfail("status").code == 0
    troubled = llmfail.under(*place(state))
    for _ in range(2):
        assert is_answered_with_one_warning(troubled("ask", "Say hello"))
    assert simulator.count() == 1
    simulator.set_faults(parse_faults("all=503"))
    queued = troubled("ask", "Say something else", "--queue")
    assert (queued.code, len(queued.lines)) == (3, 2)
    assert "kept in the queue" in queued.err
    simulator.set_faults(parse_faults("none"))
    assert len(troubled("queue", "list", "--json").document) == 1
    assert (troubled("queue", "run", "--all").code, troubled("queue", "list").out) == (0, b"")


@needs_mounts
def test_a_directory_that_has_become_read_only_is_told_as_one(llmfail, state):
    assert llmfail("ask", "Say hello").code == 0
    ended = llmfail.under(*mounts.mount_read_only(state))("ask", "Say hello")
    assert is_answered_with_one_warning(ended)
    assert "state.sqlite3: its directory cannot be written" in ended.err


def test_a_limit_on_the_size_of_files_costs_no_answer(llmfail):
    """What a quota looks like: the file can be made, and writing to it fails."""
    script = (
        "import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert is_answered_with_one_warning(llmfail.under(sys.executable, "-c", script)("ask", "Say hello"))


@needs_mounts
def test_status_of_what_cannot_be_used_does_not_claim_to_know(llmfail, state):
    assert llmfail.ask().code == 0
    ended = llmfail.under(*mounts.mount_read_only(state))("status", "--json")
    assert ended.code == 2
    assert ended.document["store"] == "memory"
    assert ended.document["routing"]["total_requests"] is None
    assert len(ended.lines) == 1


def test_a_database_that_somebody_holds_locked_costs_no_answer(llmfail, state):
    llmfail("ask", "Say hello")
    holder = sqlite3.connect(state / "state.sqlite3", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        ended = llmfail.with_environ(LLMFAIL_STORE_TIMEOUT="0.2")("ask", "Say hello")
    finally:
        holder.rollback()
        holder.close()
    assert is_answered_with_one_warning(ended)


@needs_mounts
def test_an_answer_for_a_full_disk_is_not_lost(llmfail, simulator, here):
    (here / "full").mkdir()
    simulator.set_answer(lambda _seen: "word " * 1000)
    ended = llmfail.under(*mounts.mount_full(here / "full"))("ask", "Say hello", "-o", "full/answer.txt")
    assert ended.out == ("word " * 1000 + "\n").encode()
    assert ended.code not in {0, 1}
    assert len(ended.lines) == 1
    assert "full/answer.txt" in ended.err


@needs_mounts
def test_an_output_that_cannot_be_written_is_told_before_anybody_is_asked(llmfail, simulator, here):
    (here / "sealed").mkdir()
    ended = llmfail.under(*mounts.mount_read_only(here / "sealed"))(
        "ask", "Say hello", "-o", "sealed/answer.txt"
    )
    assert ended.code == 2
    assert "sealed/answer.txt" in ended.err
    assert simulator.count_connections() == 0


def test_a_standard_output_that_is_full_is_an_error_and_no_bug(llmfail):
    with Path("/dev/full").open("wb") as full, llmfail.start("ask", "Say hello", stdout=full) as process:
        ended = finish(process)
    assert ended.code != 0
    assert len(ended.lines) == 1
    assert "bug" not in ended.err
    assert "space" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "Say hello"),
        ("status",),
        ("config", "path"),
        ("config", "check"),
        ("ask", "hi", "--drill", "none"),
    ],
    ids=" ".join,
)
def test_e4_a_user_without_a_home_directory_gets_an_answer(llmfail, here, arguments):
    """The place of such a user's state is one where nothing can be."""
    ended = llmfail.with_environ(LLMFAIL_STATE_DIR="/dev/null/llmfail")(*arguments)
    assert ended.code == 0, ended.err
    assert list(here.iterdir()) == []
    if arguments == ("ask", "Say hello"):
        assert is_answered_with_one_warning(ended)
        assert "this user has no home directory to keep state in; name a directory with" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("usage",),
        ("usage", "--json"),
        ("metrics",),
        ("log",),
        ("log", "--json"),
        ("cache", "stats"),
        ("cost-estimate", "--scenario", "actual"),
    ],
    ids=" ".join,
)
def test_e7_what_cannot_be_read_is_not_told_as_nothing(llmfail, state, arguments):
    database_is_a_directory(state)
    ended = llmfail(*arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert "cannot be read; see the warning, or --state-dir" in ended.lines[-1]


def test_e7_status_does_not_count_what_it_cannot_read(llmfail, state):
    for name in ("state.sqlite3", "answers.sqlite3", "queue.sqlite3"):
        (state / name).mkdir(parents=True)
    ended = llmfail("status", "--json")
    document = ended.document
    assert (ended.code, document["status"]) == (2, "degraded")
    assert set(document["routing"].values()) == {None}
    assert {figures["requests"] for figures in document["providers"].values()} == {None}
    assert (document["cache"]["entries"], document["cache"]["bytes"]) == (None, None)
    assert document["queue"]["pending"] is None
    assert "cannot be read" in llmfail("status").out.decode()


def test_e7_a_watch_that_could_judge_nothing_says_so(llmfail, state):
    database_is_a_directory(state)
    ended = llmfail("watch", "--once")
    assert ended.code == 2
    assert "state.sqlite3 is not a regular file" in ended.err


def test_e7_a_queue_that_cannot_be_read_is_not_told_as_empty(llmfail, state):
    (state / "queue.sqlite3").mkdir(parents=True)
    ended = llmfail("queue", "list")
    assert (ended.code, ended.out, len(ended.lines)) == (2, b"", 1)
    assert "queue.sqlite3" in ended.err


@needs_mounts
def test_e7_of_a_directory_that_is_read_only_nothing_is_made_up(llmfail, simulator, state):
    simulator.set_faults(parse_faults("all=503"))
    assert llmfail("ask", "Say hello", "--queue").code == 3
    read_only = llmfail.under(*mounts.mount_read_only(state))
    for arguments in (("usage", "--json"), ("log",), ("queue", "list")):
        ended = read_only(*arguments)
        assert (ended.code, ended.out) == (2, b""), ended
