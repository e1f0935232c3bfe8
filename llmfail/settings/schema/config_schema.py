"""The JSON Schema of llmfail.yaml, for editors. Made from the same annotations that the reader goes by."""

from __future__ import annotations

from typing import Any

from llmfail.settings.schema.scalars import Scalar
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import (
    Choice,
    Items,
    Maybe,
    Names,
    Record,
    Shape,
    Variants,
    shape_of,
)

Schema = dict[str, Any]
REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}
"""Any scalar may come from the environment."""


def schema() -> Schema:
    """What an editor can know: keys, types and ranges; not what the parts have to do with each other."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "llmfail.yaml"}
    return head | _schema(shape_of(Settings))


def _schema(shape: Shape) -> Schema:
    match shape:
        case Scalar():
            found: Schema = {"anyOf": [dict(shape.schema), REFERENCE]}
        case Maybe():
            found = {"anyOf": [_schema(shape.shape), {"type": "null"}]}
        case Choice():
            found = {"anyOf": [{"enum": list(shape.values)}, REFERENCE]}
        case Record():
            found = _record(shape)
        case Names():
            names = dict(shape.key.schema)
            found = _section("object", propertyNames=names, additionalProperties=_schema(shape.item))
        case Items():
            found = _section("array", items=_schema(shape.item))
        case Variants():
            found = {"anyOf": [_variant(tag, record) for tag, record in shape.by_tag.items()]}
    return found


def _section(kind: str, **rest: object) -> Schema:
    """A section whose lines are all commented out is null."""
    return {"type": [kind, "null"], **rest}


def _record(record: Record) -> Schema:
    properties = {name: _schema(shape) for name, shape in record.keys.items()}
    kind = ["object"] if record.required else ["object", "null"]
    whole = {
        "type": kind,
        "properties": properties,
        "required": list(record.required),
        "additionalProperties": False,
    }
    return {"anyOf": [next(iter(properties.values())), whole]} if record.shorthand else whole


def _variant(tag: str, record: Record) -> Schema:
    return _record(record) if record.keys else {"const": tag}
