"""Keys from files, commands and a file of variables."""

import json
import os
import sys

import pytest

from llmfail.core.errors import UsageError
from llmfail.settings import load
from llmfail.settings.reading.key_sources import read_env_file

COUNTING = "import pathlib; p = pathlib.Path('ran'); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(key, environ=(), **more):
        document = {"version": 1, "providers": {"openai": {"api": "openai", "api_key": key}}, **more}
        file = tmp_path / "own.yaml"
        file.write_text(json.dumps(document))
        return load(file, dict(environ), tmp_path, tmp_path / "state").providers["openai"].api_key

    return read


def private(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path.name


def test_a_key_stands_in_a_file_beside_the_configuration(read, tmp_path):
    assert read({"file": private(tmp_path / "key", "made-up-key-4711\n")}).reveal() == "made-up-key-4711"


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_of_a_key_that_others_may_read_is_refused(read, tmp_path, mode):
    key = read({"file": private(tmp_path / "key", "made-up-key-4711", mode)})
    with pytest.raises(UsageError, match="chmod 600"):
        key.reveal()


def test_a_pipe_is_refused_as_a_file_of_keys_or_variables(read, tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UsageError, match="is not a regular file"):
        read({"file": "pipe"}).reveal()
    with pytest.raises(UsageError, match="is not a regular file"):
        read_env_file(tmp_path / "pipe")


def test_a_command_runs_when_its_key_is_needed_and_once(read, tmp_path):
    key = read({"command": [sys.executable, "-c", f"{COUNTING}; print('made-up-key-4711')"]})
    assert not (tmp_path / "ran").exists()
    assert key.reveal() == key.reveal() == "made-up-key-4711"
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["no-such-program-anywhere"], "no-such-program-anywhere: No such file"),
        ([sys.executable, "-c", "raise SystemExit('secret')"], "ended with 1"),
        ([sys.executable, "-c", ""], "has no key"),
    ],
)
def test_a_command_that_gives_no_key_is_told_without_what_it_said(read, command, why):
    with pytest.raises(UsageError, match=why) as told:
        read({"command": command}).reveal()
    assert "secret" not in str(told.value)


def test_variables_come_from_a_file_and_the_environment_wins(read, tmp_path):
    name = private(tmp_path / ".env", "# keys\nexport ONE='made-up-one'\nTWO=made-up-two # two\n")
    assert read("${ONE}", env_file=name).reveal() == "made-up-one"
    assert read("${TWO}", env_file=name).reveal() == "made-up-two"
    assert read("${ONE}", {"ONE": "made-up-own"}, env_file=name).reveal() == "made-up-own"


def test_a_line_that_is_no_variable_is_named(tmp_path):
    private(tmp_path / ".env", "A=1\nnonsense\n")
    with pytest.raises(UsageError, match="line 2: expected NAME=value"):
        read_env_file(tmp_path / ".env")


@pytest.mark.parametrize(
    "more",
    [
        {"providers": {"openai": {"api": "openai", "api_key": {"file": "key"}}}},
        {"providers": {"openai": {"api": "openai", "api_key": {"command": ["true"]}}}},
        {"env_file": ".env", "providers": {"openai": {"api": "openai", "api_key": "none"}}},
    ],
)
def test_a_file_of_the_current_directory_needs_trust_for_them(tmp_path, more):
    private(tmp_path / ".env", "A=1\n")
    (tmp_path / "llmfail.yaml").write_text(json.dumps({"version": 1, **more}))
    with pytest.raises(UsageError, match="trust"):
        load(None, {}, tmp_path, tmp_path / "state")
