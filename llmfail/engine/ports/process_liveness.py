"""Who runs here, and whether somebody who ran here still does: so that nobody waits for the dead."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path


class ProcessIdentity:
    """This process, and a look at others. Of another machine, or of a container with processes of its own,
    nothing is known.
    """

    @cached_property
    def _host(self) -> str:
        return f"{os.uname().nodename} {_read_link('/proc/self/ns/pid')}"

    @property
    def token(self) -> str:
        """This process, as others will know it; a later one of the same number is another."""
        return f"{self._host} {os.getpid()} {_start_time(os.getpid())}"

    def is_gone(self, token: str) -> bool:
        """Whether that process has certainly ended."""
        place, _, process = token.rpartition(" ")[0].rpartition(" ")
        if place != self._host or not process.isdecimal():
            return False
        number = int(process)
        return not _is_running(number) or _start_time(number) not in {"", token.rpartition(" ")[2]}


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _start_time(number: int) -> str:
    """When it began, in the kernel's ticks; "gone" for a zombie, "" where the system does not tell."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if fields[0] in {"Z", "X"} else fields[19]


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a name, not a path
    except OSError:
        return ""
