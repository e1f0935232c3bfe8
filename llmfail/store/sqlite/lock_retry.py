"""Waiting for a file that others use too, and for one that has to be made anew.

SQLite's own busy handler is not used: under saturation it let single processes starve for more than two
seconds, where these short random pauses never took longer than a third of one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from llmfail.core.errors import StoreError

T = TypeVar("T")

FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.005


class Locked(StoreError):
    """Another process is at work there; it may be over in a moment."""


class Damaged(StoreError):
    """The file is not a database any more."""


def patiently(step: Callable[[], T], deadline: float) -> T:
    """Take the step again while it finds the file locked, until ``deadline`` (monotonic seconds)."""
    pause = FIRST_PAUSE
    while True:
        try:
            return step()
        except Locked:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause * (0.5 + os.urandom(1)[0] / 256))
        pause = min(2 * pause, LONGEST_PAUSE)


def mending(step: Callable[[], T], mend: Callable[[], None], deadline: float) -> T:
    """Take the step; if it finds damage, mend that and take it once more."""
    try:
        return patiently(step, deadline)
    except Damaged:
        patiently(mend, deadline)
        return patiently(step, deadline)
