"""A command line that is wrong gets one line in the voice of every other error, and exit code 2."""

import itertools

import pytest
from typer.core import TyperGroup

from llmfail import __version__
from llmfail.cli.app import COMMANDS, build_command_line
from llmfail.cli.main import run

HINT = "(`llmfail ask -h` shows how)"


def walk(command, path=()):
    """Every command of the tree with its path, the groups too."""
    yield path, command
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))


TREE = [
    pytest.param(path, command, id=" ".join(path))
    for path, command in walk(build_command_line(list(COMMANDS), {}))
    if path
]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["ask", "hi", "--jso"], f"ask has no option --jso; did you mean --json? {HINT}"),
        (["ask", "hi", "--nonsense"], f"ask has no option --nonsense {HINT}"),
        (
            ["--json", "status"],
            "llmfail has no option --json; the options of a command stand behind its name",
        ),
        (["ask", "-f"], "-f needs a value"),
        (["ask", "--json=yes"], "--json takes no value"),
        (["ask", "one", "two"], "ask: there is no place for 'two'; a text of several words stands in quotes"),
        (["ask", "hi", "--max-tokens", "0"], f"--max-tokens takes a whole number from 1, got 0 {HINT}"),
        (["ask", "hi", "--max-tokens", "x"], f"--max-tokens takes a whole number from 1, got 'x' {HINT}"),
        (["batch", "x", "--concurrency", "0"], "--concurrency takes a whole number from 1 to 1000, got 0"),
        (["batch"], "batch needs INPUT.jsonl (`llmfail batch -h` shows how)"),
        (["trip"], "trip needs NAME"),
        (["stats"], "llmfail has no command 'stats'; did you mean `llmfail status`?"),
        (["config", "chek"], "config has no command 'chek'; did you mean `llmfail config check`?"),
        (["queue", "zzzzzz"], "queue has no command 'zzzzzz'; there are list, run, drop"),
        (["Say hello"], "llmfail has no command 'Say hello'; a prompt stands behind ask: llmfail ask"),
        (["help", "stats"], "llmfail has no command 'stats'; did you mean `llmfail status`?"),
        (["-q"], "llmfail: missing command"),
    ],
    ids=" ".join,
)
def test_i5_a_slip_is_one_line_in_one_voice_and_exit_code_2(arguments, line, capfd):
    assert run(arguments) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"llmfail: {line}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(("path", "command"), TREE)
def test_i5_every_command_takes_the_options_of_the_program(path, command):
    taken = {flag for option in command.params for flag in option.opts}
    assert {"-q", "--quiet", "-v", "--verbose", "--config", "--state-dir", "-V"} <= taken


def test_i5_no_option_of_a_command_hides_one_of_the_program():
    for _, command in walk(build_command_line(list(COMMANDS), {})):
        flags = list(
            itertools.chain.from_iterable([*one.opts, *one.secondary_opts] for one in command.params)
        )
        assert len(flags) == len(set(flags))


def test_i5_what_stands_behind_the_command_wins_over_what_stands_before_it(tmp_path, capfd):
    (tmp_path / "good.yaml").write_text("version: 1")
    (tmp_path / "bad.yaml").write_text("version: 2")
    good, bad = (str(tmp_path / f"{name}.yaml") for name in ("good", "bad"))
    assert run(["--config", bad, "config", "check", "--config", good, "-q"]) == 0
    assert run(["config", "--config", bad, "check", "-q"]) == 2
    assert run(["config", "path", "--config", good, "-q"]) == 0
    said = capfd.readouterr()
    assert said.out.endswith("good.yaml\n")
    assert "named by" not in said.err


def test_i5_quiet_behind_the_command_silences_an_ask(capfd):
    assert run(["ask", "hi", "--drill", "anthropic=503", "-q"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["-V"], ["--version"], ["version"], ["ask", "--version"]])
def test_i5_the_version_is_there_however_it_is_asked_for(arguments, capfd):
    assert run(arguments) == 0
    assert capfd.readouterr() == (f"llmfail {__version__}\n", "")


@pytest.mark.parametrize("path", [["ask"], ["config", "check"], ["queue"]])
def test_i5_help_is_a_word_too(path, capfd):
    assert run(["help", *path]) == 0
    told = capfd.readouterr().out
    assert run([*path, "--help"]) == 0
    assert capfd.readouterr().out == told
    assert told.startswith(f"Usage: llmfail {' '.join(path)} ")
    assert run(["help"]) == 0
    assert "Commands:" in capfd.readouterr().out


@pytest.mark.parametrize(("path", "command"), TREE)
def test_i15_every_command_that_reports_takes_json(path, command):
    is_for_programs_anyway = path in {("batch",), ("metrics",), ("serve",), ("watch",)}
    reports_nothing = path == ("feedback",)
    is_group = isinstance(command, TyperGroup)
    has_no_report = is_group or is_for_programs_anyway or reports_nothing
    assert has_no_report or any("--json" in option.opts for option in command.params)
