"""A program that answers where no model does: the prompt on its standard input, the answer on its standard
output.

The program runs without a shell, with the environment of llmfail, in the directory of the configuration. It
leads a session of its own: it can be killed together with all that it started, and Ctrl-C does not reach it.

The prompt is a temporary file: nothing has to be written while the program runs. The output comes through
pipes, because a file would have two faults: a process that the program leaves running could fill the disk
unseen, and ``> /dev/stdout`` in a script would truncate what was printed before. Reading ends with the
program, not with its pipes, which such a process may keep open for ever.

``run`` may be called in any thread. It starts the program in a second thread, which has ended when ``run``
returns: an exception from a signal handler is raised in the main thread, where it could come between the
start of a program and the moment at which its process id is known.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmfail.core.errors import CommandFailed
from llmfail.core.one_line import one_line

if TYPE_CHECKING:
    from subprocess import Popen
    from threading import Event

MAX_ANSWER_BYTES = 10_000_000
_MAX_ERROR_BYTES = 4_000
"""Bytes of standard error that are kept, for its last line."""
_CHUNK_BYTES = 1 << 20
"""Bytes that one read takes: all that a pipe holds."""
_POLL_SECONDS = 0.05
"""Seconds between two looks at a silent program: it may have ended and left its pipes to others."""
_KILL_WAIT_SECONDS = 5.0
"""Seconds that a killed program gets to end. One that became another user's cannot be killed."""


class _NoAnswer(Exception):
    """Why there is no answer: the predicate of a sentence about the program."""


def run(argv: Sequence[str], text: str, timeout: float, directory: Path) -> str:
    """What the program makes of the text, without the newlines at its end. Raises CommandFailed when it
    cannot be run, is not done within ``timeout`` seconds, fails, or prints anything but some text in UTF-8.
    """
    from concurrent.futures import ThreadPoolExecutor, wait
    from threading import Event

    if not argv:
        raise CommandFailed("the command is empty: it begins with the name of a program")
    ends_at = time.monotonic() + timeout
    must_stop = Event()
    with ThreadPoolExecutor(1, thread_name_prefix="llmfail-command") as executor:
        executor.submit(bool)  # makes the thread: from here on the end of the block waits for it
        try:
            answer = executor.submit(_ask_program, argv, text, timeout, directory, must_stop)
            # In short steps: a signal may come to the other thread, or just before the wait.
            while not answer.done() and (left := ends_at - time.monotonic()) > 0:
                wait((answer,), min(left, _POLL_SECONDS))
        finally:
            must_stop.set()
        return answer.result()


def _ask_program(argv: Sequence[str], text: str, timeout: float, directory: Path, must_stop: Event) -> str:
    from tempfile import TemporaryFile

    answer, errors = bytearray(), bytearray()
    try:
        with TemporaryFile() as prompt:
            prompt.write(text.encode("utf-8", "replace"))
            prompt.seek(0)
            process = _start_program(argv, directory, prompt)
        try:
            if not _read_output(process, answer, errors, must_stop):
                raise _NoAnswer(f"was not done within {timeout:g} s")
        finally:
            _close_program(process)
        return _decode_answer(process.returncode, answer)
    except OSError as error:
        reason = f"cannot be run in {directory}: {(error.strerror or str(error)).lower()}"
    except _NoAnswer as failed:
        reason = str(failed)
    lines = errors.decode("utf-8", "replace").splitlines()
    last = next(filter(None, map(one_line, reversed(lines))), "")
    raise CommandFailed(f"{one_line(argv[0])} {reason}{last and f': {last}'}")


def _start_program(argv: Sequence[str], directory: Path, prompt: IO[bytes]) -> Popen[bytes]:
    """Start it in the directory, where a name with a slash is looked for too."""
    from signal import SIG_SETMASK, SIG_UNBLOCK, SIGPIPE, pthread_sigmask
    from subprocess import PIPE, Popen

    before = pthread_sigmask(SIG_UNBLOCK, {SIGPIPE})  # the program inherits the mask, and expects the signal
    try:
        return Popen(  # noqa: S603 - the argv is the user's own, and no shell sees it
            argv, stdin=prompt, stdout=PIPE, stderr=PIPE, cwd=directory, start_new_session=True
        )
    except ValueError as error:
        raise _NoAnswer(f"cannot be run: {error}") from None
    finally:
        pthread_sigmask(SIG_SETMASK, before)


def _read_output(process: Popen[bytes], answer: bytearray, errors: bytearray, must_stop: Event) -> bool:
    """Read all of the answer and the end of standard error. False when told to stop before the end."""
    from selectors import EVENT_READ, DefaultSelector
    from subprocess import TimeoutExpired

    with DefaultSelector() as selector:
        for pipe, output in ((process.stdout, answer), (process.stderr, errors)):
            assert pipe is not None
            selector.register(pipe, EVENT_READ, output)
        while not must_stop.is_set():
            has_ended = process.poll() is not None  # all that it printed is in the pipes by now
            for key, _ in selector.select(0 if has_ended else _POLL_SECONDS):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                key.data.extend(chunk)
                if not chunk:
                    selector.unregister(key.fd)
            del errors[:-_MAX_ERROR_BYTES]
            if len(answer) > MAX_ANSWER_BYTES:
                raise _NoAnswer(f"printed more than {MAX_ANSWER_BYTES // 1_000_000} MB")
            if has_ended:
                return True
            if not selector.get_map():  # it closed its pipes, and ends at once as a rule
                with suppress(TimeoutExpired):
                    process.wait(_POLL_SECONDS)
    return False


def _close_program(process: Popen[bytes]) -> None:
    """Close its pipes, and kill it when it runs, with all that it started in its session. What a program that
    ended by itself left running is not killed.
    """
    from signal import SIGKILL
    from subprocess import TimeoutExpired

    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    if process.returncode is None:
        with suppress(OSError):
            os.killpg(process.pid, SIGKILL)
        with suppress(TimeoutExpired):
            process.wait(_KILL_WAIT_SECONDS)


def _decode_answer(code: int, output: bytearray) -> str:
    if code:
        raise _NoAnswer(f"exited with {code}" if code > 0 else f"was killed by signal {-code}")
    try:
        text = output.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _NoAnswer(f"printed what is not UTF-8 text (byte {error.start})") from None
    if not text.strip():
        raise _NoAnswer("printed nothing")
    return text.rstrip("\r\n")
