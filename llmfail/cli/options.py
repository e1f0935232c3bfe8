"""The options that come before the command, as the commands get them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Globals(NamedTuple):
    """``ctx.obj`` of every command."""

    config: Path | None
    state_dir: Path
    verbose: int = 0
    quiet: bool = False


def state_dir_from(option: Path | None, environ: Mapping[str, str]) -> Path:
    """--state-dir, else LLMFAIL_STATE_DIR, else the user's state directory."""
    from llmfail.settings.state import state_directory  # noqa: PLC0415 - start-up: not for --help

    return state_directory(option, environ)
