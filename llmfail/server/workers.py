"""Several processes on one socket: the parent binds it and starts them, starts those anew that die, and tells
them what it is told.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0
PASSED_ON = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
HEALTHY_SECONDS = 5.0
"""A worker that lived so long has not died of its start."""


class Workers:
    """``run`` is what a worker does, by its number; it gives its exit code. ``reload`` is for those that
    begin after a SIGHUP.
    """

    def __init__(
        self, count: int, run: Callable[[int], int], reload: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        self._count = count
        self._run = run
        self._reload = reload
        self._say = say
        self._pids: dict[int, int] = {}
        self._started_at: dict[int, float] = {}
        self._starts_at = dict.fromkeys(range(count), 0.0)
        self._waits = dict.fromkeys(range(count), FIRST_WAIT_SECONDS)
        self._is_stopping = False

    def supervise(self) -> int:
        """Until all have ended after a signal; the exit code. Workers that all die at once end it with 1."""
        for number in PASSED_ON:
            signal.signal(number, self._pass_on)
        hear_reloads()
        while True:
            self._start_due()
            if self._is_stopping and not self._pids:
                return 0
            if not self._reap() and not self._is_stopping and self._is_hopeless():
                self._say("every worker ends as soon as it has begun")
                return 1
            time.sleep(0.05)

    def _start_due(self) -> None:
        now = time.monotonic()
        for index, starts_at in self._starts_at.items():
            if index not in self._pids and not self._is_stopping and now >= starts_at:
                self._start(index)

    def _start(self, index: int) -> None:
        """A signal waits until the worker is among those to which it is passed on."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        pid = os.fork()
        if pid == 0:
            self._become_worker(index)
        self._pids[index] = pid
        self._started_at[index] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _become_worker(self, index: int) -> NoReturn:
        """It hears of a reload once it can do one, and ends at once when it is told to."""
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGHUP})
        code = 1
        try:
            code = self._run(index)
        finally:
            os._exit(code)

    def _reap(self) -> bool:
        """Whether one had ended."""
        for index, pid in list(self._pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._pids[index]
                self._plan_restart(index, status)
                return True
        return False

    def _plan_restart(self, index: int, status: int) -> None:
        if self._is_stopping:
            return
        lived = time.monotonic() - self._started_at[index]
        longer = min(self._waits[index] * 2, LONGEST_WAIT_SECONDS)
        self._waits[index] = FIRST_WAIT_SECONDS if lived > HEALTHY_SECONDS else longer
        self._starts_at[index] = time.monotonic() + self._waits[index]
        self._say(f"worker {index} has ended ({_describe(status)}) and is started anew")

    def _is_hopeless(self) -> bool:
        return not self._pids and all(wait >= LONGEST_WAIT_SECONDS for wait in self._waits.values())

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload()
        else:
            self._is_stopping = True
        for pid in self._pids.values():
            os.kill(pid, number)


def hold_reloads() -> None:
    """Keep a SIGHUP for later: who cannot reload yet would die of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def hear_reloads() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit {code}"
