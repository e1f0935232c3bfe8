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
NOT_IMPORTED = {"tzdata"}  # data that zoneinfo reads


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


def declared(requirements):
    return {normal(re.match("[A-Za-z0-9._-]+", one)[0]) for one in requirements}


def imported(folder):
    """The modules that the Python files of a folder import from elsewhere, wherever the import stands; each
    with the distributions that have it.
    """
    files = list((ROOT / folder).rglob("*.py"))
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    beside = {file.stem for file in files if folder == "tests"}
    elsewhere = found - beside - sys.stdlib_module_names - {"llmfail"}
    return {module: {normal(one) for one in DISTRIBUTIONS.get(module, [module])} for module in elsewhere}


def test_every_package_that_is_imported_is_declared():
    known = declared(PACKAGE)
    assert {module for module, names in imported("llmfail").items() if not names & known} == set()


def test_every_package_that_is_declared_is_imported():
    assert declared(PACKAGE) - NOT_IMPORTED - set().union(*imported("llmfail").values()) == set()


def test_the_tests_import_what_the_package_or_their_extra_declares():
    known = declared(PROJECT["dependencies"] + EXTRAS["test"])
    assert {module for module, names in imported("tests").items() if not names & known} == set()


def test_every_dependency_has_a_lower_bound():
    assert [one for one in PROJECT["dependencies"] if ">=" not in one] == []
