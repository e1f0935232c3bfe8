"""Names say what they mean: words of docs/glossary.md, plain English and Python, and one meaning for each."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "llmfail"
GLOSSARY = ROOT / "docs" / "glossary.md"
MODULES = sorted(PACKAGE.rglob("*.py"))

VENDORS = "anthropic claude gemini google openai vertex"
PYTHON = """
    app argument cli config database decoding encoding env init io json jsonl line log loop main
    mapping path process protocol reader sqlite stdout subprocess table thread tree type typer value
    var version yaml
"""
PLAIN = """
    access advice and base builder chat classify command common connection core cost count disk end
    embed estimator execution fact failure file find from generate hedging history id live load
    lookup memory message model next one output parsed plain planning progress reading render resume
    runner server show signal startup step stop timeout validate view write
"""

SAME_NAME_ALLOWED = {
    # A command and its subject.
    "ask": {"cli/commands", "core/request"},
    "batch": {"cli/commands", "engine/bulk"},
    "cost_estimate": {"cli/commands", "core/reports"},
    "plan": {"cli/commands", "core/routing"},
    "queue": {"cli/commands/group", "store"},
    "status": {"cli/commands", "core/reports"},
    # The two variants of one thing, in each package that has them.
    "aio": {"client", "engine/ports", "wire"},
    "blocking": {"client", "engine/ports", "wire"},
    # A vendor's wire format, spoken and simulated.
    "anthropic": {"providers", "simulator/formats"},
    "openai": {"providers", "simulator/formats"},
    "responses": {"providers", "simulator/formats"},
}
MAX_MODULES_PER_LEVEL = 20

IRREGULAR = """
    begun bound broken built chosen done drawn fallen felt found given gone got heard held kept
    known laid led left lost made meant met mine ours paid said seen sent shown spent spoken taken
    theirs told thought understood woken won worn written
"""
NOT_PARTICIPLES = {"embed", "feed", "need", "seed"}

EXAMPLES_IN_DOCSTRINGS = {
    *("PT30S", "xN", "features.vpr.primary", "generation_config.temperature"),
    *("llmfail.example.yaml", "user_version"),  # a file beside the package, and a pragma of SQLite
}


def glossary_terms() -> list[str]:
    return re.findall(r"^- \*\*(.+)\*\*: ", GLOSSARY.read_text(), re.MULTILINE)


def known_words() -> set[str]:
    glossary = re.findall(r"[a-z0-9]+", " ".join(glossary_terms()).lower())
    words = {*glossary, *VENDORS.split(), *PYTHON.split(), *PLAIN.split(), "http1"}
    return words | {f"{word}s" for word in words} | {word.removesuffix("s") for word in words}


def functions() -> Iterator[tuple[str, str]]:
    """The place and the name of every function that is not a property."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
                "property" in ast.unparse(decorator) for decorator in node.decorator_list
            ):
                yield f"{module.relative_to(ROOT)}:{node.lineno}", node.name


def is_bare_participle(name: str) -> bool:
    word = name.strip("_")
    regular = word.endswith("ed") and "_" not in word and word not in NOT_PARTICIPLES
    return regular or word in IRREGULAR.split()


def test_the_glossary_has_each_word_once_in_alphabetical_order_and_on_one_line():
    entries = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("-")]
    terms = [term.casefold() for term in glossary_terms()]
    assert all(re.fullmatch(r"- \*\*[\w -]+\*\*: \S.*[^.]\.", entry) for entry in entries)
    assert len(entries) == len(terms)
    assert all(before < after for before, after in pairwise(terms))


def test_modules_are_named_by_known_words():
    words = {
        (str(module.relative_to(ROOT)), word)
        for module in MODULES
        for part in module.relative_to(PACKAGE).with_suffix("").parts
        for word in part.strip("_").split("_")
    }
    known = known_words()
    unknown = {(module, word) for module, word in words if word not in known}
    assert not unknown, "rename the module, or explain the word in docs/glossary.md"


def test_no_two_modules_have_the_same_name():
    folders = defaultdict(set)
    for module in MODULES:
        if not module.stem.startswith("__"):
            folders[module.stem].add(str(module.parent.relative_to(PACKAGE)))
    assert not {
        name: places
        for name, places in folders.items()
        if len(places) > 1 and not places <= SAME_NAME_ALLOWED.get(name, set())
    }


def test_no_package_is_a_flat_drawer():
    """A command has a module of its own, however many there are."""
    modules = Counter(module.parent for module in MODULES if module.stem != "__init__")
    del modules[PACKAGE / "cli" / "commands"]
    assert max(modules.values()) <= MAX_MODULES_PER_LEVEL, modules.most_common(1)


def test_no_class_name_has_two_meanings():
    places = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(module.relative_to(ROOT)))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_no_function_is_named_by_a_bare_participle():
    assert not [(place, name) for place, name in functions() if is_bare_participle(name)]


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """The texts that stand alone: docstrings, and those below a constant or a field."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def words_of_code(tree: ast.AST) -> Iterator[str]:
    """The names in a module, and its texts that are one word, such as a key of JSON."""
    texts = {id(text) for text in docstrings(tree)}
    for node in ast.walk(tree):
        if id(node) not in texts:
            for _, value in ast.iter_fields(node):
                if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value):
                    yield value


def test_a_docstring_names_nothing_that_does_not_exist():
    trees = {str(module.relative_to(ROOT)): ast.parse(module.read_text()) for module in MODULES}
    known = {word for tree in trees.values() for word in words_of_code(tree)}
    known |= {part for module in MODULES for part in module.relative_to(ROOT).with_suffix("").parts}
    named = {
        (module, name)
        for module, tree in trees.items()
        for text in docstrings(tree)
        for name in re.findall(r"``([A-Za-z_][\w.]*)``", str(text.value))
    }
    unknown = {(module, name) for module, name in named if not known.issuperset(name.split("."))}
    assert {one for one in unknown if one[1] not in EXAMPLES_IN_DOCSTRINGS} == set()
