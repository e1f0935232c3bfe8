"""README, --help, CHANGELOG, the example configuration and the code say the same."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from forked_program import run_llmfail

import llmfail
from llmfail.cli.app import COMMANDS, GROUPS
from llmfail.core import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
LLMFAIL = Path(sys.executable).parent / "llmfail"


def helped(*command):
    done = run_llmfail(*command, "--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_readme_gives_exactly_the_two_commands_of_the_set_up():
    first = 'pip install . && llmfail ask "Say hello" --drill anthropic=503'
    second = "pip install -e '.[test]' && pytest"
    assert blocks("sh set-up") == [f"{first}\n{second}\n"]


def test_what_the_readme_shows_is_what_the_first_command_prints():
    done = subprocess.run(
        [LLMFAIL, "ask", "Say hello", "--drill", "anthropic=503"], capture_output=True, text=True, check=True
    )
    shown = re.sub(r"\d+ ms", "N ms", blocks("console")[0])
    assert re.sub(r"\d+ ms", "N ms", done.stderr + done.stdout) == shown


def test_every_command_the_documents_name_exists():
    named = set(re.findall(r"(?:`|^|[|&] )llmfail ([a-z-]+)[ `\n]", README, re.MULTILINE))
    assert named <= set(COMMANDS)
    assert set(COMMANDS) <= set(re.findall(r"`([a-z-]+)`", CHANGELOG)) | named


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command):
    text = helped(command)
    assert f"llmfail {command}" in text.partition("Examples:")[2] or command in GROUPS


def test_the_help_lists_every_command():
    assert re.findall(r"^  ([a-z-]+)  ", helped().partition("Commands:")[2], re.MULTILINE) == list(COMMANDS)


def test_every_option_the_readme_uses_exists():
    used = re.findall(r"llmfail ask [^\n]*?(--?[a-z][a-z-]*)", README)
    text = helped("ask")
    assert all(re.search(rf"(^|[\s,]){option}[\s,]", text) for option in used)


def test_the_exit_codes_of_the_readme_are_those_of_the_errors():
    table = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    known = {
        one.exit_code for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")
    }
    assert known | {0} == table


def test_the_configuration_in_the_readme_is_valid(tmp_path):
    file = tmp_path / "readme.yaml"
    file.write_text(blocks("yaml")[0])
    done = run_llmfail("--config", file, "config", "check")
    assert done.returncode == 0, done.stderr


def test_the_python_in_the_readme_compiles_and_imports_what_exists():
    source = blocks("python")[0]
    compile(source, "README.md", "exec")
    names = re.search(r"from llmfail import (.*)", source)[1].split(", ")
    assert all(getattr(llmfail, name) for name in names)


def test_every_public_name_is_there_and_sorted():
    assert llmfail.__all__ == sorted(llmfail.__all__)
    assert all(getattr(llmfail, name) for name in llmfail.__all__)


def test_the_example_is_what_ships_in_the_package():
    assert (ROOT / "llmfail.example.yaml").read_bytes() == (ROOT / "llmfail/data/llmfail.yaml").read_bytes()


def test_every_link_of_the_documents_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_version_is_the_same_everywhere():
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{llmfail.__version__}"' in project
