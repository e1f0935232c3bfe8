"""The swift reading of a command line says what Typer says, or nothing at all."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from typer._click.exceptions import ClickException

from llmfail.cli.app import build_command_line
from llmfail.cli.arguments import fast_parser
from llmfail.cli.arguments.ask_values import read_options
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.client.options import ask_of
from llmfail.core.errors import LlmfailError

GROUP = build_command_line([*fast_parser.COMMANDS], {})


def declared_of(command):
    return {
        name: option
        for option in GROUP.commands[command].params
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("-") and option.expose_value
    }


SHARED = {name for option in GROUP.params for name in option.opts if name.startswith("-")}

WORDS = st.one_of(
    st.sampled_from(
        ["ask", "serve", "plan", "-", "--", "", "x", "5", "05", "0", "-5", "1.5", "1e3", "nan", "a=b", "Ünï"]
    ),
    st.text(max_size=4).filter(lambda text: "\0" not in text),
)


def words_of(command):
    """What somebody may type behind it."""
    own = [*declared_of(command), *SHARED, "--help", "-h", "--nonsense", "-vv", "-vq", "--js"]
    options = st.sampled_from(own)
    glued = st.builds("{}{}".format, st.sampled_from(["-f", "-m", "-s"]), WORDS)
    return st.one_of(WORDS, options, st.builds("{}={}".format, options, WORDS), glued)


LINES = st.sampled_from([*fast_parser.COMMANDS]).flatmap(
    lambda command: st.tuples(st.just(command), st.lists(words_of(command), max_size=6))
)


@dataclass(frozen=True)
class Refused:
    """Typer has something to say about it."""


NOTHING = GlobalOptions(None, Path("/state"))


def by_typer(command, arguments):
    """What Typer reads behind a command: its own options, and those of the program."""
    try:
        with GROUP.commands[command].make_context(command, list(arguments), obj=NOTHING) as context:
            return context.params, context.obj
    except (ClickException, SystemExit):
        return Refused()
    except LlmfailError:
        return Refused()
    except Exception as error:
        if type(error).__name__ == "Exit":
            return Refused()
        raise


DEFAULTS = {command: by_typer(command, [])[0] for command in fast_parser.COMMANDS}


def by_fast_parser(parsed):
    """What was parsed, as a command gets it."""
    found = NOTHING
    try:
        for name in ("config", "state_dir", "verbose", "quiet"):
            if (value := getattr(parsed, name)) not in {None, 0}:
                found = found.add(name, value)
    except LlmfailError:
        return Refused()
    return DEFAULTS[parsed.command] | parsed.options, found


@given(LINES)
@settings(max_examples=2000, deadline=None)
def test_what_is_read_swiftly_typer_reads_alike(line):
    command, arguments = line
    plain = fast_parser.parse([command, *arguments])
    event(f"{command}: plain" if plain else "left to Typer")
    if plain is not None:
        assert by_fast_parser(plain) == by_typer(command, arguments)


@given(LINES)
@settings(max_examples=500, deadline=None)
def test_what_comes_before_the_command_is_read_alike_too(line):
    command, arguments = line
    plain = fast_parser.parse([*arguments, command])
    if plain is None:
        return
    with GROUP.make_context("llmfail", [*arguments, command]) as context:
        params = context.params
    assert (plain.verbose, plain.quiet) == (params["verbose"], params["quiet"])
    assert (plain.config, plain.state_dir) == (params["config"], params["state_dir"])


@pytest.mark.parametrize("command", fast_parser.COMMANDS)
def test_every_option_is_known_to_both(command):
    known, declared = fast_parser.COMMANDS[command], declared_of(command)
    swiftly = {
        **{flag: option.name for flag, option in known.values.items()},
        **{flag: option.name for flag, option in known.repeatable.items()},
        **known.flags,
        **known.negations,
    }
    assert {name: option.name for name, option in declared.items() if option.name != "help"} == swiftly
    assert set(known.flags) | set(known.negations) == {
        n for n, o in declared.items() if o.is_flag and o.name != "help"
    }
    assert set(known.repeatable) == {n for n, o in declared.items() if o.multiple}


def test_what_is_not_typed_says_nothing():
    assert ask_of("hi", **read_options(DEFAULTS["ask"])) == ask_of("hi")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "hello"],
        ["ask"],
        ["-q", "-v", "--config", "c.yaml", "--state-dir", "s", "ask", "-", "-f", "vpr", "--json"],
        ["ask", "-m", "a/b", "-m", "c/d", "--max-tokens", "5", "--temperature", "0.5", "--stop=END", "hello"],
        ["serve", "-q"],
        ["--config", "c.yaml", "serve", "--listen", "unix:/run/s", "--workers=2", "--drill", "anthropic=503"],
        ["ask", "hello", "-p", "a=b", "--param", "c=d", "--expect", "regex:^-", "-o", "-"],
    ],
)
def test_what_scripts_write_is_read_swiftly(arguments):
    assert fast_parser.parse(arguments) is not None


def test_i5_options_of_the_program_are_read_before_the_command_and_behind_it_alike():
    before = fast_parser.parse(["-q", "-v", "--config", "c", "--state-dir", "s", "ask", "hi"])
    behind = fast_parser.parse(["ask", "-q", "hi", "-v", "--config", "c", "--state-dir", "s"])
    assert before == behind
    assert behind.quiet
    assert behind.config == "c"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["status"],
        ["ask", "--help"],
        ["ask", "-h"],
        ["ask", "one", "two"],
        ["ask", "--json=yes"],
        ["ask", "--jso"],
        ["ask", "-f"],
        ["ask", "-f", "-m"],
        ["ask", "-f", "a", "-f", "b"],
        ["ask", "--", "hello"],
        ["ask", "--max-tokens", "many"],
        ["ask", "--max-tokens", "0"],
        ["serve", "--help"],
        ["serve", "hello"],
        ["serve", "--workers", "0"],
        ["--version", "ask"],
        ["--config", "a", "--config", "b", "ask"],
        ["--config=a", "ask"],
    ],
)
def test_what_needs_an_explanation_or_thought_is_left_to_typer(arguments):
    assert fast_parser.parse(arguments) is None


def test_an_ask_imports_neither_typer_nor_what_it_does_not_need(tmp_path):
    """A stored answer needs no engine and no wire; an ask needs no Typer."""
    config = tmp_path / "llmfail.yaml"
    config.write_text(
        'version: 1\nproviders: {a: {api: openai, base_url: "http://127.0.0.1:9/v1", api_key: "${NO_KEY}"}}\n'
        "features: {default: {primary: a/x}}\n"
    )
    program = (
        "import sys\nfrom llmfail.cli.main import run\n"
        f"code = run(['--config', {str(config)!r}, 'ask', 'hello'])\n"
        "print(code, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    code, *modules = done.stdout.split()
    assert code == "6"
    assert not {"typer", "httpcore", "rich", "asyncio", "typing_extensions"} & set(modules), os.environ
