"""OpenAI Chat Completions and Embeddings: answers, chunks and errors."""

from __future__ import annotations

import time
from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.canned_turn import CannedTurn
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.formats.reply_text import (
    build_json_reply,
    build_retry_after_header,
    build_vector,
    count_tokens,
    cut_to_limit,
    encode_event,
    split_words,
)
from llmfail.simulator.formats.turns import build_chat_calls, build_chat_deltas
from llmfail.simulator.http1 import EventStreamReply
from llmfail.simulator.recorded_request import RecordedRequest

_ERROR_BY_STATUS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", "invalid_value", "Invalid value for 'messages'."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: (
        "invalid_request_error",
        "billing_not_active",
        "Your account is not active, please check your billing details.",
    ),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    413: ("invalid_request_error", None, "Request entity too large"),
    429: (
        "rate_limit_error",
        "rate_limit_exceeded",
        "Rate limit reached on requests per min (RPM): Limit 500, Used 500, Requested 1.",
    ),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: (
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
}
_NO_CREDIT = (
    "You exceeded your current quota, please check your plan and billing details. For more information on "
    "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "500000",
    "x-ratelimit-remaining-tokens": "499500",
    "x-ratelimit-reset-tokens": "60ms",
}
# An error names a wait only where its fault does, so that a bare 429 comes without any hint.
_QUOTA_HEADERS = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2h24m0s"}


def build_answer(request: RecordedRequest, said: str | CannedTurn) -> Reply | EventStreamReply:
    match request.route.operation:
        case "embed":
            return _build_embedding_reply(request)
        case "count":
            count = {"object": "response.input_tokens", "input_tokens": count_tokens(request.input_text)}
            return build_json_reply(200, _build_headers(request), count)
    message: dict[str, Any] = {"role": "assistant", "refusal": None, "annotations": []}
    if isinstance(said, CannedTurn):
        text, finish_reason, deltas = said.text, "tool_calls", tuple(build_chat_deltas(request, said))
        message["tool_calls"] = build_chat_calls(request, said)
    else:
        text, is_cut = cut_to_limit(said, request.max_tokens)
        finish_reason = "length" if is_cut else "stop"
        deltas = tuple({"content": piece} for piece in split_words(text))
    if request.route.stream:
        return EventStreamReply(
            {"content-type": "text/event-stream; charset=utf-8", **_build_headers(request)},
            _build_chunks(request, text, finish_reason, deltas),
        )
    choice = {
        "index": 0,
        "message": {**message, "content": text},
        "logprobs": None,
        "finish_reason": finish_reason,
    }
    document = _build_envelope(request, "chat.completion") | {
        "choices": [choice],
        "usage": _build_usage(request, text),
    }
    return build_json_reply(200, _build_headers(request), document)


def build_error(request: RecordedRequest, fault: Fault) -> Reply:
    status, kind, code, message = _describe_error(request, fault)
    message = fault.message or message
    document = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    headers = _build_identity_headers(request) | (_QUOTA_HEADERS if fault.kind is FaultKind.QUOTA else {})
    return build_json_reply(status, headers | build_retry_after_header(fault), document)


def _describe_error(request: RecordedRequest, fault: Fault) -> tuple[int, str, str | None, str]:
    match fault.kind:
        case FaultKind.QUOTA:
            message = (
                f"Rate limit reached for {request.model} on requests per day (RPD): Limit 10000, Used 10000, "
                "Requested 1. Please try again in 2h24m0s. "
                "Visit https://platform.openai.com/account/rate-limits to learn more."
            )
            return 429, "requests", "rate_limit_exceeded", message
        case FaultKind.BILLING:
            return 429, "insufficient_quota", "insufficient_quota", _NO_CREDIT
        case FaultKind.AUTH:
            return 401, *_ERROR_BY_STATUS[401]
        case _:
            other = "invalid_request_error" if fault.status < 500 else "server_error"
            kind, code, message = _ERROR_BY_STATUS.get(
                fault.status, (other, None, f"HTTP status {fault.status}")
            )
            return fault.status, kind, code, message


def _build_chunks(
    request: RecordedRequest, text: str, finish_reason: str, deltas: tuple[dict[str, Any], ...]
) -> tuple[bytes, ...]:
    options = request.document.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    envelope = _build_envelope(request, "chat.completion.chunk") | ({"usage": None} if with_usage else {})

    def chunk(delta: dict[str, Any], finished: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return encode_event(envelope | {"choices": [choice]})

    said = [chunk({"role": "assistant", "content": "", "refusal": None})]
    said += map(chunk, deltas)
    said.append(chunk({}, finish_reason))
    if with_usage:
        said.append(encode_event(envelope | {"choices": [], "usage": _build_usage(request, text)}))
    return *said, b"data: [DONE]\n\n"


def _build_embedding_reply(request: RecordedRequest) -> Reply:
    texts = request.texts_to_embed
    wanted = request.document.get("dimensions")
    dimensions = wanted if isinstance(wanted, int) else None
    data = [
        {"object": "embedding", "index": index, "embedding": build_vector(text, dimensions)}
        for index, text in enumerate(texts)
    ]
    count = sum(map(count_tokens, texts))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return build_json_reply(
        200, _build_headers(request), {"object": "list", "data": data, "model": request.model, "usage": usage}
    )


def _build_envelope(request: RecordedRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.number:029d}",
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _build_usage(request: RecordedRequest, text: str) -> dict[str, Any]:
    read, written = count_tokens(request.input_text), count_tokens(text)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _build_headers(request: RecordedRequest) -> dict[str, str]:
    return _build_identity_headers(request) | _LIMIT_HEADERS


def _build_identity_headers(request: RecordedRequest) -> dict[str, str]:
    return {
        "x-request-id": f"req_{request.number:032x}",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "1",
    }
