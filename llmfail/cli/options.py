"""The options that come before the command, as the commands get them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Globals:
    """``ctx.obj`` of every command."""

    config: Path | None
    state_dir: Path
    verbose: int = 0
    quiet: bool = False


def state_dir_from(option: Path | None, environ: Mapping[str, str]) -> Path:
    """--state-dir, else LLMFAIL_STATE_DIR, else the user's state directory."""
    if option is not None:
        return option.absolute()
    if named := environ.get("LLMFAIL_STATE_DIR"):
        return Path(named).expanduser().absolute()
    import platformdirs  # noqa: PLC0415 - start-up

    return Path(platformdirs.user_state_dir("llmfail", appauthor=False))
