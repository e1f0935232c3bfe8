"""What an ask does with input that is odd: files without end, pipes that stay open, values out of range."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from program import OPENAI, PROCESS_TIMEOUT, build_config, finish

from llmfail.simulator import parse_faults

MEBI = 1 << 20


def is_refused(ended, simulator, *words):
    """One clear line, and nobody was asked."""
    assert (ended.code, ended.out) == (2, b""), ended
    assert len(ended.lines) == 1, ended.err
    assert "bug" not in ended.err
    for word in words:
        assert word in ended.err
    assert simulator.count_connections() == 0
    return True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("[" * 100_000, "nested too deeply", id="too deep to read"),
        pytest.param('{"a": ' * 500 + "1" + "}" * 500, "nested too deeply", id="too deep to use"),
        pytest.param('{"minimum": NaN}', "not JSON", id="NaN"),
        pytest.param('{"minimum": -Infinity}', "not JSON", id="Infinity"),
        pytest.param('{"minimum": 1e400}', "not JSON", id="a number that becomes infinite"),
        pytest.param(r'{"title": "\ud800"}', "not JSON", id="half a character"),
        pytest.param(b'{"title": "\xff"}', "not JSON", id="bytes that are no text"),
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("[]", "must be an object", id="a list"),
        pytest.param('{"title": "' + "x" * MEBI + '"}', "larger than 1 MiB", id="too large"),
    ],
)
def test_a_schema_that_is_none_is_told(llmfail, simulator, here, text, why):
    (here / "schema.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert is_refused(llmfail("ask", "hi", "--schema", "schema.json"), simulator, "schema.json", why)


def test_a_schema_may_begin_with_a_byte_order_mark(llmfail, here):
    (here / "schema.json").write_bytes(b'\xef\xbb\xbf{"type": "object"}')
    assert "schema.json" not in llmfail("ask", "hi", "--schema", "schema.json").err


@pytest.mark.parametrize("option", ["--schema", "-a"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/zero", "larger than"),
        ("pipe", "nobody writes to this pipe"),
        (".", "directory"),
        ("missing", "No such file"),
        ("loop", "symbolic links"),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_told(llmfail, simulator, here, option, name, why):
    os.mkfifo(here / "pipe")
    (here / "loop").symlink_to("loop")
    assert is_refused(llmfail("ask", "hi", option, name), simulator, name, why)


def test_an_attachment_has_a_limit(llmfail, simulator, here):
    with (here / "large.txt").open("wb") as file:
        file.truncate(20 * MEBI + 1)
    assert is_refused(llmfail("ask", "hi", "-a", "large.txt"), simulator, "large.txt", "20 MiB")


def test_an_attachment_may_come_from_a_process(llmfail, simulator):
    program = llmfail.under("bash", "-c", 'exec "$@" -a <(sleep 0.2; echo from a process)', "bash")
    assert program("ask", "hi").code == 0
    assert "from a process" in simulator.requests[0].body.decode()


def test_the_name_of_an_attachment_is_text(llmfail, simulator, here):
    name = os.fsdecode(b"\xff.txt")
    (here / name).write_text("hello")
    assert is_refused(llmfail("ask", "hi", "-a", name), simulator, "not UTF-8")


def test_standard_input_has_a_limit(llmfail, simulator):
    assert is_refused(llmfail("ask", stdin=b"x" * (20 * MEBI + 1)), simulator, "standard input", "20 MiB")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "-1", "2.5"])
def test_a_temperature_is_that_of_the_configuration(llmfail, simulator, value):
    assert is_refused(llmfail("ask", "hi", "--temperature", value), simulator, "--temperature", "from 0 to 2")


@pytest.mark.parametrize("option", ["--timeout", "--deadline"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e400", "1000000000000", "3651d", "soon", ""])
def test_a_duration_is_that_of_the_configuration(llmfail, simulator, option, value):
    assert is_refused(llmfail("ask", "hi", option, value), simulator, option, "3650d")


@pytest.mark.parametrize("value", ["5", "0.5m", "30s", "2m", "3650d"])
def test_a_duration_may_have_a_unit(llmfail, value):
    assert llmfail("ask", "hi", "--timeout", value, "--deadline", value).code == 0


def test_who_waits_beside_a_prompt_says_so_once(llmfail):
    with llmfail.start("ask", "hi", stdin=subprocess.PIPE) as process:
        assert "waiting for standard input" in process.stderr.readline().decode()
        ended = finish(process, b"some context")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{OPENAI} heard: some context\n\nhi\n".encode()


@pytest.mark.parametrize(("before", "arguments"), [(("-q",), ("hi",)), ((), ())])
def test_who_waits_otherwise_is_silent(llmfail, before, arguments):
    """Longer than it takes to say something: nobody can see silence otherwise."""
    with llmfail.before_that(*before).start("ask", *arguments, stdin=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.terminate()
        assert finish(process).err == ""


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
def test_a_signal_that_is_ignored_outside_is_ignored_inside(llmfail, simulator, name):
    simulator.set_faults(parse_faults("openai=slow:1500"))
    program = llmfail.under("sh", "-c", f"trap '' {name}; exec \"$@\"", "sh")
    with program.start("ask", "hi") as process:
        assert simulator.wait_for(lambda: simulator.count() == 1)
        process.send_signal(getattr(signal, f"SIG{name}"))
        ended = finish(process)
    assert (ended.code, ended.out) == (0, f"{OPENAI} heard: hi\n".encode())


def in_a_deleted_directory(llmfail):
    return llmfail.under("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")


@pytest.mark.parametrize("arguments", [("ask", "hi"), ("status",), ("config", "path"), ("config", "check")])
def test_a_current_directory_that_was_deleted_does_not_matter(llmfail, state, arguments):
    program = in_a_deleted_directory(llmfail.before_that("--state-dir", state))
    assert program(*arguments).code == 0


def test_a_configuration_beside_a_deleted_directory_is_used(llmfail, simulator, here, state):
    (here / "own.yaml").write_text(json.dumps(build_config(simulator)))
    program = llmfail.before_that("--state-dir", state, "--config", "../own.yaml")
    ended = in_a_deleted_directory(program)("ask", "hi")
    assert (ended.code, ended.out) == (0, f"{OPENAI} heard: hi\n".encode()), ended


@pytest.mark.parametrize("option", ["--config", "--state-dir"])
def test_what_is_named_from_a_deleted_directory_is_told(llmfail, option):
    ended = in_a_deleted_directory(llmfail.before_that(option, "here"))("status")
    assert ended.code == 2
    assert len(ended.lines) == 1
    assert "bug" not in ended.err


@pytest.mark.parametrize("kind", ["complete_bash", "complete_zsh", "complete_fish"])
def test_a_completion_that_nobody_asked_for_is_silent(llmfail, kind):
    assert llmfail.with_environ(_LLMFAIL_COMPLETE=kind)().err == ""
    ended = llmfail.with_environ(
        _LLMFAIL_COMPLETE="complete_bash", COMP_WORDS="llmfail sta", COMP_CWORD="1"
    )()
    assert ended.out == b"status\n"


BAD_TARGETS = [b"openai/\xff", "openai/\x1b[31mred", "openai/a b", "openai/ü", f"openai/{'x' * 300}", "/x"]


@pytest.mark.parametrize("name", BAD_TARGETS, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("command", ["ask", "plan"])
def test_a_target_is_visible_ascii_wherever_it_is_named(llmfail, simulator, state, command, name):
    ended = llmfail.before_that("--state-dir", state)(command, "hi", "-m", name)
    assert is_refused(ended, simulator, "provider/model")
    assert "\x1b" not in ended.err


@pytest.mark.parametrize("name", BAD_TARGETS[:-1], ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("command", ["probe", "trip", "reset"])
def test_a_target_is_visible_ascii_wherever_it_is_the_argument(llmfail, simulator, state, command, name):
    ended = llmfail.before_that("--state-dir", state)(command, name)
    assert is_refused(ended, simulator, "provider/model")
    assert "\x1b" not in ended.err


def test_the_simulator_names_a_port_that_is_none():
    done = subprocess.run(
        [sys.executable, "-m", "llmfail.simulator", "--port", "99999"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        timeout=PROCESS_TIMEOUT,
        check=False,
    )
    assert done.returncode == 2
    assert "a port is a number from 0 to 65535, got 99999" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--state-dir", "", "ask", "hello"),
        ("--state-dir=", "status"),
        ("--config", "", "ask", "hello"),
        ("ask", "hello", "-o", ""),
        ("queue", "drop", ""),
    ],
)
def test_an_empty_name_is_mostly_a_variable_that_is_not_set(llmfail, here, arguments):
    ended = (llmfail if arguments[0] != "--config" else replace(llmfail, before=()))(*arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert "empty" in ended.err
    assert list(here.iterdir()) == []
