"""Waiting for a file that other processes use too, and for one that has to be made anew.

SQLite's own busy handler is not used: under load it let single processes wait for more than two seconds,
where these short random pauses never took longer than a third of a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from llmfail.core.errors import StoreError

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.0005
LONGEST_PAUSE_SECONDS = 0.005
LONGEST_STEP_SECONDS = 0.5
"""A step that took longer: this process was stopped or starved, which says nothing of the file."""
MAX_BUSY_TIMEOUTS = 10
"""A file that others keep writing is waited for at most so many times as long as one that is locked."""


class FileLocked(StoreError):
    """Another process is using the file; the lock may be free in a moment."""


class FileDamaged(StoreError):
    """The file is not a database any more."""


class LockPatience:
    """How long one piece of work waits for a file: ``timeout`` seconds since it began, or since
    ``last_progress``, the moment at which others were last seen to get on. While they do, the file is busy
    and not out of order. Moments and durations are in monotonic seconds.
    """

    def __init__(
        self, timeout: float, last_progress: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._last_progress = last_progress
        self._begun_at = self._looked_at = clock()

    def seconds_left(self) -> float:
        """To be asked after each step."""
        now = self._clock()
        self._begun_at += max(now - self._looked_at - LONGEST_STEP_SECONDS, 0.0)
        self._looked_at = now
        ends_at = max(self._begun_at, self._last_progress()) + self._timeout
        return min(ends_at, self._begun_at + MAX_BUSY_TIMEOUTS * self._timeout) - now


def retry_while_locked(step: Callable[[], T], patience: LockPatience) -> T:
    """Repeat the step while it finds the file locked and there is patience left."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return step()
        except FileLocked:
            if patience.seconds_left() <= pause:
                raise
        time.sleep(pause * (0.5 + os.urandom(1)[0] / 256))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def repair_and_retry(step: Callable[[], T], repair: Callable[[], None], patience: LockPatience) -> T:
    """Run the step; when the file is damaged, repair it and run the step once more."""
    try:
        return retry_while_locked(step, patience)
    except FileDamaged:
        retry_while_locked(repair, patience)
        return retry_while_locked(step, patience)
