"""LLMFAIL_ overrides, put into a tree.

An override names a path. The path is found by the types and by the names in the file, so that names with
``-``, ``.`` and ``/`` are reachable: whatever is neither letter nor digit is written ``_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llmfail.settings.reading.env_vars import PREFIX, flat, overrides
from llmfail.settings.reading.plain_values import Given, Place
from llmfail.settings.reading.validate import Notes, parsed, unknown
from llmfail.settings.schema.scalars import Scalar
from llmfail.settings.schema.shape import (
    Choice,
    Items,
    Maybe,
    Names,
    Record,
    Shape,
)


class Overridden(NamedTuple):
    """A tree with the overrides in it; ``by`` has the variable of each place."""

    tree: object
    by: dict[Place, str]


def apply(shape: Shape, tree: object, notes: Notes) -> Overridden:
    """Every override of the environment, a section before what is inside it. ``tree`` stays as it is."""
    by: dict[Place, str] = {}
    for variable, value in overrides(notes.environ):
        found = _find(shape, tree, variable, by, notes)
        if found is not None:
            place, kind = found
            by[place] = variable
            given = Given(value, variable)
            tree = _put(tree, place, given if _is_plain(kind) else parsed(given, place, notes))
    return Overridden(tree, by)


def _find(
    shape: Shape, tree: object, variable: str, by: dict[Place, str], notes: Notes
) -> tuple[Place, Shape] | None:
    """The place that a variable names; None, with the problem noted, when it names none."""
    rest = variable[len(PREFIX) :].upper()
    at: Place = ()
    while rest:
        below = _below(shape, tree)
        named = [key for key in below if (rest + "__").startswith(flat(key) + "__")]
        key = max(named, key=lambda each: len(flat(each)), default=None)
        if key is None or sum(flat(each) == flat(key) for each in named) > 1:
            name = rest.partition("__")[0].lower()
            by[*at, name] = variable
            notes.wrong((*at, name), _lost(name, below, ambiguous=key is not None))
            return None
        rest = rest[len(flat(key)) + 2 :]
        at, shape, tree = (*at, key), below[key], _child(tree, key)
    return at, shape


def _is_plain(shape: Shape) -> bool:
    return _is_plain(shape.shape) if isinstance(shape, Maybe) else isinstance(shape, Scalar | Choice)


def _lost(name: str, below: Mapping[str | int, Shape], *, ambiguous: bool) -> str:
    if ambiguous:
        return "several keys are written like this in a variable's name"
    return unknown("key", name, (flat(key).lower() for key in below))


def _below(shape: Shape, tree: object) -> dict[str | int, Shape]:
    """The keys under a place: those of its type, or those that the file has."""
    match shape:
        case Maybe():
            return _below(shape.shape, tree)
        case Record():
            return dict(shape.keys.items())
        case Names() if isinstance(tree, dict):
            return dict.fromkeys(tree, shape.item)
        case Items() if isinstance(tree, list):
            return dict.fromkeys(range(len(tree)), shape.item)
        case _:
            return {}


def _child(tree: object, key: str | int) -> object:
    if isinstance(tree, dict):
        return tree.get(key)
    return tree[key] if isinstance(tree, list) and isinstance(key, int) else None


def _put(tree: object, place: Place, value: object) -> object:
    """A copy of the tree with the value in its place."""
    if not place:
        return value
    key, *rest = place
    inner = _put(_child(tree, key), tuple(rest), value)
    if isinstance(tree, list):
        return [inner if index == key else item for index, item in enumerate(tree)]
    return {**(tree if isinstance(tree, dict) else {}), key: inner}
