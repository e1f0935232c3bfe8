"""A canned turn with a thought and calls of tools, in the JSON of each format, whole and as events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llmfail.simulator.canned_turn import CannedTurn, sign
from llmfail.simulator.formats.reply_text import split_words
from llmfail.simulator.recorded_request import RecordedRequest


def build_anthropic_content(request: RecordedRequest, turn: CannedTurn) -> list[dict[str, Any]]:
    return [
        {"type": "thinking", "thinking": turn.thought, "signature": sign("anthropic", turn.thought)},
        {"type": "text", "text": turn.text},
        *(
            {"type": "tool_use", "id": f"toolu_{request.number:04d}_{place}", "name": name, "input": said}
            for place, (name, said) in enumerate(turn.calls)
        ),
    ]


def build_anthropic_events(request: RecordedRequest, turn: CannedTurn) -> Iterator[dict[str, Any]]:
    """The events of the blocks; arguments come in two halves."""
    for index, block in enumerate(build_anthropic_content(request, turn)):
        empty = {"thinking": "", "signature": "", "text": "", "input": {}}
        start = {name: empty.get(name, value) for name, value in block.items()}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in _iter_anthropic_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}


def _iter_anthropic_deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "thinking":
            for piece in split_words(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            for piece in split_words(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case _:
            for piece in _halves(json.dumps(block["input"])):
                yield {"type": "input_json_delta", "partial_json": piece}


def build_chat_calls(request: RecordedRequest, turn: CannedTurn) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{request.number:04d}_{place}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(said)},
        }
        for place, (name, said) in enumerate(turn.calls)
    ]


def build_chat_deltas(request: RecordedRequest, turn: CannedTurn) -> Iterator[dict[str, Any]]:
    for piece in split_words(turn.text):
        yield {"content": piece}
    for index, call in enumerate(build_chat_calls(request, turn)):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        for piece in _halves(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def build_gemini_parts(turn: CannedTurn) -> list[dict[str, Any]]:
    """Calls come in one piece there, and the first is signed."""
    parts: list[dict[str, Any]] = [{"text": turn.thought, "thought": True}, {"text": turn.text}]
    parts += [{"functionCall": {"name": name, "args": said}} for name, said in turn.calls]
    parts[2]["thoughtSignature"] = sign("gemini", turn.calls[0][0])
    return parts


def build_response_items(request: RecordedRequest, turn: CannedTurn) -> list[dict[str, Any]]:
    own = f"rs_{request.number:08d}"
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{request.number:04d}_{place}",
            "call_id": f"call_{request.number:04d}_{place}",
            "name": name,
            "arguments": json.dumps(said),
            "status": "completed",
        }
        for place, (name, said) in enumerate(turn.calls)
    ]
    thought = {"type": "reasoning", "id": own, "summary": [], "encrypted_content": sign("openai", own)}
    return [thought, build_message_item(request, turn.text), *calls]


def build_message_item(request: RecordedRequest, text: str) -> dict[str, Any]:
    said = {"type": "output_text", "text": text, "annotations": []}
    head = {"type": "message", "id": f"msg_{request.number:08d}", "role": "assistant", "status": "completed"}
    return {**head, "content": [said]}


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]
