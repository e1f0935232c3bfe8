"""A schema for a target that takes none: it goes into the system prompt, and the answer is judged by it all
the same.
"""

from __future__ import annotations

import json

from msgspec.structs import replace

from llmfail.core.conversation import Text
from llmfail.core.model import Request

INSTRUCTION = "Answer with JSON alone, without a code fence around it. It must be valid for this JSON Schema:"


def move_schema_to_system(request: Request, *, keep_json: bool) -> Request:
    """The same request without a schema. ``keep_json``: JSON without a schema may still be asked for."""
    if request.schema is None:
        return request
    said = f"{INSTRUCTION}\n{json.dumps(request.schema, ensure_ascii=False)}"
    system: str | tuple[Text, ...]
    if isinstance(request.system, tuple):
        system = (*request.system, Text(said))
    else:
        system = f"{request.system}\n\n{said}" if request.system else said
    return replace(request, schema=None, system=system, json=request.json and keep_json)
