"""The signals that ask a process to stop, and how they are made to wait."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def block_signals() -> Iterator[None]:
    """What asks this thread to stop has to wait until the block is over."""
    before: Collection[int] | None = None
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        yield
    finally:
        # One that came just before the block is told by the call that begins it, which then gives no mask.
        how, mask = (signal.SIG_UNBLOCK, STOP_SIGNALS) if before is None else (signal.SIG_SETMASK, before)
        signal.pthread_sigmask(how, mask)
