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


class FileLocked(StoreError):
    """Another process is using the file; the lock may be free in a moment."""


class FileDamaged(StoreError):
    """The file is not a database any more."""


def retry_while_locked(step: Callable[[], T], deadline: float) -> T:
    """Repeat the step while it finds the file locked, until ``deadline`` (monotonic seconds)."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return step()
        except FileLocked:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause * (0.5 + os.urandom(1)[0] / 256))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def repair_and_retry(step: Callable[[], T], repair: Callable[[], None], deadline: float) -> T:
    """Run the step; when the file is damaged, repair it and run the step once more."""
    try:
        return retry_while_locked(step, deadline)
    except FileDamaged:
        retry_while_locked(repair, deadline)
        return retry_while_locked(step, deadline)
