"""A command that answers: real programs, good and bad. What must not happen here is that anything hangs."""

import os
import re
import select
import signal
import sys
import threading
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest

from llmfail.core.errors import CommandFailed
from llmfail.subprocess_answer import MAX_ANSWER_BYTES, run

PATIENCE = 10
"""Seconds that no test should come near."""
SHORT = 0.2
"""A limit that is meant to be reached."""


@pytest.fixture
def program(tmp_path):
    """Write a script; what comes back is its path."""

    def program(text, interpreter="/bin/sh"):
        path = tmp_path / "program"
        path.write_text(f"#!{interpreter}\n{dedent(text)}")
        path.chmod(0o755)
        return str(path)

    return program


@pytest.fixture
def python(program):
    return lambda text: program(text, sys.executable)


@pytest.fixture
def answer(tmp_path):
    def answer(*argv, prompt="prompt", timeout=PATIENCE):
        return run(argv, prompt, timeout, tmp_path)

    return answer


@pytest.fixture
def failure(answer):
    """The one line that says why there is no answer."""

    def failure(*argv, **options):
        with pytest.raises(CommandFailed) as failed:
            answer(*argv, **options)
        assert "\n" not in str(failed.value)
        return str(failed.value).removeprefix(f"{argv[0]} ")

    return failure


@pytest.fixture
def all_are_gone(tmp_path):
    """A pipe at ``alive`` that programs may keep open, and a way to wait until none does."""
    path = tmp_path / "alive"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)

    def all_are_gone():
        os.close(writer)
        return bool(select.select([reader], [], [], PATIENCE)[0]) and os.read(reader, 1) == b""

    yield all_are_gone
    os.close(reader)


def nothing_is_left(before):
    """No zombie of ours, no thread, no descriptor. Servers of earlier tests may be running children of this
    process, and what they have may come and go.
    """
    with suppress(ChildProcessError):
        assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ends_at = time.monotonic() + 5
    while not (is_so := all(now <= then for now, then in zip(traces(), before, strict=True))):
        if time.monotonic() > ends_at:
            break
        time.sleep(0.01)
    return is_so


def traces():
    return threading.active_count(), len(list(Path("/dev/fd").iterdir()))


def test_the_prompt_goes_in_and_the_answer_comes_out_without_its_last_newlines(answer, program):
    before = traces()
    assert answer(program("tr a-z A-Z; echo; echo"), prompt="one\n\ntwo ß") == "ONE\n\nTWO ß"
    assert nothing_is_left(before)


def test_a_large_prompt_comes_back_whole(answer, program):
    prompt = "äöü\n" * 500_000 + "end"
    assert answer(program("cat"), prompt=prompt) == prompt


@pytest.mark.parametrize("text", ["echo answer", "exec <&-; echo answer", "head -c 1 >&2; echo answer"])
def test_nobody_has_to_read_a_large_prompt(answer, program, text):
    assert answer(program(text), prompt="x" * 1_000_000) == "answer"


def test_what_was_printed_before_a_script_opens_its_output_again_is_kept(answer, program):
    assert answer(program("echo one; echo two >/dev/stdout; echo three")) == "one\ntwo\nthree"


def test_a_prompt_that_is_empty_ends_at_once(answer, program):
    assert answer(program("cat; echo answer"), prompt="") == "answer"


def test_halves_of_surrogate_pairs_become_question_marks(answer, program):
    assert answer(program("cat"), prompt="a\ud800b") == "a?b"


def test_a_byte_order_mark_is_no_part_of_the_answer(answer, program):
    assert answer(program(r"printf '\357\273\277answer\r\n'")) == "answer"


ARGUMENTS = ["two words", "'", '"', "$HOME", "`id`", "; echo no", "*", "\\", "", "-n", "line\nbreak", "ä"]


def test_no_shell_interprets_the_arguments(answer, python):
    path = python("import sys; print(sys.argv[1:])")
    assert answer(path, *ARGUMENTS) == repr(ARGUMENTS)


def test_a_path_is_relative_to_the_directory_which_is_where_the_program_runs(program, tmp_path):
    (tmp_path / "inner").mkdir()
    program("pwd -P")
    assert run(["./program"], "", PATIENCE, tmp_path) == str(tmp_path.resolve())
    assert run(["../program"], "", PATIENCE, tmp_path / "inner") == str((tmp_path / "inner").resolve())


def test_a_name_without_a_slash_is_looked_for_on_the_path_alone(program, failure, answer):
    program("echo wrong")
    assert failure("program").endswith("no such file or directory")
    assert answer("echo", "right") == "right"


ENDINGS = {
    "exit 3": ("exit 3", "exited with 3"),
    "with last words": ("echo first >&2; echo last >&2; echo >&2; exit 3", "exited with 3: last"),
    "with an answer": ("echo answer; exit 1", "exited with 1"),
    "killed": ("echo last >&2; kill -9 $$", "was killed by signal 9: last"),
    "ended": ("kill -TERM $$", "was killed by signal 15"),
    "a closed pipe": ("kill -PIPE $$", "was killed by signal 13"),
    "nothing": ("cat >/dev/null", "printed nothing"),
    "nothing but space": (r"printf ' \n\t\n'; echo why >&2", "printed nothing: why"),
    "bytes": (r"printf 'ok\377'", "printed what is not UTF-8 text (byte 2)"),
    "a cut character": (r"printf '\303'", "printed what is not UTF-8 text (byte 0)"),
}


@pytest.mark.parametrize(("text", "said"), ENDINGS.values(), ids=ENDINGS)
def test_what_is_no_answer_is_told_in_one_line(failure, program, text, said):
    before = traces()
    assert failure(program(text)) == said
    assert nothing_is_left(before)


def test_last_words_are_printable_and_short(failure, program):
    said = failure(program(r"printf '\033[31mred\377\007' >&2; printf '%0300d' 0 >&2; exit 1"))
    words = said.removeprefix("exited with 1: ")
    assert words.startswith("[31mred�000")
    assert words.isprintable()
    assert len(words) == 200


def test_a_program_may_complain_as_much_as_it_likes_and_little_of_it_is_kept(answer, python):
    text = """\
        import sys
        for _ in range(100):
            sys.stderr.write("x" * 100_000 + "\\n")
        print("answer")
    """
    tracemalloc.start()
    assert answer(python(text)) == "answer"
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


CHATTER = "import sys\nsys.stdin.close()\nwhile True: {}.write('x' * 1_000_000)"


def test_eleven_megabytes_are_no_answer(failure, python, all_are_gone):
    before = traces()
    text = "import sys\nalive = open('alive', 'w')\nsys.stdout.write('x' * 11_000_000)"
    assert failure(python(text)) == "printed more than 10 MB"
    assert nothing_is_left(before)
    assert all_are_gone()


def test_ten_megabytes_are(answer, python):
    assert len(answer(python(f"print('x' * {MAX_ANSWER_BYTES - 1})"))) == MAX_ANSWER_BYTES - 1


def test_a_program_that_never_stops_answering_is_stopped(failure, python):
    assert failure(python(CHATTER.format("sys.stdout"))) == "printed more than 10 MB"


def test_a_program_that_never_stops_complaining_is_stopped(failure, python):
    assert failure(python(CHATTER.format("sys.stderr")), timeout=2).startswith("was not done within 2 s: xxx")


LINGERING = {
    "it sleeps": "exec 3>alive; sleep 1000",
    "it waits for another": "exec 3>alive; sleep 1000 & wait",
    "it closed its pipes": "exec 3>alive; exec >&- 2>&- <&-; sleep 1000",
    "it does not listen": "exec 3>alive; trap '' TERM HUP INT PIPE; sleep 1000 & sleep 1000",
    "it has answered": "exec 3>alive; echo answer; sleep 1000",
}


@pytest.mark.parametrize("text", LINGERING.values(), ids=LINGERING)
def test_what_is_not_done_in_time_is_killed_with_all_that_it_started(failure, program, all_are_gone, text):
    before = traces()
    assert failure(program(text), timeout=SHORT) == "was not done within 0.2 s"
    assert nothing_is_left(before)
    assert all_are_gone()


BACKGROUND = {
    "all pipes": "echo answer; sleep 1000 &",
    "standard output": "echo answer; sleep 1000 2>/dev/null </dev/null &",
    "standard error": "echo answer; sleep 1000 >/dev/null &",
    "a session of its own": "echo answer; setsid sleep 1000 &",
    "and writes": "echo answer; while :; do echo more >&2; done &",
}


@pytest.mark.parametrize("text", BACKGROUND.values(), ids=BACKGROUND)
def test_an_answer_does_not_wait_for_what_the_program_leaves_running(answer, program, tmp_path, text):
    before = traces()
    try:
        path = program(f"{text}\necho $! > left")
        assert answer(path, prompt="x" * 1_000_000) == "answer"
        assert nothing_is_left(before)
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("text", ["exit 3", "exit 0"])
def test_a_failure_does_not_wait_for_it_either(failure, program, tmp_path, text):
    try:
        assert failure(program(f"sleep 1000 &\necho $! > left\n{text}"))
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)


STARTS = {
    "not there": ("./none", "no such file or directory"),
    "a directory": ("./inner", "permission denied"),
    "not executable": ("./plain", "permission denied"),
}


@pytest.mark.parametrize(("name", "said"), STARTS.values(), ids=STARTS)
def test_what_cannot_be_started_is_told_with_its_directory(failure, tmp_path, name, said):
    before = traces()
    (tmp_path / "inner").mkdir()
    (tmp_path / "plain").write_text("#!/bin/sh\necho answer")
    assert failure(name).strip() == f"cannot be run in {tmp_path}: {said}"
    assert nothing_is_left(before)


def test_a_script_that_does_not_say_what_runs_it_is_no_program(failure, tmp_path):
    (tmp_path / "script").write_text("echo answer\n")
    (tmp_path / "script").chmod(0o755)
    assert failure("./script").endswith("exec format error")


def test_an_interpreter_that_is_not_there_is_told(failure, program):
    assert failure(program("", "/none/such")).endswith("no such file or directory")


@pytest.mark.parametrize("argv", [("a\0b",), ("echo", "a\0b"), ("echo", "\ud800")])
def test_an_argument_that_no_program_can_be_given_is_told(failure, argv):
    assert "cannot be run: " in failure(*argv)


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandFailed, match=r"cannot be run in .*/gone: no such file or directory"):
        run(["echo", "x"], "", PATIENCE, tmp_path / "gone")


def test_a_command_without_a_name_is_told(tmp_path):
    with pytest.raises(CommandFailed, match="the command is empty"):
        run([], "", PATIENCE, tmp_path)


def test_the_name_of_a_command_is_printable(tmp_path):
    with pytest.raises(CommandFailed, match=re.escape("[2Jnone cannot be run in ")):
        run(["\x1b[2Jnone"], "", PATIENCE, tmp_path)


class Stopped(BaseException):
    pass


@pytest.fixture
def stopping():
    """SIGUSR1 stops what runs in this thread."""

    def stop(number, frame):
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    yield
    signal.signal(signal.SIGUSR1, before)


INTERRUPTED = {
    "while it reads": "sleep 1000 & kill -USR1 $PPID; wait",
    "while it writes": "kill -USR1 $PPID; yes",
    "when it has closed its pipes": "exec >&- 2>&- <&-; sleep 1000 & kill -USR1 $PPID; wait",
}


@pytest.mark.parametrize("text", INTERRUPTED.values(), ids=INTERRUPTED)
def test_whoever_is_stopped_leaves_no_program_behind(answer, program, all_are_gone, stopping, text):
    before = traces()
    with pytest.raises(Stopped):
        answer(program(f"exec 3>alive\n{text}"), prompt="x" * 1_000_000, timeout=1000)
    assert nothing_is_left(before)
    assert all_are_gone()


def test_ctrl_c_at_the_terminal_is_not_the_programs(answer, python):
    path = python("import os; print(os.getsid(0) == os.getpgid(0) == os.getpid())")
    assert answer(path) == "True"


def test_many_threads_may_ask_at_once_and_none_keeps_anothers_pipes_open(program, tmp_path):
    before = traces()
    path = program("sleep 0.01; cat")
    answers = {}

    def ask(number):
        answers[number] = run([path], f"{number}\n" * 20_000, PATIENCE, tmp_path)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == {number: (f"{number}\n" * 20_000).rstrip("\n") for number in range(8)}
    assert nothing_is_left(before)


def test_it_is_imported_without_what_it_takes_to_start_a_program():
    heavy = "{'subprocess', 'selectors', 'signal'}"
    text = f"import sys, llmfail.subprocess_answer; assert not {heavy} & set(sys.modules)"
    environ = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    assert os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", text], {**os.environ, **environ}) == 0
