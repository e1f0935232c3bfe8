"""--deadline over what is read before anybody is asked: standard input, and files that may be pipes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, TypeVar

from llmfail.core.errors import ExitCode, LlmfailError
from llmfail.core.receipt import Failure, Receipt
from llmfail.engine.ports.ids import new_id

T = TypeVar("T")


class InputTooLate(LlmfailError):
    """The deadline passed before the input was there."""

    exit_code = ExitCode.DEADLINE_PASSED


def read_in_time(read: Callable[[], T], deadline: float | None) -> tuple[T, float | None]:
    """What ``read`` gives, and the seconds that are left then of the deadline, if there is one. Whatever it
    waits for is interrupted when the deadline passes. Raises InputTooLate.
    """
    if deadline is None:
        return read(), None
    ends_at = time.monotonic() + deadline
    before = signal.signal(signal.SIGALRM, _stop_reading)
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        value = read()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    left = ends_at - time.monotonic()
    if left <= 0:
        raise _too_late()
    return value, left


def build_late_receipt(error: InputTooLate, feature: str) -> Receipt:
    """The receipt of an ask that was never made."""
    return Receipt(new_id(), feature, error=Failure(error.exit_code, "deadline", str(error)))


def _stop_reading(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _too_late()


def _too_late() -> InputTooLate:
    return InputTooLate("the deadline passed while standard input, or a file to read, was waited for")
