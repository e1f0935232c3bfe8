"""LLMFAIL_ overrides, put into the tree of a configuration.

The name of the variable is a path, which is found by the types and by the names in the file. What is neither
letter nor digit is written ``_``, so names with ``-``, ``.`` and ``/`` can be overridden too.
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
    """A tree with the overrides in it; ``variables`` has the variable of each overridden place."""

    tree: object
    variables: dict[Place, str]


def apply_overrides(shape: Shape, tree: object, notes: ValidationNotes) -> OverrideResult:
    """All overrides, a section before what is inside it. ``tree`` is not changed."""
    variables: dict[Place, str] = {}
    for variable, value in find_overrides(notes.environ):
        found = _find_place(shape, tree, variable, variables, notes)
        if found is not None:
            place, kind = found
            variables[place] = variable
            override = FromEnvironment(value, variable)
            tree = _put_value(
                tree, place, override if _is_scalar(kind) else parse_yaml_value(override, place, notes)
            )
    return OverrideResult(tree, variables)


def _find_place(
    shape: Shape, tree: object, variable: str, variables: dict[Place, str], notes: ValidationNotes
) -> tuple[Place, Shape] | None:
    """The place that a variable names; None, with a problem added, when there is no such place."""
    rest = variable[len(OVERRIDE_PREFIX) :].upper()
    at: Place = ()
    while rest:
        below = _child_shapes_of(shape, tree)
        matching = [key for key in below if (rest + "__").startswith(flatten_name(key) + "__")]
        key = max(matching, key=lambda each: len(flatten_name(each)), default=None)
        if key is None or sum(flatten_name(each) == flatten_name(key) for each in matching) > 1:
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
    """The keys below a place: those of its type, or those that the file has."""
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
    """A copy of the tree with the value at this place."""
    if not place:
        return value
    key, *rest = place
    inner = _put_value(_child_of(tree, key), tuple(rest), value)
    if isinstance(tree, list):
        return [inner if index == key else item for index, item in enumerate(tree)]
    return {**(tree if isinstance(tree, dict) else {}), key: inner}
