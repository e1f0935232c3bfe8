"""Who runs here, and whether somebody who ran here still does: so that nobody waits for the dead."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
"""Another text after each start of a machine, and on each machine."""


class ProcessIdentity:
    """This process, and a look at others. Of another machine, or of a container with processes of its own,
    nothing is known. A machine is known by its boot: names of machines are not unique.
    """

    def __init__(self, boot_id_path: Path = BOOT_ID_PATH) -> None:
        self._boot_id_path = boot_id_path

    @cached_property
    def _boot_id(self) -> str:
        """Empty where the system does not tell."""
        try:
            return self._boot_id_path.read_text("ascii", "replace").strip()
        except OSError:
            return ""

    @cached_property
    def _place(self) -> str:
        return f"{self._boot_id or os.uname().nodename} {_read_link('/proc/self/ns/pid')}"

    @property
    def token(self) -> str:
        """This process, as others will know it; a later one of the same number is another."""
        return f"{self._place} {os.getpid()} {_start_time(os.getpid())}"

    def is_gone(self, token: str) -> bool:
        """Whether that process has certainly ended."""
        place, _, process = token.rpartition(" ")[0].rpartition(" ")
        if not self._boot_id or place != self._place or not process.isdecimal():
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
