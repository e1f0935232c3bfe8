"""Keys that somebody presses while something is watched, each known at once and not shown."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def read_keys() -> Iterator[Callable[[str, float], bool]]:
    """A function that waits so many seconds for a key, and tells whether it was pressed. Where standard input
    is no terminal it only waits.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        yield _sleep
        return
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    try:
        yield lambda key, seconds: _wait_for_key(file, key, seconds)
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _sleep(_key: str, seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _wait_for_key(file: int, key: str, seconds: float) -> bool:
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        if select.select([file], [], [], left)[0]:
            pressed = os.read(file, 1)
            if not pressed:  # a terminal that is gone
                return True
            if pressed.lower() == key.encode():
                return True
    return False
