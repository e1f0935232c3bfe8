"""The signals that ask a command to stop, and how it stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

SETTLE_TIMEOUT = 3.0
"""Seconds within which a process that was asked to stop has settled what it did."""


class Interrupted(BaseException):
    """A signal asks to stop. Calls under way are settled on the way out."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__()


def stop_signals() -> list[signal.Signals]:
    """The signals that ask to stop, without those that nohup and the shell's background jobs ignore."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]


def raise_on_stop_signals() -> None:
    """From now on a signal that asks to stop raises Interrupted in the main thread."""
    _handle_stop_signals(_interrupt)


def _handle_stop_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in stop_signals():
        signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """A second signal is ignored until what has to be written may have been written."""
    stopped_at = time.monotonic()

    def ignore_until_settled(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() > stopped_at + SETTLE_TIMEOUT:
            raise Interrupted(number)

    _handle_stop_signals(ignore_until_settled)
    raise Interrupted(number)
