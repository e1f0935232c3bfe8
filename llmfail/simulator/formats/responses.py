"""OpenAI Responses: answers and their events. Its errors are those of Chat Completions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.canned_turn import CannedTurn
from llmfail.simulator.formats.reply_text import (
    build_json_reply,
    count_tokens,
    cut_to_limit,
    encode_event,
    split_words,
)
from llmfail.simulator.formats.turns import build_message_item, build_response_items
from llmfail.simulator.http1 import EventStreamReply
from llmfail.simulator.recorded_request import RecordedRequest


def build_answer(request: RecordedRequest, said: str | CannedTurn) -> Reply | EventStreamReply:
    if isinstance(said, CannedTurn):
        items, is_cut, text = build_response_items(request, said), False, said.text
    else:
        text, is_cut = cut_to_limit(said, request.max_tokens)
        items = [build_message_item(request, text)]
    whole = _build_response(request, items, text, is_cut=is_cut)
    if not request.route.stream:
        return build_json_reply(200, {"x-request-id": f"req_{request.number:032x}"}, whole)
    events = tuple(
        encode_event({**event, "sequence_number": number}, event["type"])
        for number, event in enumerate(_iter_events(whole))
    )
    return EventStreamReply({"content-type": "text/event-stream; charset=utf-8"}, events)


def _build_response(
    request: RecordedRequest, items: Sequence[dict[str, Any]], text: str, *, is_cut: bool
) -> dict[str, Any]:
    read, written = count_tokens(request.input_text), count_tokens(text)
    return {
        "id": f"resp_{request.number:024d}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "error": None,
        "model": request.model,
        "output": list(items),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
    }


def _iter_events(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**whole, "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": _begin(item)}
        yield from _iter_item_events(index, item)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    last = "incomplete" if whole["status"] == "incomplete" else "completed"
    yield {"type": f"response.{last}", "response": whole}


def _begin(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"content": [], "arguments": "", "status": "in_progress"}
    return {name: empty.get(name, value) for name, value in item.items()}


def _iter_item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is between the beginning and the end of an item."""
    place = {"item_id": item["id"], "output_index": index}
    if item["type"] == "message":
        yield from _iter_text_events({**place, "content_index": 0}, item["content"][0])
    elif item["type"] == "function_call":
        said = item["arguments"]
        yield {"type": "response.function_call_arguments.delta", **place, "delta": said}
        yield {
            "type": "response.function_call_arguments.done",
            **place,
            "name": item["name"],
            "arguments": said,
        }


def _iter_text_events(place: dict[str, Any], part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for piece in split_words(part["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}
