"""A plain tree -> values, noting every problem instead of stopping at the first.

Knows types and places, not files and lines, and nothing about what the parts of a configuration have to do
with each other: that is ``check``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from llmfail.settings.reading import env_vars
from llmfail.settings.reading.plain_values import (
    NULL,
    Given,
    Place,
    got,
    scalar,
)
from llmfail.settings.schema.scalars import Scalar
from llmfail.settings.schema.shape import (
    Choice,
    Items,
    Maybe,
    Names,
    Record,
    Shape,
    Variants,
)


class Invalid:
    """What is there instead of a value that could not be read; the problem is noted."""


INVALID: Final = Invalid()


class Notes:
    """What one reading finds: the problems, and which texts had references, as they were written."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[tuple[Place, str]] = []
        self.written: dict[Place, str] = {}

    def wrong(self, at: Place, message: str) -> Invalid:
        self.problems.append((at, message))
        return INVALID


def read(shape: Shape, value: object, at: Place, notes: Notes) -> object:
    """The value, or INVALID. Parts that could not be read are left out of what is returned."""
    match shape:
        case Scalar():
            found = _scalar(shape, value, at, notes)
        case Maybe():
            found = _maybe(shape, value, at, notes)
        case Choice():
            found = _choice(shape, value, at, notes)
        case Record():
            found = _record(shape, value, at, notes)
        case Names():
            found = _names(shape, value, at, notes)
        case Items():
            found = _items(shape, value, at, notes)
        case Variants():
            found = _variant(shape, value, at, notes)
    return found


def _maybe(maybe: Maybe, value: object, at: Place, notes: Notes) -> object:
    kind = maybe.shape
    if not isinstance(kind, Scalar):
        return None if _is_nothing(value) else read(kind, value, at, notes)
    found = _expanded(value, at, notes, optional=kind.optional)
    return None if _is_nothing(found) else _fitting(kind, found, at, notes)


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, Given) and value in NULL)


def _scalar(kind: Scalar, value: object, at: Place, notes: Notes) -> object:
    return _fitting(kind, _expanded(value, at, notes, optional=kind.optional), at, notes)


def _fitting(kind: Scalar, found: object, at: Place, notes: Notes) -> object:
    """What a kind makes of an expanded value."""
    if isinstance(found, Invalid):
        return INVALID
    try:
        return kind.parse(found if kind.text or not isinstance(found, Given) else scalar(str(found)))
    except ValueError as error:
        return notes.wrong(at, _message(error, kind, found))


def _message(error: ValueError, kind: Scalar, found: object) -> str:
    text = str(error)
    return f"{text}, {got(found)}" if text.startswith("expected") and not kind.secret else text


def _expanded(value: object, at: Place, notes: Notes, *, optional: bool = False) -> object:
    """The value with its references replaced; an unset variable is no key, and a problem elsewhere."""
    if isinstance(value, Given) or not isinstance(value, str) or "${" not in value:
        return value
    notes.written[at] = value
    try:
        return env_vars.expand(value, notes.environ)
    except env_vars.Unset as unset:
        if optional:
            return ""
        return notes.wrong(at, f"the environment variable {unset} is not set (${{{unset}:-}} allows that)")
    except ValueError as error:
        return notes.wrong(at, str(error))


def _choice(choice: Choice, value: object, at: Place, notes: Notes) -> object:
    found = _expanded(value, at, notes)
    if isinstance(found, Invalid):
        return INVALID
    plain = scalar(str(found)) if isinstance(found, Given) else found
    for allowed in choice.values:
        if allowed == plain and type(allowed) is type(plain):
            return allowed
    return notes.wrong(at, f"expected {' or '.join(map(str, choice.values))}, {got(found)}")


def _record(record: Record, value: object, at: Place, notes: Notes) -> object:
    if record.shorthand and isinstance(value, str) and not value.startswith("{"):
        value = {next(iter(record.keys)): value}
    tree = _container(value, dict, "a mapping", at, notes)
    if not isinstance(tree, dict):
        return INVALID
    _refuse_unknown(tree, record, at, notes)
    values = {
        name: found
        for name, shape in record.keys.items()
        if name in tree and not isinstance(found := read(shape, tree[name], (*at, name), notes), Invalid)
    }
    for name in record.required:
        if name not in tree:
            notes.wrong(at, f"{name} is missing")
    if any(name not in values for name in record.required):
        return INVALID
    derive = getattr(record.of, "derive", None)
    derived = derive(str(at[-1]) if at else "", tree) if derive else {}
    return record.of(**{**derived, **values})


def _refuse_unknown(tree: Mapping[str, object], record: Record, at: Place, notes: Notes) -> None:
    for key in tree:
        if key not in record.keys:
            notes.wrong((*at, key), unknown("key", key, record.keys))


def _names(names: Names, value: object, at: Place, notes: Notes) -> object:
    tree = _container(value, dict, "a mapping", at, notes)
    if not isinstance(tree, dict):
        return INVALID
    found: dict[object, object] = {}
    for key, item in tree.items():
        place = (*at, key)
        name = _fitting(names.key, key, place, notes)
        read_item = read(names.item, item, place, notes)
        if not isinstance(name, Invalid) and not isinstance(read_item, Invalid):
            found[name] = read_item
    return found


def _items(items: Items, value: object, at: Place, notes: Notes) -> object:
    tree = _container(value, list, "a list", at, notes)
    if not isinstance(tree, list):
        return INVALID
    found = (read(items.item, item, (*at, index), notes) for index, item in enumerate(tree))
    return tuple(item for item in found if not isinstance(item, Invalid))


def _variant(variants: Variants, value: object, at: Place, notes: Notes) -> object:
    tags = variants.by_tag
    if isinstance(value, str):
        word = tags.get(value)
        if word is not None and not word.keys:
            return word.of()
        return notes.wrong(at, unknown("step", value, tags))
    tree = _container(value, dict, "a step", at, notes)
    if not isinstance(tree, dict):
        return INVALID
    for tag, record in tags.items():
        if tag in tree and record.keys:
            return _record(record, tree, at, notes)
    return notes.wrong(at, unknown("step", next(iter(tree), ""), tags))


def _container(value: object, of: type, wanted: str, at: Place, notes: Notes) -> object:
    """The dict or list that belongs here. Nothing at all is an empty one: a section with all its lines
    commented out. Text from the environment is parsed.
    """
    if isinstance(value, of | Invalid):
        return value
    if value is None:
        return of()
    # The value itself stays unsaid: a key in the wrong place would be shown.
    found = got(value) if isinstance(value, dict | list) else "got a single value"
    return notes.wrong(at, f"expected {wanted}, {found}")


def parsed(value: Given, at: Place, notes: Notes) -> object:
    from llmfail.settings.reading import yaml_tree

    try:
        document = yaml_tree.parse(str(value))
    except yaml_tree.Unreadable as error:
        return notes.wrong(at, str(error))
    notes.problems += [((*at, *place), message) for place, message in document.problems]
    return document.tree


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """``unknown key, did you mean …?``, or what there is. The name itself is in the problem's path."""
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(name.lower(), names, n=1)
    if near:
        return f"unknown {what}, did you mean {near[0]}?"
    return f"unknown {what}; known: {', '.join(names) or 'none'}"
