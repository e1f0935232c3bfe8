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

LARGEST = 10_000_000
"""Bytes of an answer."""
_TAIL = 4_000
"""Bytes of standard error that are kept, for its last line."""
_CHUNK = 1 << 16
_LOOK = 0.05
"""Seconds after which a silent program is looked at: it may have ended and left its pipes to others."""
_DYING = 5.0
"""Seconds that a killed program gets to be gone. One that became another user's is not ours to kill."""


class _Failed(Exception):
    """Why there is no answer: the predicate of a sentence about the program."""


class _Limit:
    """Until when a program may take: some seconds from now, or until the caller gives up."""

    def __init__(self, seconds: float, given_up: Event) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._given_up = given_up

    def next_look(self) -> float:
        """Seconds. Raises _Failed when the time is over."""
        left = self._ends_at - time.monotonic()
        if left <= 0 or self._given_up.is_set():
            raise _Failed(f"was not done within {self._seconds:g} s")
        return min(left, _LOOK)


class _Heard:
    """What a program writes: all of its answer, and the end of its standard error."""

    def __init__(self) -> None:
        self.answer = bytearray()
        self.errors = bytearray()

    def hear_answer(self, chunk: bytes) -> None:
        self.answer += chunk
        if len(self.answer) > LARGEST:
            raise _Failed(f"printed more than {LARGEST // 1_000_000} MB")

    def hear_errors(self, chunk: bytes) -> None:
        self.errors += chunk
        del self.errors[:-_TAIL]

    @property
    def last_words(self) -> str:
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
    limit = _Limit(timeout, given_up)
    with ThreadPoolExecutor(1, thread_name_prefix="llmfail-command") as aside:
        aside.submit(bool)  # makes the thread, which is waited for from now on wherever we are stopped
        try:
            answer = aside.submit(_asked, argv, text, limit, directory)
            while not answer.done():  # a signal may come to the other thread, or just before the wait
                wait((answer,), _LOOK)
            return answer.result()
        finally:
            given_up.set()


def _asked(argv: Sequence[str], text: str, limit: _Limit, directory: Path) -> str:
    heard = _Heard()
    try:
        limit.next_look()
        process = _start(argv, directory)
        try:
            _converse(process, text.encode("utf-8", "replace"), heard, limit)
        finally:
            _end(process)
        return _answer(process.returncode, heard.answer)
    except OSError as error:
        reason = f"cannot be run in {directory}: {(error.strerror or str(error)).lower()}"
    except _Failed as failed:
        reason = str(failed)
    last = f": {heard.last_words}" if heard.last_words else ""
    raise CommandFailed(f"{one_line(argv[0])} {reason}{last}")


def _start(argv: Sequence[str], directory: Path) -> Popen[bytes]:
    """A name with a slash is looked for in the directory, since it is there that the program begins."""
    from signal import SIG_SETMASK, SIG_UNBLOCK, SIGPIPE, pthread_sigmask
    from subprocess import PIPE, Popen

    before = pthread_sigmask(SIG_UNBLOCK, {SIGPIPE})  # which a program expects, and this thread need not
    try:
        return Popen(  # noqa: S603 - the argv is the user's own, and no shell sees it
            argv, bufsize=0, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=directory, start_new_session=True
        )
    except ValueError as error:
        raise _Failed(f"cannot be run: {error}") from None
    finally:
        pthread_sigmask(SIG_SETMASK, before)


def _end(process: Popen[bytes]) -> None:
    """Nothing of it is left. What a program that ended by itself leaves running is its own affair."""
    for pipe in _pipes(process):
        pipe.close()
    if process.returncode is None:
        _kill(process)


def _kill(process: Popen[bytes]) -> None:
    """With everything that it started, as far as that did not go away into a session of its own."""
    from signal import SIGKILL
    from subprocess import TimeoutExpired

    with suppress(OSError):
        os.killpg(process.pid, SIGKILL)
    with suppress(TimeoutExpired):
        process.wait(_DYING)


def _converse(process: Popen[bytes], text: bytes, heard: _Heard, limit: _Limit) -> None:
    """Until the program has ended and all that it wrote is heard. Raises _Failed."""
    from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

    stdin, stdout, stderr = _pipes(process)
    duties = (
        (stdin, EVENT_WRITE, partial(_say, stdin, bytearray(text))),
        (stdout, EVENT_READ, partial(_hear, stdout, heard.hear_answer)),
        (stderr, EVENT_READ, partial(_hear, stderr, heard.hear_errors)),
    )
    with DefaultSelector() as selector:
        for pipe, event, duty in duties:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, event, (pipe, duty))
        while selector.get_map() and process.poll() is None:
            for key, _ in selector.select(limit.next_look()):
                pipe, duty = key.data
                if not duty():
                    selector.unregister(pipe)
                    pipe.close()
    _await_end(process, limit)
    for pipe, take in ((stdout, heard.hear_answer), (stderr, heard.hear_errors)):
        if not pipe.closed:
            _hear(pipe, take, LARGEST + 1)


def _say(pipe: IO[bytes], pending: bytearray) -> bool:
    """Whether there is more to say. Nobody has to listen to the end."""
    try:
        del pending[: os.write(pipe.fileno(), pending)]
    except BlockingIOError:
        return True
    except BrokenPipeError:
        return False
    return bool(pending)


def _hear(pipe: IO[bytes], take: Callable[[bytes], None], most: int = _CHUNK) -> bool:
    """Whether there may be more to hear."""
    try:
        chunk = os.read(pipe.fileno(), most)
    except BlockingIOError:
        return True
    take(chunk)
    return bool(chunk)


def _await_end(process: Popen[bytes], limit: _Limit) -> None:
    """A program may close its pipes long before its end."""
    from subprocess import TimeoutExpired

    while process.returncode is None:
        with suppress(TimeoutExpired):
            process.wait(limit.next_look())


def _pipes(process: Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr


def _answer(code: int, output: bytearray) -> str:
    if code:
        raise _Failed(f"exited with {code}" if code > 0 else f"was killed by signal {-code}")
    try:
        text = output.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Failed(f"printed what is not UTF-8 text (byte {error.start})") from None
    if not text.strip():
        raise _Failed("printed nothing")
    return text.rstrip("\r\n")
