"""Anthropic Messages: answers, events, token counts and errors. Also what Claude on Vertex says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.canned_turn import CannedTurn
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.formats.reply_text import (
    build_json_reply,
    build_retry_after_header,
    count_tokens,
    cut_to_limit,
    encode_event,
    split_words,
)
from llmfail.simulator.formats.turns import build_anthropic_content, build_anthropic_events
from llmfail.simulator.http1 import EventStreamReply
from llmfail.simulator.recorded_request import RecordedRequest

_ERROR_BY_STATUS = {
    400: ("invalid_request_error", "messages: at least one message is required"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "There's an issue with your billing or payment information."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    409: ("conflict_error", "The request conflicts with the current state of the resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service temporarily unavailable"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits."
)


def build_answer(request: RecordedRequest, said: str | CannedTurn) -> Reply | EventStreamReply:
    if request.route.operation == "count":
        return build_json_reply(
            200, _build_headers(request), {"input_tokens": count_tokens(request.input_text)}
        )
    if isinstance(said, CannedTurn):
        text, stop_reason, content = said.text, "tool_use", build_anthropic_content(request, said)
        blocks = tuple(build_anthropic_events(request, said))
    else:
        text, is_cut = cut_to_limit(said, request.max_tokens)
        stop_reason = "max_tokens" if is_cut else "end_turn"
        content, blocks = [{"type": "text", "text": text}], tuple(_iter_text_events(text))
    if request.route.stream:
        return EventStreamReply(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                **_build_headers(request),
            },
            _build_events(request, text, stop_reason, blocks),
        )
    message = _build_message(request) | {
        "content": content,
        "stop_reason": stop_reason,
        "usage": _build_usage(request, count_tokens(text)),
    }
    return build_json_reply(200, _build_headers(request), message)


def build_error(request: RecordedRequest, fault: Fault) -> Reply:
    status, kind, message, details = _describe_error(request, fault)
    message = fault.message or message
    body: dict[str, Any] = {"type": kind, "message": message}
    if details:
        body["details"] = details
    document = {"type": "error", "error": body, "request_id": _request_id(request)}
    # The limits' reset times are hints as well: an error names a wait only where its fault does.
    return build_json_reply(
        status, {"request-id": _request_id(request), **build_retry_after_header(fault)}, document
    )


def _describe_error(request: RecordedRequest, fault: Fault) -> tuple[int, str, str, dict[str, str]]:
    match fault.kind:
        case FaultKind.QUOTA:
            message = (
                "This request would exceed your organization's monthly spend limit. "
                f"You will regain access on {_next_month()} at 00:00 UTC."
            )
            return 429, "rate_limit_error", message, {"error_code": "enforced_spend_limit_reached"}
        case FaultKind.BILLING:
            return 400, "invalid_request_error", _NO_CREDIT, {}
        case FaultKind.AUTH:
            return 401, *_ERROR_BY_STATUS[401], {}
        case _ if fault.status == 404:
            return 404, "not_found_error", f"model: {request.model}", {}
        case _:
            other = "invalid_request_error" if fault.status < 500 else "api_error"
            kind, message = _ERROR_BY_STATUS.get(fault.status, (other, f"HTTP status {fault.status}"))
            return fault.status, kind, message, {}


def _iter_text_events(text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for piece in split_words(text):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}


def _build_events(
    request: RecordedRequest, text: str, stop_reason: str, blocks: tuple[dict[str, Any], ...]
) -> tuple[bytes, ...]:
    start = _build_message(request) | {"content": [], "stop_reason": None, "usage": _build_usage(request, 1)}
    told: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": start},
        *blocks,
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": count_tokens(text)},
        },
        {"type": "message_stop"},
    )
    return tuple(encode_event(document, document["type"]) for document in told)


def _build_message(request: RecordedRequest) -> dict[str, Any]:
    return {
        "id": f"msg_01{request.number:022d}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "stop_sequence": None,
        "stop_details": None,
    }


def _build_usage(request: RecordedRequest, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": count_tokens(request.input_text),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": {"web_search_requests": 0},
        "service_tier": "standard",
        "speed": "standard",
        "inference_geo": "global",
    }


def _build_headers(request: RecordedRequest) -> dict[str, str]:
    resets_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    limits = {"requests": 50, "tokens": 480_000, "input-tokens": 400_000, "output-tokens": 80_000}
    headers = {"request-id": _request_id(request), "anthropic-workspace-id": "wrkspc_simulated"}
    for name, limit in limits.items():
        headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit - 1)
        headers[f"anthropic-ratelimit-{name}-reset"] = resets_at
    return headers


def _request_id(request: RecordedRequest) -> str:
    return f"req_011{request.number:021d}"


def _next_month() -> str:
    this_month = datetime.now(UTC).replace(day=1)
    return (this_month + timedelta(days=32)).strftime("%Y-%m-01")
