"""A plain tree -> values, with every problem noted instead of a stop at the first.

It knows types and places, but not files and lines; how the parts of a configuration fit together is for
``cross_checks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from llmfail.settings.reading import env_vars
from llmfail.settings.reading.plain_values import (
    NULL_WORDS,
    FromEnvironment,
    Place,
    describe,
    parse_scalar,
)
from llmfail.settings.schema.scalars import Scalar
from llmfail.settings.schema.shape import (
    ChoiceShape,
    ListShape,
    MappingShape,
    OptionalShape,
    Shape,
    StructShape,
    VariantShape,
)


class Invalid:
    """It stands for a value that could not be read; the problem is noted."""


INVALID: Final = Invalid()


class ValidationNotes:
    """What one validation finds: the problems, and the original texts of values with references."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[tuple[Place, str]] = []
        self.original_texts: dict[Place, str] = {}

    def add_problem(self, at: Place, message: str) -> Invalid:
        self.problems.append((at, message))
        return INVALID


def validate(shape: Shape, value: object, at: Place, notes: ValidationNotes) -> object:
    """The value, or INVALID. Parts that could not be read are left out."""
    match shape:
        case Scalar():
            found = _validate_scalar(shape, value, at, notes)
        case OptionalShape():
            found = _validate_optional(shape, value, at, notes)
        case ChoiceShape():
            found = _validate_choice(shape, value, at, notes)
        case StructShape():
            found = _validate_struct(shape, value, at, notes)
        case MappingShape():
            found = _validate_mapping(shape, value, at, notes)
        case ListShape():
            found = _validate_list(shape, value, at, notes)
        case VariantShape():
            found = _validate_variant(shape, value, at, notes)
    return found


def _validate_optional(maybe: OptionalShape, value: object, at: Place, notes: ValidationNotes) -> object:
    kind = maybe.shape
    if not isinstance(kind, Scalar):
        return None if _is_null(value) else validate(kind, value, at, notes)
    found = _expand(value, at, notes, optional=kind.optional)
    return None if _is_null(found) else _parse_expanded(kind, found, at, notes)


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, FromEnvironment) and value in NULL_WORDS)


def _validate_scalar(kind: Scalar, value: object, at: Place, notes: ValidationNotes) -> object:
    return _parse_expanded(kind, _expand(value, at, notes, optional=kind.optional), at, notes)


def _parse_expanded(kind: Scalar, expanded: object, at: Place, notes: ValidationNotes) -> object:
    """The value of this kind."""
    if isinstance(expanded, Invalid):
        return INVALID
    try:
        return kind.parse(
            expanded
            if kind.text or not isinstance(expanded, FromEnvironment)
            else parse_scalar(str(expanded))
        )
    except ValueError as error:
        return notes.add_problem(at, _describe_error(error, kind, expanded))


def _describe_error(error: ValueError, kind: Scalar, value: object) -> str:
    text = str(error)
    return f"{text}, {describe(value)}" if text.startswith("expected") and not kind.secret else text


def _expand(value: object, at: Place, notes: ValidationNotes, *, optional: bool = False) -> object:
    """The value with its references replaced. An unset variable is a problem unless it is ``optional``."""
    if isinstance(value, FromEnvironment) or not isinstance(value, str) or "${" not in value:
        return value
    notes.original_texts[at] = value
    try:
        return env_vars.expand(value, notes.environ)
    except env_vars.UnsetVariable as unset:
        if optional:
            return ""
        return notes.add_problem(
            at, f"the environment variable {unset} is not set (${{{unset}:-}} allows that)"
        )
    except ValueError as error:
        return notes.add_problem(at, str(error))


def _validate_choice(choice: ChoiceShape, value: object, at: Place, notes: ValidationNotes) -> object:
    found = _expand(value, at, notes)
    if isinstance(found, Invalid):
        return INVALID
    plain = parse_scalar(str(found)) if isinstance(found, FromEnvironment) else found
    for allowed in choice.values:
        if allowed == plain and type(allowed) is type(plain):
            return allowed
    return notes.add_problem(at, f"expected {' or '.join(map(str, choice.values))}, {describe(found)}")


def _validate_struct(record: StructShape, value: object, at: Place, notes: ValidationNotes) -> object:
    if record.shorthand and isinstance(value, str) and not value.startswith("{"):
        value = {next(iter(record.keys)): value}
    tree = _require_container(value, dict, "a mapping", at, notes)
    if not isinstance(tree, dict):
        return INVALID
    _refuse_unknown(tree, record, at, notes)
    values = {
        name: found
        for name, shape in record.keys.items()
        if name in tree and not isinstance(found := validate(shape, tree[name], (*at, name), notes), Invalid)
    }
    for name in record.required:
        if name not in tree:
            notes.add_problem(at, f"{name} is missing")
    if any(name not in values for name in record.required):
        return INVALID
    derive = getattr(record.struct, "derive", None)
    derived = derive(str(at[-1]) if at else "", tree) if derive else {}
    return record.struct(**{**derived, **values})


def _refuse_unknown(
    tree: Mapping[str, object], record: StructShape, at: Place, notes: ValidationNotes
) -> None:
    for key in tree:
        if key not in record.keys:
            notes.add_problem((*at, key), describe_unknown("key", key, record.keys))


def _validate_mapping(names: MappingShape, value: object, at: Place, notes: ValidationNotes) -> object:
    tree = _require_container(value, dict, "a mapping", at, notes)
    if not isinstance(tree, dict):
        return INVALID
    found: dict[object, object] = {}
    for key, item in tree.items():
        place = (*at, key)
        name = _parse_expanded(names.key, key, place, notes)
        read_item = validate(names.item, item, place, notes)
        if not isinstance(name, Invalid) and not isinstance(read_item, Invalid):
            found[name] = read_item
    return found


def _validate_list(items: ListShape, value: object, at: Place, notes: ValidationNotes) -> object:
    tree = _require_container(value, list, "a list", at, notes)
    if not isinstance(tree, list):
        return INVALID
    found = (validate(items.item, item, (*at, index), notes) for index, item in enumerate(tree))
    return tuple(item for item in found if not isinstance(item, Invalid))


def _validate_variant(variants: VariantShape, value: object, at: Place, notes: ValidationNotes) -> object:
    tags = variants.by_tag
    if isinstance(value, str):
        variant = tags.get(value)
        if variant is not None and not variant.keys:
            return variant.struct()
        return notes.add_problem(at, describe_unknown("step", value, tags))
    tree = _require_container(value, dict, "a step", at, notes)
    if not isinstance(tree, dict):
        return INVALID
    for tag, record in tags.items():
        if tag in tree and record.keys:
            return _validate_struct(record, tree, at, notes)
    return notes.add_problem(at, describe_unknown("step", next(iter(tree), ""), tags))


def _require_container(
    value: object, container_type: type, expected: str, at: Place, notes: ValidationNotes
) -> object:
    """The dict or list that is expected here. None is an empty one: a section whose lines are all commented
    out.
    """
    if isinstance(value, container_type | Invalid):
        return value
    if value is None:
        return container_type()
    # A single value is not shown: it may be a key in the wrong place.
    found = describe(value) if isinstance(value, dict | list) else "got a single value"
    return notes.add_problem(at, f"expected {expected}, {found}")


def parse_yaml_value(value: FromEnvironment, at: Place, notes: ValidationNotes) -> object:
    from llmfail.settings.reading import yaml_tree

    try:
        document = yaml_tree.parse(str(value))
    except yaml_tree.UnreadableYaml as error:
        return notes.add_problem(at, str(error))
    notes.problems += [((*at, *place), message) for place, message in document.problems]
    return document.tree


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """``unknown key, did you mean …?``, or the known names. The unknown name is in the problem's path."""
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(name.lower(), names, n=1)
    if near:
        return f"unknown {kind}, did you mean {near[0]}?"
    return f"unknown {kind}; known: {', '.join(names) or 'none'}"
