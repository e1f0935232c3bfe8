"""The remembered tree saves the import of yaml, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from llmfail.core.errors import SettingsError
from llmfail.settings import load
from llmfail.settings.reading.parsed_cache import MAX_PRIVATE_FILE_BYTES, load_tree

TEXT = "providers: {p: {api: openai, api_key: '${K}'}}\nfeatures: {x: {primary: p/m, timeout: 5}}\n"


@pytest.fixture
def config(home):
    path = home / "named.yaml"
    path.write_text(TEXT)
    return path


def entries(state):
    return sorted(state.glob("settings-*.json"))


def test_the_second_load_does_not_import_yaml(home, state, config):
    program = (
        "import sys; from pathlib import Path; from llmfail.settings import load\n"
        f"s = load(Path({str(config)!r}), {{}}, Path({str(home)!r}), Path({str(state)!r}))\n"
        "print(s.find_feature('x').timeout, 'yaml' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["5.0 True", "5.0 False"]


def test_both_ways_lead_to_the_same_settings(home, state, config):
    assert load(config, {"K": "a"}, home, state) == load(config, {"K": "a"}, home, state)


def test_the_environment_is_read_each_time(home, state, config):
    load(config, {"K": "one"}, home, state)
    assert load(config, {"K": "two"}, home, state).providers["p"].api_key.reveal() == "two"


def test_no_secret_from_the_environment_is_kept(home, state, config):
    load(config, {"K": "hunter2", "LLMFAIL_FEATURES__X__SYSTEM": "hunter2"}, home, state)
    (entry,) = entries(state)
    assert "hunter2" not in entry.read_text()
    assert entry.stat().st_mode & 0o777 == 0o600


LITERAL = {
    "api_key": "providers: {p: {api: openai, api_key: hunter2}}",
    "default": "providers: {p: {api: openai, api_key: '${K:-hunter2}'}}",
    "part": "providers: {p: {api: openai, api_key: 'hunter2${K}'}}",
    "token": "providers: {p: {api: vertex, token: hunter2}}",
    "store": "store: redis://:hunter2@localhost/0",
    "part of a password": "store: 'redis://:hunter2${K}@localhost/0'",
    "user": "store: redis://hunter2@localhost/0",
    "store of answers": "cache: {store: redis://:hunter2@localhost/0}",
    "store of the queue": "queue: {store: redis://:hunter2@localhost/0}",
}
HARMLESS = {
    "key": TEXT,
    "store": "store: redis://localhost/0",
    "password": "store: 'redis://me:${K}@localhost/0'",
}


@pytest.mark.parametrize("text", LITERAL.values(), ids=LITERAL)
def test_a_file_with_a_secret_in_it_is_not_kept(home, state, config, text):
    config.write_text(text)
    load(config, {"K": "k"}, home, state)
    assert entries(state) == []


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_a_file_whose_secrets_are_in_the_environment_is_kept(home, state, config, text):
    config.write_text(text)
    load(config, {"K": "hunter2"}, home, state)
    (entry,) = entries(state)
    assert "hunter2" not in entry.read_text()
    assert load_tree(state, config, text) is not None


def test_a_changed_file_of_the_same_size_is_read_anew(home, state, config):
    load(config, {}, home, state)
    config.write_text(TEXT.replace("timeout: 5", "timeout: 6"))
    assert load(config, {}, home, state).find_feature("x").timeout == 6


def test_a_mistake_found_on_the_short_way_still_has_its_line(home, state, config):
    load(config, {}, home, state)
    config.write_text("version: 1\n" + TEXT.replace("timeout: 5", "timeout: ${T:-5}"))
    load(config, {}, home, state)
    with pytest.raises(SettingsError, match=r"named\.yaml:3: features\.x\.timeout"):
        load(config, {"T": "soon"}, home, state)


def test_a_file_with_mistakes_is_not_kept(home, state, config):
    config.write_text("version: 2")
    with pytest.raises(SettingsError):
        load(config, {}, home, state)
    assert entries(state) == []


DAMAGE = [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}', b"[" * 100_000]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_anew(home, state, config, damage):
    load(config, {}, home, state)
    (entry,) = entries(state)
    entry.write_bytes(damage)
    assert load(config, {}, home, state).find_feature("x").timeout == 5
    assert load_tree(state, config, TEXT) is not None


def test_the_text_itself_is_not_kept_for_it_may_hold_a_key_in_a_comment(home, state, config):
    config.write_text(TEXT + "# api_key: sk-commented-out\n")
    load(config, {}, home, state)
    assert entries(state)
    assert all(b"commented-out" not in entry.read_bytes() for entry in entries(state))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_entry_of_somebody_else_is_not_used(home, state, config):
    load(config, {}, home, state)
    (entry,) = entries(state)
    os.chown(entry, 65534, 65534)
    assert load_tree(state, config, TEXT) is None


def test_an_entry_of_another_version_is_not_used(home, state, config):
    load(config, {}, home, state)
    (entry,) = entries(state)
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"version": "0", "tree": {"version": 1}}))
    assert load_tree(state, config, TEXT) is None


def test_a_state_directory_that_is_not_there_is_not_made(home, tmp_path, config):
    load(config, {}, home, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_state_directory_that_is_a_file_or_full_of_obstacles_is_no_trouble(home, state, config):
    assert load(config, {}, home, config).find_feature("x").timeout == 5
    load(config, {}, home, state)
    (entry,) = entries(state)
    entry.unlink()
    entry.mkdir()
    assert load(config, {}, home, state).find_feature("x").timeout == 5
    assert [each.name for each in state.iterdir()] == [entry.name], "no draft is left behind"


OBSTACLES = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "link": lambda path: path.symlink_to(path.parent.parent / "kept.json"),
    "huge": lambda path: path.touch() or os.truncate(path, MAX_PRIVATE_FILE_BYTES + 1),
}


@pytest.mark.parametrize("plant", OBSTACLES.values(), ids=OBSTACLES)
def test_an_entry_that_is_no_plain_file_is_not_used(home, state, config, plant):
    load(config, {}, home, state)
    (entry,) = entries(state)
    entry.rename(state.parent / "kept.json")
    plant(entry)
    assert load_tree(state, config, TEXT) is None
    assert load(config, {}, home, state).find_feature("x").timeout == 5
    assert load_tree(state, config, TEXT) is not None, "and it was made anew"


def test_a_state_directory_that_cannot_be_is_no_trouble(home, config):
    assert load(config, {}, home, home / ("n" * 300)).find_feature("x").timeout == 5
