from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from llmfail.settings import Settings, load


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty current directory, and nothing of the machine's own configuration."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return here


@pytest.fixture
def state(tmp_path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def settings_of(home, state) -> Callable[..., Settings]:
    """The settings of a text, named by --config, under an environment."""

    def settings_of(text: str, **environ: str) -> Settings:
        path = home / "named.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return load(path, environ, home, state)

    return settings_of
