"""Standard output as a place for lines that must not be lost: it tells beforehand whether it takes one."""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from llmfail.cli.output import emit

_GONE = select.POLLERR | select.POLLHUP


class Lines:
    """Raises UsageError for what is in the way of a line."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(sys.stdout.fileno(), select.POLLOUT)

    def ready(self, patience: float) -> bool:
        """Whether a line would be taken now, or within so many seconds. Raises BrokenPipeError when nobody
        reads any more.
        """
        found = self._poll.poll(patience * 1000)
        if any(events & _GONE for _, events in found):
            raise BrokenPipeError
        return bool(found)

    def write(self, line: str) -> None:
        emit(line)


@contextmanager
def quietly_ended() -> Iterator[None]:
    """A closed pipe ends the program as it ends other Unix tools, but once everything is in order."""
    try:
        yield
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
