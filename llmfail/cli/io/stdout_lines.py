"""Standard output as a place for lines that must not be lost: it tells beforehand whether it takes one."""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llmfail.cli.io.output import encode_line, make_printable, write_stdout

RECHECK_INTERVAL = 5.0
"""Seconds between two looks whether somebody reads."""
_CLOSED_EVENTS = select.POLLERR | select.POLLHUP


class StdoutLines:
    """Raises UsageError for what is in the way of a line."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(sys.stdout.fileno(), select.POLLOUT)

    def ready(self, max_wait: float) -> bool:
        """Whether a line would be taken now, or within ``max_wait`` seconds. Raises BrokenPipeError when the
        reader has gone.
        """
        found = self._poll.poll(max_wait * 1000)
        if any(events & _CLOSED_EVENTS for _, events in found):
            raise BrokenPipeError
        return bool(found)

    def write(self, line: str, meanwhile: Callable[[], object]) -> None:
        """The whole line, in parts that a pipe takes at once when it takes anything. ``meanwhile`` is called
        now and then while it takes nothing.
        """
        data = encode_line(make_printable(line) if sys.stdout.isatty() else line)
        for start in range(0, len(data), select.PIPE_BUF):
            while not self.ready(RECHECK_INTERVAL):
                meanwhile()
            write_stdout(data[start : start + select.PIPE_BUF])


@contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """A closed pipe ends the program as it ends other Unix tools, but once everything is in order."""
    try:
        yield
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
