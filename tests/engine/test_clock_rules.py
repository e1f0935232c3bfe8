"""What is stored, or compared with what is stored, comes from the clock of the store: rules for the source.

A change gets the store's ``now``. ``ports.wall()`` is that clock as it was a moment ago: it names periods and
tells people the time; it neither ends anything that is stored nor stands within a change.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "llmfail"
ROOMS = ("core", "engine", "client", "store")
MACHINE_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.today", "date.today"}
WRITES = {"Write", "StoreChange", "SettlingChange"}
OF_THIS_MACHINE = {
    "engine/ports/ids.py": "the beginning of an id, which nothing is compared with",
    "engine/ports/google_token.py": "when a token of another service ends",
    "client/resources.py": "the periods in a file of version 0.1",
    "store/state_records.py": "the clock of a file is that of its machine",
    "store/sqlite/database.py": "the name of a damaged file",
}
MODULES = sorted(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))


def name_of(node):
    """``time.time`` of such an expression; of a longer one its last two parts."""
    match node:
        case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=attribute):
            return f"{owner}.{attribute}"
        case ast.Name(id=name):
            return name
        case _:
            return ""


def find_calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_p0_5_no_module_that_stores_anything_asks_the_machine_for_the_time():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        if any(name_of(call.func) in MACHINE_CLOCKS for call in find_calls(ast.parse(path.read_text())))
    }
    assert found == set(OF_THIS_MACHINE)


def is_wall(node):
    return isinstance(node, ast.Call) and name_of(node.func).endswith(".wall")


def find_wall_names(function):
    """Local names that have a value of ``wall()``, also as one of several."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(map(is_wall, ast.walk(node.value))):
            pairs = zip_targets(node.targets[0], node.value)
            names |= {target.id for target, value in pairs if any(map(is_wall, ast.walk(value)))}
    return names


def zip_targets(target, value):
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [(one, other) for one, other in zip(target.elts, value.elts, strict=True)]
    return [(target, value)] if isinstance(target, ast.Name) else []


def has_wall(node, names):
    return any(is_wall(one) or (isinstance(one, ast.Name) and one.id in names) for one in ast.walk(node))


def is_change(function):
    """It gets the store's clock."""
    return any(argument.arg in {"now", "_now"} for argument in function.args.args)


def find_stored_walls(tree):
    """Lines where such a moment ends a value or is used within a change."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        names = find_wall_names(function)
        for node in ast.walk(function):
            writes = isinstance(node, ast.Call) and name_of(node.func) in WRITES
            changes = isinstance(node, ast.FunctionDef | ast.Lambda) and is_change(node)
            if (writes or changes) and has_wall(node, names):
                yield node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_p0_5_no_moment_of_wall_reaches_a_record(room):
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in MODULES
        if path.is_relative_to(PACKAGE / room)
        for line in find_stored_walls(ast.parse(path.read_text()))
    }
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "def f(ports):\n    return Write('', ports.wall() + 5)",
        "def f(self):\n    wall, other = self._ports.wall(), 1\n    return Write('', expires_at=wall + 5)",
        "def f(ports):\n    moment = ports.wall()\n    return lambda values, now: ({'a': moment}, None)",
        "def f(ports):\n    def change(values, now):\n        return {'a': ports.wall()}, None",
    ],
)
def test_the_rule_finds_what_it_is_there_for(source):
    assert list(find_stored_walls(ast.parse(source)))
