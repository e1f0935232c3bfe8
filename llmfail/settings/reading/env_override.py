"""LLMFAIL_ overrides, put into a tree.

An override names a path. The path is found by the types and by the names in the file, so that names with
``-``, ``.`` and ``/`` are reachable: whatever is neither letter nor digit is written ``_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llmfail.settings.reading.env_vars import OVERRIDE_PREFIX, find_overrides, flatten_name
from llmfail.settings.reading.plain_values import FromEnvironment, Place
from llmfail.settings.reading.validate import ValidationNotes, describe_unknown, parse_yaml_value
from llmfail.settings.schema.scalars import Scalar
from llmfail.settings.schema.shape import (
    ChoiceShape,
    ListShape,
    MappingShape,
    OptionalShape,
    Shape,
    StructShape,
)


class OverrideResult(NamedTuple):
    """A tree with the overrides in it; ``by`` has the variable of each place."""

    tree: object
    variables: dict[Place, str]


def apply_overrides(shape: Shape, tree: object, notes: ValidationNotes) -> OverrideResult:
    """Every override of the environment, a section before what is inside it. ``tree`` stays as it is."""
    by: dict[Place, str] = {}
    for variable, value in find_overrides(notes.environ):
        found = _find_place(shape, tree, variable, by, notes)
        if found is not None:
            place, kind = found
            by[place] = variable
            given = FromEnvironment(value, variable)
            tree = _put_value(
                tree, place, given if _is_scalar(kind) else parse_yaml_value(given, place, notes)
            )
    return OverrideResult(tree, by)


def _find_place(
    shape: Shape, tree: object, variable: str, variables: dict[Place, str], notes: ValidationNotes
) -> tuple[Place, Shape] | None:
    """The place that a variable names; None, with the problem noted, when it names none."""
    rest = variable[len(OVERRIDE_PREFIX) :].upper()
    at: Place = ()
    while rest:
        below = _child_shapes_of(shape, tree)
        named = [key for key in below if (rest + "__").startswith(flatten_name(key) + "__")]
        key = max(named, key=lambda each: len(flatten_name(each)), default=None)
        if key is None or sum(flatten_name(each) == flatten_name(key) for each in named) > 1:
            name = rest.partition("__")[0].lower()
            variables[*at, name] = variable
            notes.add_problem((*at, name), _describe_unknown_key(name, below, ambiguous=key is not None))
            return None
        rest = rest[len(flatten_name(key)) + 2 :]
        at, shape, tree = (*at, key), below[key], _child_of(tree, key)
    return at, shape


def _is_scalar(shape: Shape) -> bool:
    return (
        _is_scalar(shape.shape)
        if isinstance(shape, OptionalShape)
        else isinstance(shape, Scalar | ChoiceShape)
    )


def _describe_unknown_key(name: str, known: Mapping[str | int, Shape], *, ambiguous: bool) -> str:
    if ambiguous:
        return "several keys are written like this in a variable's name"
    return describe_unknown("key", name, (flatten_name(key).lower() for key in known))


def _child_shapes_of(shape: Shape, tree: object) -> dict[str | int, Shape]:
    """The keys under a place: those of its type, or those that the file has."""
    match shape:
        case OptionalShape():
            return _child_shapes_of(shape.shape, tree)
        case StructShape():
            return dict(shape.keys.items())
        case MappingShape() if isinstance(tree, dict):
            return dict.fromkeys(tree, shape.item)
        case ListShape() if isinstance(tree, list):
            return dict.fromkeys(range(len(tree)), shape.item)
        case _:
            return {}


def _child_of(tree: object, key: str | int) -> object:
    if isinstance(tree, dict):
        return tree.get(key)
    return tree[key] if isinstance(tree, list) and isinstance(key, int) else None


def _put_value(tree: object, place: Place, value: object) -> object:
    """A copy of the tree with the value in its place."""
    if not place:
        return value
    key, *rest = place
    inner = _put_value(_child_of(tree, key), tuple(rest), value)
    if isinstance(tree, list):
        return [inner if index == key else item for index, item in enumerate(tree)]
    return {**(tree if isinstance(tree, dict) else {}), key: inner}
