"""A program that answers where no model does: the prompt on its standard input, the answer on its standard
output.

No shell, and no jail either: the program is the user's own and runs with our environment, in the directory of
the configuration. It is a session of its own, so that it can be ended together with all that it started, and
so that Ctrl-C is ours alone. Listening ends with the program, not with its pipes: what it leaves running may
keep those open for ever.

May be called in any thread. The conversation has a thread of its own, which is gone when ``run`` is: what a
signal handler raises comes into the main thread, where it could fall between the start of a program and the
moment at which we know its number.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from llmfail.core.errors import CommandFailed
from llmfail.core.one_line import one_line

if TYPE_CHECKING:
    from subprocess import Popen
    from threading import Event

MAX_ANSWER_BYTES = 10_000_000
"""Bytes of an answer."""
_MAX_ERROR_BYTES = 4_000
"""Bytes of standard error that are kept, for its last line."""
_CHUNK_BYTES = 1 << 16
_POLL_SECONDS = 0.05
"""Seconds after which a silent program is looked at: it may have ended and left its pipes to others."""
_KILL_WAIT_SECONDS = 5.0
"""Seconds that a killed program gets to be gone. One that became another user's is not ours to kill."""


class _NoAnswer(Exception):
    """Why there is no answer: the predicate of a sentence about the program."""


class _TimeLimit:
    """Until when a program may take: some seconds from now, or until the caller gives up."""

    def __init__(self, seconds: float, given_up: Event) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._given_up = given_up

    def compute_poll_wait(self) -> float:
        """Seconds. Raises _Failed when the time is over."""
        left = self._ends_at - time.monotonic()
        if left <= 0 or self._given_up.is_set():
            raise _NoAnswer(f"was not done within {self._seconds:g} s")
        return min(left, _POLL_SECONDS)


class _ProgramOutput:
    """What a program writes: all of its answer, and the end of its standard error."""

    def __init__(self) -> None:
        self.answer = bytearray()
        self.errors = bytearray()

    def add_answer(self, chunk: bytes) -> None:
        self.answer += chunk
        if len(self.answer) > MAX_ANSWER_BYTES:
            raise _NoAnswer(f"printed more than {MAX_ANSWER_BYTES // 1_000_000} MB")

    def add_errors(self, chunk: bytes) -> None:
        self.errors += chunk
        del self.errors[:-_MAX_ERROR_BYTES]

    @property
    def last_error_line(self) -> str:
        lines = self.errors.decode("utf-8", "replace").splitlines()
        return next(filter(None, map(one_line, reversed(lines))), "")


def run(argv: Sequence[str], text: str, timeout: float, directory: Path) -> str:
    """What the program makes of the text, without the newlines at its end. Raises CommandFailed when it
    cannot be run, is not done within ``timeout`` seconds, fails, or prints anything but some text in UTF-8.
    """
    from concurrent.futures import ThreadPoolExecutor, wait
    from threading import Event

    if not argv:
        raise CommandFailed("the command is empty: it begins with the name of a program")
    given_up = Event()
    limit = _TimeLimit(timeout, given_up)
    with ThreadPoolExecutor(1, thread_name_prefix="llmfail-command") as aside:
        aside.submit(bool)  # makes the thread, which is waited for from now on wherever we are stopped
        try:
            answer = aside.submit(_ask_program, argv, text, limit, directory)
            while not answer.done():  # a signal may come to the other thread, or just before the wait
                wait((answer,), _POLL_SECONDS)
            return answer.result()
        finally:
            given_up.set()


def _ask_program(argv: Sequence[str], text: str, time_limit: _TimeLimit, directory: Path) -> str:
    heard = _ProgramOutput()
    try:
        time_limit.compute_poll_wait()
        process = _start_program(argv, directory)
        try:
            _exchange_data(process, text.encode("utf-8", "replace"), heard, time_limit)
        finally:
            _close_program(process)
        return _decode_answer(process.returncode, heard.answer)
    except OSError as error:
        reason = f"cannot be run in {directory}: {(error.strerror or str(error)).lower()}"
    except _NoAnswer as failed:
        reason = str(failed)
    last = f": {heard.last_error_line}" if heard.last_error_line else ""
    raise CommandFailed(f"{one_line(argv[0])} {reason}{last}")


def _start_program(argv: Sequence[str], directory: Path) -> Popen[bytes]:
    """A name with a slash is looked for in the directory, since it is there that the program begins."""
    from signal import SIG_SETMASK, SIG_UNBLOCK, SIGPIPE, pthread_sigmask
    from subprocess import PIPE, Popen

    before = pthread_sigmask(SIG_UNBLOCK, {SIGPIPE})  # which a program expects, and this thread need not
    try:
        return Popen(  # noqa: S603 - the argv is the user's own, and no shell sees it
            argv, bufsize=0, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=directory, start_new_session=True
        )
    except ValueError as error:
        raise _NoAnswer(f"cannot be run: {error}") from None
    finally:
        pthread_sigmask(SIG_SETMASK, before)


def _close_program(process: Popen[bytes]) -> None:
    """Nothing of it is left. What a program that ended by itself leaves running is its own affair."""
    for pipe in _pipes_of(process):
        pipe.close()
    if process.returncode is None:
        _kill_program(process)


def _kill_program(process: Popen[bytes]) -> None:
    """With everything that it started, as far as that did not go away into a session of its own."""
    from signal import SIGKILL
    from subprocess import TimeoutExpired

    with suppress(OSError):
        os.killpg(process.pid, SIGKILL)
    with suppress(TimeoutExpired):
        process.wait(_KILL_WAIT_SECONDS)


def _exchange_data(
    process: Popen[bytes], text: bytes, output: _ProgramOutput, time_limit: _TimeLimit
) -> None:
    """Until the program has ended and all that it wrote is heard. Raises _Failed."""
    from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

    stdin, stdout, stderr = _pipes_of(process)
    duties = (
        (stdin, EVENT_WRITE, partial(_write_some, stdin, bytearray(text))),
        (stdout, EVENT_READ, partial(_read_some, stdout, output.add_answer)),
        (stderr, EVENT_READ, partial(_read_some, stderr, output.add_errors)),
    )
    with DefaultSelector() as selector:
        for pipe, event, duty in duties:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, event, (pipe, duty))
        while selector.get_map() and process.poll() is None:
            for key, _ in selector.select(time_limit.compute_poll_wait()):
                pipe, duty = key.data
                if not duty():
                    selector.unregister(pipe)
                    pipe.close()
    _await_end(process, time_limit)
    for pipe, take in ((stdout, output.add_answer), (stderr, output.add_errors)):
        if not pipe.closed:
            _read_some(pipe, take, MAX_ANSWER_BYTES + 1)


def _write_some(pipe: IO[bytes], pending: bytearray) -> bool:
    """Whether there is more to say. Nobody has to listen to the end."""
    try:
        del pending[: os.write(pipe.fileno(), pending)]
    except BlockingIOError:
        return True
    except BrokenPipeError:
        return False
    return bool(pending)


def _read_some(pipe: IO[bytes], take: Callable[[bytes], None], max_bytes: int = _CHUNK_BYTES) -> bool:
    """Whether there may be more to hear."""
    try:
        chunk = os.read(pipe.fileno(), max_bytes)
    except BlockingIOError:
        return True
    take(chunk)
    return bool(chunk)


def _await_end(process: Popen[bytes], time_limit: _TimeLimit) -> None:
    """A program may close its pipes long before its end."""
    from subprocess import TimeoutExpired

    while process.returncode is None:
        with suppress(TimeoutExpired):
            process.wait(time_limit.compute_poll_wait())


def _pipes_of(process: Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr


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
