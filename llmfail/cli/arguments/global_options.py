"""The options of the program itself, as the commands get them. They stand before the command or behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from llmfail.core.errors import UsageError


class GlobalOptions(NamedTuple):
    """``ctx.obj`` of every command."""

    config: Path | None
    state_dir: Path
    verbose: int = 0
    quiet: bool = False

    def add(self, name: str, value: Any) -> Self:  # noqa: ANN401 - as its kind is typed
        """With one of these options as it was typed behind the command. Raises UsageError."""
        match name:
            case "config":
                return self._replace(config=parse_path("--config", value))
            case "state_dir":
                option = parse_path("--state-dir", value)
                return self._replace(state_dir=resolve_state_dir(option, os.environ))
            case "verbose":
                return self._replace(verbose=self.verbose + value)
            case _:
                return self._replace(quiet=bool(value))


def parse_global_options(
    config: str | None, state_dir: str | None, verbose: int, quiet: bool
) -> GlobalOptions:
    """Raises UsageError."""
    directory = resolve_state_dir(parse_path("--state-dir", state_dir), os.environ)
    return GlobalOptions(parse_path("--config", config), directory, verbose, quiet)


def resolve_state_dir(option: Path | None, environ: Mapping[str, str]) -> Path:
    """--state-dir, else LLMFAIL_STATE_DIR, else the user's state directory."""
    from llmfail.settings.state_path import find_state_directory

    try:
        return find_state_directory(option, environ)
    except OSError as error:
        raise UsageError("the current directory is gone; name --state-dir from the root") from error


def current_directory() -> Path:
    """The current directory; where that was deleted, something in which nothing is found."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def parse_path(option: str, text: str | None) -> Path | None:
    """A file or directory. An empty name is mostly a variable that is not set; raises UsageError."""
    if text == "":
        raise UsageError(f"{option} is empty; name a file or directory, or leave it out")
    return None if text is None else Path(text)


def parse_seconds(option: str, text: str | None, *, allow_zero: bool = False) -> float | None:
    """A duration as the configuration writes it: ``30``, ``30s``, ``10m``. Raises UsageError."""
    from llmfail.settings.schema.quantity import parse_seconds

    if text is None:
        return None
    try:
        return parse_seconds(text, zero=allow_zero)
    except ValueError as error:
        raise UsageError(f"{option}: {error}, got {text!r}") from None
