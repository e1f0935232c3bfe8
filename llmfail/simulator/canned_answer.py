"""What a healthy simulated provider says: who it is, and the beginning of what it was asked.

A request that wants JSON gets some: the smallest value that fits its schema, as far as types, enumerations,
bounds and required properties go. A ``pattern`` or a ``format`` is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmfail.simulator.recorded_request import Seen

ECHO = 60
"""So many characters of the prompt are in the answer."""
DEEPEST = 12
"""A schema that goes deeper is taken to contain itself."""
WORD = "simulated"

Schema = Mapping[str, Any]


def greeting(seen: Seen) -> str:
    if (schema := wanted_schema(seen.document)) is not None:
        return json.dumps(sample(schema, schema))
    prompt = " ".join(seen.prompt.split())
    shown = prompt if len(prompt) <= ECHO else f"{prompt[:ECHO]}…"
    heard = f" You said: {shown}" if shown else ""
    return f"Hello from {seen.target} (simulated).{heard}"


def wanted_schema(document: Mapping[str, Any]) -> Schema | None:
    """The JSON Schema where each format has it; an empty one for any JSON, None for text."""
    match document:
        case (
            {"output_config": {"format": {"schema": Mapping() as schema}}}
            | {"response_format": {"json_schema": {"schema": Mapping() as schema}}}
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


def sample(schema: object, root: Schema, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """A value for the schema; ``root`` is where its references point into."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return None
    match schema:
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"$ref": str(reference)}:
            return sample(_resolve(reference, root), root, depth + 1)
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            return sample(first, root, depth + 1)
        case {"allOf": [*parts]}:
            together = {
                key: value for part in parts if isinstance(part, Mapping) for key, value in part.items()
            }
            return sample(together, root, depth + 1)
        case _:
            return _of_type(schema, root, depth)


def _of_type(schema: Schema, root: Schema, depth: int) -> Any:  # noqa: ANN401
    kind = schema.get("type", "object")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    match str(kind).lower():
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required", properties)
            return {name: sample(properties.get(name, {"type": "string"}), root, depth + 1) for name in names}
        case "array":
            return [sample(schema.get("items", {}), root, depth + 1)] * schema.get("minItems", 1)
        case "integer" | "number":
            return _number(schema)
        case "string":
            least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
            return WORD.ljust(least, ".")[:most]
        case "boolean":
            return True
        case _:
            return None


def _number(schema: Schema) -> Any:  # noqa: ANN401
    """The number of the bounds that is next to nought."""
    lowest = max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
    return min(lowest, schema.get("maximum", lowest), schema.get("exclusiveMaximum", lowest + 1) - 1)


def _resolve(reference: str, root: Schema) -> object:
    """``#/$defs/name`` in the schema itself; an empty schema for a reference to anywhere else."""
    found: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return found
