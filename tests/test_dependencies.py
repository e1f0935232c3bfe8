"""What is imported is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGE = PROJECT["dependencies"] + EXTRAS["vertex"] + EXTRAS["prices"] + EXTRAS["otel"]
DISTRIBUTIONS = packages_distributions()
FRAMEWORKS = {"langchain_anthropic", "langchain_core", "langchain_openai", "llama_index", "pydantic_ai"}
"""What tests/clients imports in an environment of its own, which its requirements.txt describes."""
NOT_OURS = {".venv", "node_modules"}
"""Where tests/clients has what it installs."""
NOT_IMPORTED = {"tzdata"}  # data that zoneinfo reads


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


def declared(requirements):
    return {normal(re.match("[A-Za-z0-9._-]+", one)[0]) for one in requirements}


def imported(folder):
    """The modules that the Python files of a folder import from elsewhere, wherever the import stands; each
    with the distributions that have it.
    """
    places = (ROOT / folder).rglob("*.py")
    files = [file for file in places if not NOT_OURS & set(file.relative_to(ROOT).parts)]
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    beside = {file.stem for file in files if folder == "tests"}
    elsewhere = (
        found - beside - sys.stdlib_module_names - {"llmfail", "_typeshed"}
    )  # the latter for mypy alone
    return {module: {normal(one) for one in DISTRIBUTIONS.get(module, [module])} for module in elsewhere}


def test_every_package_that_is_imported_is_declared():
    known = declared(PACKAGE)
    assert {module for module, names in imported("llmfail").items() if not names & known} == set()


def test_every_package_that_is_declared_is_imported():
    assert declared(PACKAGE) - NOT_IMPORTED - set().union(*imported("llmfail").values()) == set()


def test_the_tests_import_what_the_package_or_their_extra_declares():
    known = declared(PROJECT["dependencies"] + EXTRAS["test"])
    unknown = {module for module, names in imported("tests").items() if not names & known}
    assert unknown == FRAMEWORKS


def test_every_dependency_has_a_lower_bound():
    assert [one for one in PROJECT["dependencies"] if ">=" not in one] == []
