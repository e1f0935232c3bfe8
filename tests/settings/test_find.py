"""Which file is the configuration."""

from __future__ import annotations

import os

import pytest

from llmfail.core.errors import SettingsError, UsageError
from llmfail.settings import Origin, load
from llmfail.settings.reading.find import (
    ConfigSource,
    find,
    find_home_directory,
    packaged_config_path,
    user_config_directory,
)
from llmfail.settings.state_path import find_state_directory


def find_config(named, home):
    return find(None, {"LLMFAIL_CONFIG": named}, home)


def find_state(named, _home):
    return find_state_directory(None, {"LLMFAIL_STATE_DIR": named})


def test_i9_the_other_extension_is_found_where_the_first_is_not(home):
    other, first = home / "llmfail.yml", home / "llmfail.yaml"
    other.touch()
    assert find(None, {}, home) == ConfigSource(path=other, origin=Origin.DIRECTORY)
    first.touch()
    assert find(None, {}, home).path == first


def test_the_first_of_option_variable_directory_user_and_package_is_chosen(home):
    environ = {"LLMFAIL_CONFIG": "variable.yaml"}
    mine = user_config_directory() / "llmfail.yaml"
    mine.parent.mkdir(parents=True)
    mine.touch()
    here = home / "llmfail.yaml"
    here.touch()
    found = [find(home / "option.yaml", environ, home), find(None, environ, home), find(None, {}, home)]
    here.unlink()
    found.append(find(None, {}, home))
    mine.unlink()
    found.append(find(None, {}, home))
    assert [source.origin for source in found] == list(Origin)
    assert [source.path for source in found] == [
        home / "option.yaml",
        home / "variable.yaml",
        here,
        mine,
        packaged_config_path(),
    ]


def test_an_empty_variable_is_as_good_as_none(home):
    assert find(None, {"LLMFAIL_CONFIG": ""}, home).origin is Origin.PACKAGE


def test_a_file_that_was_named_and_is_not_there_is_an_error_not_a_reason_to_look_elsewhere(home, state):
    (home / "llmfail.yaml").write_text("version: 1")
    with pytest.raises(SettingsError, match=r"gone\.yaml: .*no such file"):
        load(None, {"LLMFAIL_CONFIG": "gone.yaml"}, home, state)


def test_a_name_that_is_too_long_is_a_file_that_cannot_be_read(home, state):
    with pytest.raises(SettingsError, match="file name too long"):
        load(home / ("n" * 300), {}, home, state)


@pytest.mark.parametrize("place", [find_config, find_state])
def test_the_home_of_nobody_is_an_error(home, place):
    with pytest.raises(UsageError, match=r"~nobody-is-called-so/x: there is no such home directory"):
        place("~nobody-is-called-so/x", home)


def test_a_broken_link_in_the_current_directory_is_an_error(home, state):
    (home / "llmfail.yaml").symlink_to("nowhere")
    with pytest.raises(SettingsError, match="no such file"):
        load(None, {}, home, state)


def test_settings_remember_their_source(home, state):
    assert load(None, {}, home, state).source.origin is Origin.PACKAGE


@pytest.mark.parametrize("found", ["~/.local/state/llmfail", "", RuntimeError, KeyError])
def test_e4_a_user_without_a_home_has_a_directory_in_which_no_file_can_be(found):
    """Never one in the current directory, where anybody may have put it."""

    def find_path():
        if isinstance(found, str):
            return found
        raise found

    directory = find_home_directory(find_path)
    with pytest.raises(NotADirectoryError):
        directory.mkdir(parents=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
class TestOwners:
    """A file that lies in the current directory is used if it is the user's own, or root's."""

    @pytest.fixture
    def theirs(self, home):
        file = home / "llmfail.yaml"
        file.write_text("version: 1")
        os.chown(file, 65533, 65533)
        return file

    def test_d6_a_file_of_another_user_is_refused_and_its_owner_named(self, theirs, home, state):
        with pytest.raises(SettingsError, match=r"belongs to uid 65533.*--config") as refused:
            load(None, {}, home, state)
        assert "\n" not in str(refused.value)

    def test_d6_so_is_a_link_of_another_user_to_a_file_of_ones_own(self, home, state):
        (home / "other.yaml").write_text("version: 1")
        (home / "llmfail.yaml").symlink_to("other.yaml")
        os.lchown(home / "llmfail.yaml", 65533, 65533)
        with pytest.raises(SettingsError, match="belongs to uid 65533"):
            load(None, {}, home, state)

    def test_d6_a_file_that_somebody_named_may_be_anybodys(self, theirs, home, state):
        assert load(theirs, {}, home, state).version == 1

    def test_d6_under_sudo_the_files_of_the_caller_are_ones_own(self, theirs, home, state, monkeypatch):
        monkeypatch.setenv("SUDO_UID", "65533")
        assert load(None, {}, home, state).version == 1
