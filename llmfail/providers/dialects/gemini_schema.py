"""Google's names and schemas: field names in either spelling, and its own schemas as JSON Schema.

They are a part of OpenAPI's: types in capitals, ``nullable`` in place of a type, counts as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_FREE: Final = frozenset(
    {
        "args",
        "response",
        "parametersJsonSchema",
        "responseJsonSchema",
        "responseSchema",
        "parameters",
        "labels",
    }
)
"""Fields in which names are the caller's. In schemas of Google's own either spelling is read."""
_UNDERSCORE: Final = re.compile("_([a-z])")
_COUNTS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_NOT_IN_JSON_SCHEMA: Final = frozenset({"nullable", "propertyOrdering", "example"})


def rename_fields(value: object) -> Any:  # noqa: ANN401 - any JSON
    """The same with names as ``inlineData``, where they may be ``inline_data``."""
    if isinstance(value, list):
        return [rename_fields(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    named = ((_rename(name), one) for name, one in value.items())
    return {name: one if name in _FREE else rename_fields(one) for name, one in named}


def to_json_schema(schema: object) -> Any:  # noqa: ANN401 - a schema, or whatever stands in its place
    if not isinstance(schema, Mapping):
        return schema
    named = {_rename(name): value for name, value in schema.items()}
    kept = {name: _convert(name, value) for name, value in named.items() if name not in _NOT_IN_JSON_SCHEMA}
    if named.get("nullable") is True and isinstance(kept.get("type"), str):
        kept["type"] = [kept["type"], "null"]
    return kept


def _convert(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name in {"items", "additionalProperties"}:
        return to_json_schema(value)
    if name in {"properties", "defs", "$defs"} and isinstance(value, Mapping):
        return {key: to_json_schema(one) for key, one in value.items()}
    if name in {"anyOf", "prefixItems"} and isinstance(value, list):
        return [to_json_schema(one) for one in value]
    return int(value) if name in _COUNTS and isinstance(value, str) and value.isdigit() else value


def _rename(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)
