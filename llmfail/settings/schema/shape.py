"""The shape of an annotation, in the few forms that a configuration has.

Reader, overrides, JSON Schema and ``config show`` each go through the annotations of ``types``; this is the
one place that knows how Python spells them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, cast, get_args, get_origin

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from llmfail.settings.schema.scalars import Derived, Scalar, Shorthand

Shape: TypeAlias = (
    "Scalar | StructShape | ChoiceShape | MappingShape | ListShape | VariantShape | OptionalShape"
)


class StructShape(NamedTuple):
    """A Struct and its keys. ``shorthand``: the value of its first key may stand for the whole."""

    struct: type[Any]
    keys: dict[str, Shape]
    required: tuple[str, ...]
    shorthand: bool = False


class ChoiceShape(NamedTuple):
    """One of some words or numbers."""

    values: tuple[object, ...]


class MappingShape(NamedTuple):
    """A mapping whose keys the user chooses."""

    key: Scalar
    item: Shape


class ListShape(NamedTuple):
    """A list."""

    item: Shape


class VariantShape(NamedTuple):
    """One of several records, told apart by the first key of each; one without keys is just its word."""

    by_tag: dict[str, StructShape]


class OptionalShape(NamedTuple):
    """Something, or nothing."""

    shape: Shape


@cache
def shape_of(annotation: Hashable) -> Shape:
    """The shape of a type that ``types`` uses. Raises TypeError for any other."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return _struct_shape_of(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape_of_annotated(*arguments)
    if origin in {Union, UnionType}:
        return _shape_of_union(arguments)
    if origin is Literal:
        return ChoiceShape(arguments)
    if origin is tuple:
        return ListShape(shape_of(arguments[0]))
    if origin is Mapping:
        key = shape_of(arguments[0])
        assert isinstance(key, Scalar)
        return MappingShape(key, shape_of(arguments[1]))
    raise TypeError(f"no configuration value has the type {annotation}")


def _shape_of_annotated(annotation: Any, mark: object) -> Shape:  # noqa: ANN401
    if isinstance(mark, Scalar):
        return mark
    assert isinstance(mark, Shorthand)
    return _struct_shape_of(annotation)._replace(shorthand=True)


def _shape_of_union(arguments: tuple[Any, ...]) -> Shape:
    some = tuple(each for each in arguments if each is not NoneType)
    if len(some) < len(arguments):
        return OptionalShape(shape_of(some[0]))
    records = [_struct_shape_of(each) for each in some]
    return VariantShape({_tag_of(record): record for record in records})


def _tag_of(record: StructShape) -> str:
    return next(iter(record.keys), str(record.struct.__name__).lower())


def _struct_shape_of(struct: Any) -> StructShape:  # noqa: ANN401
    written = [each for each in fields(struct) if not _is_derived(each)]
    required = tuple(each.name for each in written if each.required)
    return StructShape(
        struct, {each.name: shape_of(cast("Hashable", each.type)) for each in written}, required
    )


def _is_derived(field: FieldInfo) -> bool:
    return any(isinstance(mark, Derived) for mark in getattr(field.type, "__metadata__", ()))
