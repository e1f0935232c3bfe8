"""Who runs here, and whether somebody who ran here still does: so that nobody waits for the dead."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path


class Presence:
    """This process, and a look at others. Of another machine, or of a container with processes of its own,
    nothing is known.
    """

    @cached_property
    def _place(self) -> str:
        return f"{os.uname().nodename} {_link('/proc/self/ns/pid')}"

    @property
    def holder(self) -> str:
        """This process, as others will know it; a later one of the same number is another."""
        return f"{self._place} {os.getpid()} {_began(os.getpid())}"

    def is_gone(self, holder: str) -> bool:
        """Whether that process has certainly ended."""
        place, _, process = holder.rpartition(" ")[0].rpartition(" ")
        if place != self._place or not process.isdecimal():
            return False
        number = int(process)
        return not _runs(number) or _began(number) not in {"", holder.rpartition(" ")[2]}


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _began(number: int) -> str:
    """When it began, in the kernel's ticks; "gone" for a zombie, "" where the system does not tell."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if fields[0] in {"Z", "X"} else fields[19]


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a name, not a path
    except OSError:
        return ""
