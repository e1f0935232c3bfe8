"""The JSON Schema of llmfail.yaml, for editors. Made from the same annotations that the reader goes by."""

from __future__ import annotations

from typing import Any

from llmfail.settings.schema.scalars import Scalar
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import (
    ChoiceShape,
    ListShape,
    MappingShape,
    OptionalShape,
    Shape,
    StructShape,
    VariantShape,
    shape_of,
)

JsonSchema = dict[str, Any]
REFERENCE_SCHEMA: JsonSchema = {"type": "string", "pattern": r"\$\{"}
"""Any scalar may come from the environment."""


def build_schema() -> JsonSchema:
    """What an editor can know: keys, types and ranges; not what the parts have to do with each other."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "llmfail.yaml"}
    return head | _schema_of(shape_of(Settings))


def _schema_of(shape: Shape) -> JsonSchema:
    match shape:
        case Scalar():
            found: JsonSchema = {"anyOf": [dict(shape.schema), REFERENCE_SCHEMA]}
        case OptionalShape():
            found = {"anyOf": [_schema_of(shape.shape), {"type": "null"}]}
        case ChoiceShape():
            found = {"anyOf": [{"enum": list(shape.values)}, REFERENCE_SCHEMA]}
        case StructShape():
            found = _struct_schema(shape)
        case MappingShape():
            names = dict(shape.key.schema)
            found = _nullable_schema(
                "object", propertyNames=names, additionalProperties=_schema_of(shape.item)
            )
        case ListShape():
            found = _nullable_schema("array", items=_schema_of(shape.item))
        case VariantShape():
            found = {"anyOf": [_variant_schema(tag, record) for tag, record in shape.by_tag.items()]}
    return found


def _nullable_schema(kind: str, **rest: object) -> JsonSchema:
    """A section whose lines are all commented out is null."""
    return {"type": [kind, "null"], **rest}


def _struct_schema(record: StructShape) -> JsonSchema:
    properties = {name: _schema_of(shape) for name, shape in record.keys.items()}
    kind = ["object"] if record.required else ["object", "null"]
    whole = {
        "type": kind,
        "properties": properties,
        "required": list(record.required),
        "additionalProperties": False,
    }
    return {"anyOf": [next(iter(properties.values())), whole]} if record.shorthand else whole


def _variant_schema(tag: str, record: StructShape) -> JsonSchema:
    return _struct_schema(record) if record.keys else {"const": tag}
