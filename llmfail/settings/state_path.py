"""Where circuits, counters and the parsed configuration are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmfail.settings.reading.find import expand_home, find_home_directory

STATE_DIR_VARIABLE = "LLMFAIL_STATE_DIR"


def find_state_directory(option: Path | None, environ: Mapping[str, str]) -> Path:
    """The option, else LLMFAIL_STATE_DIR, else the user's state directory of this platform: one in which
    nothing can be kept where this user has no home. Raises UsageError for the home directory of nobody.
    """
    named = option or environ.get(STATE_DIR_VARIABLE)
    if named:
        return expand_home(Path(named)).absolute()
    import platformdirs

    return find_home_directory(lambda: platformdirs.user_state_dir("llmfail", appauthor=False))
