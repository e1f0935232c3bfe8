"""``llmfail config``, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from llmfail.cli.arguments.global_options import GlobalOptions, resolve_state_dir
from llmfail.cli.commands.group.config import app
from llmfail.core.errors import UsageError
from llmfail.settings.advice.init_text import build_init_text
from llmfail.settings.reading.find import packaged_config_path, user_config_directory
from llmfail.settings.reading.load import examine, load

COMMAND = "features: {x: {degrade: [command: [id]]}}\n"


@pytest.fixture
def run(home, state):
    """Run a command; what it raises is what the program turns into an exit code."""

    def run(*arguments, config=None):
        options = GlobalOptions(config=config, state_dir=state)
        result = CliRunner().invoke(app, arguments, obj=options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_i3_init_writes_the_example_without_what_needs_trust(run, home):
    assert run("init").stdout == "llmfail.yaml\n"
    written, packaged = (
        path.read_text().splitlines() for path in (home / "llmfail.yaml", packaged_config_path())
    )
    changed = [
        (old, new)
        for old, new in zip(packaged, written, strict=True)
        if old != new and not old.startswith("timezone:")
    ]
    assert [old.split()[0:2] for old, _ in changed] == [["-", "command:"], ["timeout:", "10s"]]
    assert all(new.replace("# ", "", 1) == old for old, new in changed)
    assert examine(None, {}, home).trust_findings == ()


def test_i10_the_untouched_example_has_no_warning(run, home):
    run("init")
    result = run("check", "--json")
    assert (result.exit_code, json.loads(result.stdout)["warnings"]) == (0, [])


def test_i3_any_edit_of_what_init_wrote_is_taken(run, home, state):
    run("init")
    path = home / "llmfail.yaml"
    path.write_text(re.sub(r"(?m)^timezone: \S+", "timezone: Europe/Berlin", path.read_text()))
    assert run("check").exit_code == 0
    assert load(None, {}, home, state).timezone == "Europe/Berlin"


def test_init_says_in_json_what_it_wrote(run, home):
    assert json.loads(run("init", "--json").stdout) == {"path": "llmfail.yaml", "overwritten": False}
    assert json.loads(run("init", "--json", "--force").stdout)["overwritten"] is True


def test_i10_init_makes_the_user_s_own_directory(run, home, monkeypatch):
    path = user_config_directory() / "llmfail.yaml"
    run("init", "--path", str(path))
    assert path.exists()


def test_init_never_overwrites_unless_it_is_forced(run, home):
    (home / "llmfail.yaml").write_text("version: 1")
    with pytest.raises(UsageError, match="--force"):
        run("init")
    assert (home / "llmfail.yaml").read_text() == "version: 1"
    run("init", "--force")
    assert (home / "llmfail.yaml").read_text() == build_init_text()


def test_init_writes_elsewhere_and_says_when_it_cannot(run, home):
    run("init", "--path", "other.yaml")
    assert (home / "other.yaml").exists()
    with pytest.raises(UsageError, match="cannot write"):
        run("init", "--path", "no/such/place.yaml")


def test_check_prints_every_mistake_and_exits_2(run, home):
    (home / "llmfail.yaml").write_text("version: 2\ncash: {}\nstore: sqlite\n")
    result = run("check")
    assert result.exit_code == 2
    assert [line.partition("llmfail.yaml:")[2][:2] for line in result.stderr.splitlines()] == [
        "1:",
        "2:",
        "3:",
    ]
    assert result.stdout == ""


def test_check_exits_2_for_a_file_that_cannot_be_read(run, home):
    (home / "llmfail.yaml").write_text("a: [")
    result = run("check", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"][0]["message"].startswith("is not valid YAML")


def test_check_exits_0_with_warnings(run, home):
    (home / "llmfail.yaml").write_text("providers: {p: {api: openai}}\nfeatures: {x: {primary: p/gpt-5}}\n")
    result = run("check", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["ok"] is True
    assert report["problems"] == []
    assert {each["line"] for each in report["warnings"]} == {2}


def test_check_of_a_file_without_trust_exits_2_and_says_what_it_would_do(run, home):
    (home / "llmfail.yaml").write_text(COMMAND)
    result = run("check")
    assert result.exit_code == 2
    assert (
        "llmfail.yaml:1: features.x.degrade[0]: would run a command; `llmfail config trust`" in result.stderr
    )


def test_trust_accepts_the_file_as_it_is(run, home):
    (home / "llmfail.yaml").write_text(COMMAND)
    result = run("trust")
    assert "accepted" in result.stderr
    assert "would run a command" in result.stderr
    assert run("check").exit_code == 0
    (home / "llmfail.yaml").write_text(COMMAND + "# changed\n")
    assert run("check").exit_code == 0
    (home / "llmfail.yaml").write_text(COMMAND.replace("[id]", "[id, -u]"))
    changed = run("check")
    assert changed.exit_code == 2
    assert "has changed since it was trusted: it would run a command" in changed.stderr


def test_trust_says_in_json_what_it_accepted(run, home):
    (home / "llmfail.yaml").write_text(COMMAND)
    report = json.loads(run("trust", "--json").stdout)
    assert (report["needed"], len(report["accepted"])) == (True, 1)
    assert run("check").exit_code == 0


def test_trust_has_nothing_to_do_for_a_file_that_was_named(run, home, state):
    (home / "named.yaml").write_text(COMMAND)
    assert "needs no trust" in run("trust", config=home / "named.yaml").stderr
    assert list(state.iterdir()) == []


def test_path_says_which_file_and_why(run, home):
    assert run("path").stdout == f"{packaged_config_path()}\n"
    (home / "llmfail.yaml").touch()
    assert json.loads(run("path", "--json").stdout) == {
        "path": str(home / "llmfail.yaml"),
        "why": "found in the current directory",
        "exists": True,
    }


def test_show_prints_yaml_or_json_of_the_same(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    shown, as_json = run("show").stdout, run("show", "--json").stdout
    assert yaml.safe_load(shown) == json.loads(as_json)
    assert "hunter2" not in shown + as_json
    assert json.loads(as_json)["providers"]["openai"]["api_key"] == "****"


def test_show_of_a_file_with_mistakes_is_its_mistakes(run, home):
    (home / "llmfail.yaml").write_text("version: 2")
    with pytest.raises(UsageError, match="expected 1"):
        run("show")


def test_schema_is_a_json_schema(run):
    jsonschema.Draft202012Validator.check_schema(json.loads(run("schema").stdout))


@pytest.mark.parametrize("command", ["init", "check", "show", "path", "schema", "trust"])
def test_every_command_has_an_example_in_its_help(run, command):
    assert f"llmfail config {command}" in run(command, "--help").stdout.replace("--config staging.yaml ", "")


def test_the_state_directory_is_an_option_a_variable_or_the_users(home, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "s"))
    assert resolve_state_dir(Path("a"), {"LLMFAIL_STATE_DIR": "b"}) == home / "a"
    assert resolve_state_dir(None, {"LLMFAIL_STATE_DIR": "b"}) == home / "b"
    assert resolve_state_dir(None, {}) == home / "s" / "llmfail"


def test_a_mistake_is_exit_2_and_one_line_in_the_whole_program(home, state):
    (home / "llmfail.yaml").write_text("version: 1\nbreaker: {windw: 5}\n")
    program = "import sys; from llmfail.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--state-dir", str(state), "config", "show"],
        cwd=home,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "llmfail.yaml:2: breaker.windw: unknown key, did you mean window?" in done.stderr
