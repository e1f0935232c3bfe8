"""Where an answer goes when that place is odd: closed, full, a link to itself, a file with its own mode."""

import fcntl
import os
import stat
import struct
import termios

import pytest
from program import OPENAI, finish, wait_until

REPORTS = [
    ("status",),
    ("plan",),
    ("cost-estimate",),
    ("log",),
    ("config", "show"),
    ("--help",),
    ("ask", "--help"),
    ("--version",),
    ("--show-completion", "bash"),
]


def with_output(llmfail, redirection):
    return llmfail.under("sh", "-c", f'exec "$@" {redirection}', "sh")


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "1</dev/null"])
@pytest.mark.parametrize("arguments", [("ask", "Say hello"), ("ask", "Say hello", "--json"), ("probe",)])
def test_nobody_is_asked_when_the_answer_has_no_place(llmfail, simulator, redirection, arguments):
    ended = with_output(llmfail, redirection)(*arguments)
    assert ended.code == 2
    assert len(ended.lines) == 1
    assert "cannot write to standard output" in ended.err
    assert simulator.count_connections() == 0


def test_a_closed_standard_output_does_not_matter_to_an_answer_that_goes_to_a_file(llmfail, here):
    ended = with_output(llmfail, ">&-")("ask", "Say hello", "-o", "answer.txt")
    assert (ended.code, ended.err) == (0, "")
    assert (here / "answer.txt").read_text() == f"{OPENAI} heard: Say hello\n"


@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_a_report_that_has_no_place_is_told_in_one_line(llmfail, arguments, redirection, buffering):
    llmfail("ask", "Say hello")
    program = with_output(llmfail, redirection).with_environ(PYTHONUNBUFFERED=buffering)
    ended = program(*arguments)
    assert ended.code == 2
    assert len(ended.lines) == 1
    assert ended.err.startswith("llmfail: cannot write to standard output: ")


def test_a_dash_is_standard_output(llmfail, here):
    ended = llmfail("ask", "Say hello", "-o", "-")
    assert ended.out == f"{OPENAI} heard: Say hello\n".encode()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_mode(llmfail, here, mode):
    answer = here / "answer.txt"
    answer.write_text("earlier")
    answer.chmod(mode)
    assert llmfail("ask", "Say hello", "-o", "answer.txt").code == 0
    assert "heard" in answer.read_text()
    assert stat.S_IMODE(answer.stat().st_mode) == mode


def test_a_file_behind_a_link_keeps_its_mode(llmfail, here):
    (here / "answer.txt").touch(0o600)
    (here / "link").symlink_to("answer.txt")
    assert llmfail("ask", "Say hello", "-o", "link").code == 0
    assert stat.S_IMODE((here / "answer.txt").stat().st_mode) == 0o600


@pytest.mark.parametrize(("mask", "mode"), [("027", 0o640), ("077", 0o600), ("022", 0o644)])
def test_a_new_file_has_what_the_umask_leaves(llmfail, here, mask, mode):
    program = llmfail.under("sh", "-c", f'umask {mask}; exec "$@"', "sh")
    assert program("ask", "Say hello", "-o", "answer.txt").code == 0
    assert stat.S_IMODE((here / "answer.txt").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_keeps_its_owner(llmfail, here):
    os.chown(here, 12345, 12345)
    (here / "answer.txt").touch()
    os.chown(here / "answer.txt", 12345, 12346)
    assert llmfail("ask", "Say hello", "-o", "answer.txt").code == 0
    found = (here / "answer.txt").stat()
    assert (found.st_uid, found.st_gid) == (12345, 12346)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda place: place.symlink_to(place.name), id="a link to itself"),
        pytest.param(lambda place: place.symlink_to("missing/answer.txt"), id="a link into nothing"),
        pytest.param(lambda place: place.mkdir(), id="a directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anybody_is_asked(llmfail, simulator, here, make):
    make(here / "answer.txt")
    ended = llmfail("ask", "Say hello", "-o", "answer.txt")
    assert (ended.code, ended.out) == (2, b"")
    assert len(ended.lines) == 1
    assert ended.err.startswith("llmfail: cannot write answer.txt: ")
    assert simulator.count_connections() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_place_that_may_not_be_looked_at_is_told_before_anybody_is_asked(llmfail, simulator, here):
    (here / "closed").mkdir(0)
    ended = llmfail("ask", "Say hello", "-o", "closed/answer.txt")
    assert ended.code == 2
    assert ended.err.startswith("llmfail: cannot write closed/answer.txt: ")
    assert simulator.count_connections() == 0


def read_late(reading):
    """All that is written to a pipe, from which nothing is read before something of it is there."""

    def size():
        return struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"\0" * 4))[0]

    wait_until(size)
    os.set_blocking(reading, True)
    with os.fdopen(reading, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    ("arguments", "answers"),
    [(("ask", "Say hello"), 1), (("ask", "Say hello", "--json"), 1), (("batch", "in.jsonl"), 3)],
)
def test_e3_an_answer_waits_for_the_reader_of_an_output_that_does_not_block(
    llmfail, simulator, here, arguments, answers
):
    """Whoever shares a pipe or a terminal can make it so."""
    (here / "in.jsonl").write_text('"one"\n' * answers)
    simulator.set_answer(lambda _seen: "word " * 50_000)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with llmfail.start(*arguments, "--max-tokens", "100000", stdout=writing) as process:
        os.close(writing)
        received = read_late(reading)
        ended = finish(process)
    assert ended.code == 0, ended.err
    assert received.count(b"word ") == 50_000 * answers
    assert received.count(b"\n") == answers
    assert received.endswith(b"\n")


def test_e8_an_answer_that_its_file_does_not_take_goes_to_standard_output(llmfail, here):
    program = llmfail.under("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
    ended = program("ask", "Say hello", "-q", "-o", "answer.txt")
    assert ended.code == 2
    assert ended.out == f"{OPENAI} heard: Say hello\n".encode()
    assert "cannot write" in ended.lines[-1]
    assert ended.lines[-1].endswith("; it went to standard output")
    assert "bug" not in ended.err
    assert list(here.iterdir()) == []
