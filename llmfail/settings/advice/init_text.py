"""The text that ``config init`` writes: the configuration that ships, without what this machine has not."""

from __future__ import annotations

import re
from typing import Final

from llmfail.settings.reading.find import packaged_config_path

_COMMAND_STEP: Final = re.compile(r"^( *)(- command: \[\./.*)\n(?:\1  (timeout: .*)\n)?", re.MULTILINE)
"""A degrade step whose program would lie beside the configuration."""


def build_init_text() -> str:
    """Steps that run a program which is not there stand in comments, so that nothing needs to be mended, and
    nothing to be trusted.
    """
    return _COMMAND_STEP.sub(_comment_out, packaged_config_path().read_text(encoding="utf-8"))


def _comment_out(found: re.Match[str]) -> str:
    indent, step, timeout = found.groups()
    lines = [step] if timeout is None else [step, f"  {timeout}"]
    return "".join(f"{indent}# {line}\n" for line in lines)
