"""The text that ``config init`` writes: the configuration that ships, without what this machine has not."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from llmfail.settings.reading.find import packaged_config_path

_COMMAND_STEP: Final = re.compile(r"^( *)(- command: \[\./.*)\n(?:\1  (timeout: .*)\n)?", re.MULTILINE)
"""A degrade step whose program would lie beside the configuration."""

_NO_TIMEZONE: Final = re.compile(r"^(timezone: )(null +)(#.*)$", re.MULTILINE)
ZONE_LINK: Final = Path("/etc/localtime")


def build_init_text() -> str:
    """Steps that run a program which is not there stand in comments, so that nothing needs to be mended, and
    nothing to be trusted. Days are those of this machine's time zone, where it has one with a name.
    """
    text = _COMMAND_STEP.sub(_comment_out, packaged_config_path().read_text(encoding="utf-8"))
    zone = find_zone_name(os.environ.get("TZ"), ZONE_LINK)
    return text if zone is None else _NO_TIMEZONE.sub(lambda found: _name_zone(found, zone), text)


def find_zone_name(variable: str | None, link: Path) -> str | None:
    """The name of a time zone, such as Europe/Berlin: that of the variable TZ, else that of the file which
    the link of the system leads to; None where there is none that everybody knows.
    """
    name = (variable or "").removeprefix(":") or str(link.resolve()).partition("/zoneinfo/")[2]
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name).key if name else None
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return None


def _name_zone(found: re.Match[str], zone: str) -> str:
    """In place of null, with the comment where it was."""
    key, value, comment = found.groups()
    return f"{key}{zone:{len(value)}}{comment}" if len(zone) <= len(value) else f"{key}{zone}  {comment}"


def _comment_out(found: re.Match[str]) -> str:
    indent, step, timeout = found.groups()
    lines = [step] if timeout is None else [step, f"  {timeout}"]
    return "".join(f"{indent}# {line}\n" for line in lines)
