"""What a healthy simulated provider says: who it is, and the beginning of what it was asked.

A request that wants JSON gets some: the smallest value that fits its schema, as far as types, enumerations,
bounds and required properties go. A ``pattern`` or a ``format`` is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmfail.simulator.recorded_request import RecordedRequest

MAX_ECHO_CHARS = 60
"""So many characters of the prompt are in the answer."""
MAX_SCHEMA_DEPTH = 12
"""A schema that goes deeper is taken to contain itself."""
SAMPLE_WORD = "simulated"

SchemaMapping = Mapping[str, Any]


def build_canned_answer(request: RecordedRequest) -> str:
    if (schema := find_schema(request.document)) is not None:
        return json.dumps(build_sample(schema, schema))
    prompt = " ".join(request.prompt.split())
    shown = prompt if len(prompt) <= MAX_ECHO_CHARS else f"{prompt[:MAX_ECHO_CHARS]}…"
    heard = f" You said: {shown}" if shown else ""
    return f"Hello from {request.target} (simulated).{heard}"


def find_schema(document: Mapping[str, Any]) -> SchemaMapping | None:
    """The JSON Schema where each format has it; an empty one for any JSON, None for text."""
    match document:
        case (
            {"output_config": {"format": {"schema": Mapping() as schema}}}
            | {"response_format": {"json_schema": {"schema": Mapping() as schema}}}
            | {"text": {"format": {"schema": Mapping() as schema}}}
            | {"generationConfig": {"responseJsonSchema": Mapping() as schema}}
            | {"generationConfig": {"responseSchema": Mapping() as schema}}
        ):
            return schema
        case {"response_format": {"type": "json_object"}} | {
            "generationConfig": {"responseMimeType": "application/json"}
        }:
            return {}
        case _:
            return None


def build_sample(schema: object, root: SchemaMapping, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """A value for the schema; ``root`` is where its references point into."""
    if not isinstance(schema, Mapping) or depth > MAX_SCHEMA_DEPTH:
        return None
    match schema:
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"$ref": str(reference)}:
            return build_sample(_resolve_reference(reference, root), root, depth + 1)
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            return build_sample(first, root, depth + 1)
        case {"allOf": [*parts]}:
            together = {
                key: value for part in parts if isinstance(part, Mapping) for key, value in part.items()
            }
            return build_sample(together, root, depth + 1)
        case _:
            return _build_sample_of_type(schema, root, depth)


def _build_sample_of_type(schema: SchemaMapping, root: SchemaMapping, depth: int) -> Any:  # noqa: ANN401
    kind = schema.get("type", "object")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    match str(kind).lower():
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required", properties)
            return {
                name: build_sample(properties.get(name, {"type": "string"}), root, depth + 1)
                for name in names
            }
        case "array":
            return [build_sample(schema.get("items", {}), root, depth + 1)] * schema.get("minItems", 1)
        case "integer" | "number":
            return _build_number(schema)
        case "string":
            least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
            return SAMPLE_WORD.ljust(least, ".")[:most]
        case "boolean":
            return True
        case _:
            return None


def _build_number(schema: SchemaMapping) -> Any:  # noqa: ANN401
    """The number of the bounds that is next to nought."""
    lowest = max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
    return min(lowest, schema.get("maximum", lowest), schema.get("exclusiveMaximum", lowest + 1) - 1)


def _resolve_reference(reference: str, root: SchemaMapping) -> object:
    """``#/$defs/name`` in the schema itself; an empty schema for a reference to anywhere else."""
    found: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return found
