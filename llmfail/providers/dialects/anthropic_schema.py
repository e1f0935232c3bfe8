"""A JSON Schema as Anthropic takes one: bounds are told to the model in words, objects are closed.

Its structured outputs refuse bounds of numbers, of lengths and of counts, and objects that are open; its own
libraries rewrite schemas in the same way. The answer is judged by the whole schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
_MAX_MIN_ITEMS = 1
"""``minItems`` of 0 and 1 are taken."""
_INNER_SCHEMAS = ("items", "not", "if", "then", "else", "contains", "additionalProperties")
_INNER_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_INNER_MAPS = ("properties", "$defs", "definitions", "patternProperties")


def adapt_schema(schema: Any) -> Any:  # noqa: ANN401 - a schema, or true or false
    """The same schema without what would be refused."""
    if not isinstance(schema, Mapping):
        return schema
    adapted = {key: _adapt_keyword(key, value) for key, value in schema.items()}
    bounds = {key: adapted.pop(key) for key in _BOUNDS if key in adapted}
    least = adapted.get("minItems")
    if isinstance(least, int) and least > _MAX_MIN_ITEMS:
        bounds["minItems"] = adapted.pop("minItems")
    if bounds:
        told = ", ".join(f"{key}: {json.dumps(value)}" for key, value in bounds.items())
        described = adapted.get("description")
        adapted["description"] = f"{described} ({told})" if isinstance(described, str) and described else told
    if "properties" in adapted:
        adapted.setdefault("additionalProperties", False)
    return adapted


def _adapt_keyword(key: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    if key in _INNER_SCHEMAS:
        return adapt_schema(value)
    if key in _INNER_LISTS and isinstance(value, list | tuple):
        return [adapt_schema(one) for one in value]
    if key in _INNER_MAPS and isinstance(value, Mapping):
        return {name: adapt_schema(one) for name, one in value.items()}
    return value
