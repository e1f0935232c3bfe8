"""What a healthy simulated model says when it is offered tools: it thinks, and calls the first two of them.

Thoughts and calls are signed as the vendor would sign them, and a request that brings a signature back must
bring the vendor's own: ``find_bad_signature`` is what Anthropic, OpenAI and Gemini check.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from llmfail.simulator.canned_answer import build_canned_answer, build_sample
from llmfail.simulator.recorded_request import RecordedRequest

MAX_CALLS = 2
SKIP_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini takes in the place of the signature of a call that it did not make."""
_SCHEMA_KEYS = ("input_schema", "parameters", "parametersJsonSchema", "parameters_json_schema")
"""Where the formats have the arguments of a function; Google takes names with underscores too."""
THOUGHT = "The tools will tell."


@dataclass(frozen=True, slots=True)
class CannedTurn:
    """A thought, a text, and calls: name and arguments of each."""

    text: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    thought: str = THOUGHT


def build_canned_turn(request: RecordedRequest) -> CannedTurn | None:
    """None where no tool is to be called: none is offered, or their results are there."""
    document = request.document
    if document.get("tool_choice") == "none" or _has_results(document):
        return None
    functions = list(_iter_functions(document))[:MAX_CALLS]
    if not functions:
        return None
    calls = tuple((name, build_sample(schema, schema) or {}) for name, schema in functions)
    return CannedTurn("I look.", calls)


def answer_as_model(request: RecordedRequest) -> str | CannedTurn:
    """Calls where tools are offered, else a text."""
    return build_canned_turn(request) or build_canned_answer(request)


def sign(vendor: str, text: str) -> str:
    """In base64, as every vendor writes signatures; Google's SDK refuses any other."""
    digest = sha256(f"{vendor}/{text}".encode()).hexdigest()[:40]
    return b2a_base64(f"{vendor}.{digest}".encode(), newline=False).decode("ascii")


def find_bad_signature(request: RecordedRequest) -> str | None:
    """What the vendor says to a signature that is missing, or not its own."""
    match request.route.format:
        case "anthropic":
            return _check_anthropic(request.document)
        case "gemini":
            return _check_gemini(request.document)
        case "responses":
            items = _objects(request.document.get("input"))
            found = (item for item in items if item.get("type") == "reasoning")
            bad = any(item.get("encrypted_content") != sign("openai", str(item.get("id"))) for item in found)
            return "The encrypted content could not be verified." if bad else None
        case _:
            return None


def _check_anthropic(document: Mapping[str, Any]) -> str | None:
    for number, message in enumerate(_objects(document.get("messages"))):
        for place, block in enumerate(_objects(message.get("content"))):
            if block.get("type") == "thinking" and block.get("signature") != sign(
                "anthropic", str(block.get("thinking"))
            ):
                return f"messages.{number}.content.{place}: Invalid `signature` in `thinking` block"
    return None


def _check_gemini(document: Mapping[str, Any]) -> str | None:
    """The first call of each turn of the model is signed."""
    for content in _objects(document.get("contents")):
        calls = [part for part in _objects(content.get("parts")) if "functionCall" in part]
        if not calls:
            continue
        call = calls[0]["functionCall"]
        name = str(call.get("name"))
        if calls[0].get("thoughtSignature") not in {SKIP_SIGNATURE, sign("gemini", name)}:
            return f"Function call is missing a thought_signature in functionCall parts: {name}"
    return None


def _iter_functions(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for tool in _objects(document.get("tools")):
        declared = _objects(tool.get("functionDeclarations")) or [tool.get("function", tool)]
        for function in declared:
            schema: Mapping[str, Any] = next((function[key] for key in _SCHEMA_KEYS if function.get(key)), {})
            if function.get("name"):
                yield str(function["name"]), schema


def _has_results(document: Mapping[str, Any]) -> bool:
    """Whether the last turn brings results of tools."""
    turns = document.get("messages") or document.get("contents") or document.get("input")
    last = json.dumps(turns[-1]) if isinstance(turns, list) and turns else ""
    return any(word in last for word in ('"tool"', "tool_result", "functionResponse", "function_call_output"))


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
