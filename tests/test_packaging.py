"""What an installation brings: types, a manual page, an image and units whose commands exist."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import llmfail
from llmfail.cli.app import COMMANDS, build_command_line

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNITS = sorted((ROOT / "examples" / "systemd").iterdir())
COMMAND_LINES = [
    *re.findall(r"HEALTHCHECK .*CMD (llmfail .*?) \|\|", DOCKERFILE),
    *(
        f"llmfail {found}"
        for unit in UNITS
        for found in re.findall(r"^ExecStart=\S*/llmfail (.*)$", unit.read_text(), re.MULTILINE)
    ),
]


def test_the_package_says_that_it_is_typed_and_types_all_that_it_offers():
    assert (Path(llmfail.__file__).parent / "py.typed").is_file()
    tree = ast.parse(Path(llmfail.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name for node in ast.walk(checked) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported | {"__version__"} == set(llmfail.__all__)


def test_k1_the_metadata_has_urls_and_each_python_that_is_supported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = {line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line}
    assert versions == {"3.11", "3.12", "3.13", "3.14"}
    assert {"Homepage", "Source", "Changelog", "Issues"} <= project["urls"].keys()


@pytest.fixture(scope="module")
def page():
    program = ROOT / "scripts" / "make_man.py"
    return subprocess.run([sys.executable, program], capture_output=True, text=True, check=True).stdout


def test_the_manual_page_has_every_command_and_every_option(page):
    program = build_command_line(list(COMMANDS), {})
    for name, command in program.commands.items():
        assert f".SS llmfail {name}".replace("-", r"\-") in page
        for parameter in command.params:
            for flag in parameter.opts if parameter.param_type_name == "option" else ():
                if flag != "--help":
                    assert flag.replace("-", r"\-") in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_is_set_without_a_warning(page):
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8"], input=page, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "Answer one prompt through the fallback chain of a feature." in done.stdout


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_image_and_the_units_run_commands_that_exist(line):
    _, *arguments = shlex.split(line)
    program = build_command_line(arguments, {})
    with program.make_context("llmfail", arguments, resilient_parsing=True) as context:
        name, command, rest = program.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context(name, rest, parent=context, resilient_parsing=False)


def test_the_image_runs_as_nobody_and_says_how_it_is():
    assert re.findall("^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["nobody"]
    assert len(COMMAND_LINES) == 3


def test_k2_the_benchmarks_run_where_nothing_is_that_a_user_has_not():
    """A baseline whose imports are shared with test tools would flatter llmfail."""
    assert "scripts/clean_bench.py" in (ROOT / "Makefile").read_text()
    script = (ROOT / "scripts" / "clean_bench.py").read_text()
    [install] = re.findall(r'"install", .*\]', script)
    assert "[test]" not in install
    programs = [file for file in (ROOT / "benchmarks").glob("*.py") if file.name != "pairs.py"]
    for file in programs:
        assert not re.search(r"^(import|from) (pytest|hypothesis|rich|typer)", file.read_text(), re.MULTILINE)
