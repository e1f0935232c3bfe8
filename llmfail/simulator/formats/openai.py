"""OpenAI Chat Completions and Embeddings: answers, chunks and errors."""

from __future__ import annotations

import time
from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.formats.reply_text import (
    event,
    hint_header,
    json_reply,
    pieces,
    tokens,
    vector,
    within,
)
from llmfail.simulator.http1 import Streamed
from llmfail.simulator.recorded_request import Seen

_ERRORS: dict[int, tuple[str, str | None, str]] = {
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
_LIMITS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "500000",
    "x-ratelimit-remaining-tokens": "499500",
    "x-ratelimit-reset-tokens": "60ms",
}
# An error names a wait only where its fault does, so that a bare 429 comes without any hint.
_SPENT = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2h24m0s"}


def answer(seen: Seen, text: str) -> Reply | Streamed:
    match seen.route.operation:
        case "embed":
            return _embedding(seen)
        case "count":
            count = {"object": "response.input_tokens", "input_tokens": tokens(seen.whole_input)}
            return json_reply(200, _headers(seen), count)
    said, is_cut = within(text, seen.max_tokens)
    finish_reason = "length" if is_cut else "stop"
    if seen.route.stream:
        return Streamed(
            {"content-type": "text/event-stream; charset=utf-8", **_headers(seen)},
            _chunks(seen, said, finish_reason),
        )
    message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    document = _envelope(seen, "chat.completion") | {"choices": [choice], "usage": _usage(seen, said)}
    return json_reply(200, _headers(seen), document)


def error(seen: Seen, fault: Fault) -> Reply:
    status, kind, code, message = _said(seen, fault)
    document = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    headers = _identity(seen) | (_SPENT if fault.kind is FaultKind.QUOTA else {})
    return json_reply(status, headers | hint_header(fault), document)


def _said(seen: Seen, fault: Fault) -> tuple[int, str, str | None, str]:
    match fault.kind:
        case FaultKind.QUOTA:
            message = (
                f"Rate limit reached for {seen.model} on requests per day (RPD): Limit 10000, Used 10000, "
                "Requested 1. Please try again in 2h24m0s. "
                "Visit https://platform.openai.com/account/rate-limits to learn more."
            )
            return 429, "requests", "rate_limit_exceeded", message
        case FaultKind.BILLING:
            return 429, "insufficient_quota", "insufficient_quota", _NO_CREDIT
        case FaultKind.AUTH:
            return 401, *_ERRORS[401]
        case _:
            other = "invalid_request_error" if fault.status < 500 else "server_error"
            kind, code, message = _ERRORS.get(fault.status, (other, None, f"HTTP status {fault.status}"))
            return fault.status, kind, code, message


def _chunks(seen: Seen, text: str, finish_reason: str) -> tuple[bytes, ...]:
    options = seen.document.get("stream_options")
    with_usage = isinstance(options, dict) and options.get("include_usage") is True
    envelope = _envelope(seen, "chat.completion.chunk") | ({"usage": None} if with_usage else {})

    def chunk(delta: dict[str, Any], finished: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return event(envelope | {"choices": [choice]})

    said = [chunk({"role": "assistant", "content": "", "refusal": None})]
    said += [chunk({"content": piece}) for piece in pieces(text)]
    said.append(chunk({}, finish_reason))
    if with_usage:
        said.append(event(envelope | {"choices": [], "usage": _usage(seen, text)}))
    return *said, b"data: [DONE]\n\n"


def _embedding(seen: Seen) -> Reply:
    texts = seen.texts_to_embed
    wanted = seen.document.get("dimensions")
    dimensions = wanted if isinstance(wanted, int) else None
    data = [
        {"object": "embedding", "index": index, "embedding": vector(text, dimensions)}
        for index, text in enumerate(texts)
    ]
    count = sum(map(tokens, texts))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return json_reply(
        200, _headers(seen), {"object": "list", "data": data, "model": seen.model, "usage": usage}
    )


def _envelope(seen: Seen, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{seen.number:029d}",
        "object": kind,
        "created": int(time.time()),
        "model": seen.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _usage(seen: Seen, text: str) -> dict[str, Any]:
    read, written = tokens(seen.whole_input), tokens(text)
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


def _headers(seen: Seen) -> dict[str, str]:
    return _identity(seen) | _LIMITS


def _identity(seen: Seen) -> dict[str, str]:
    return {
        "x-request-id": f"req_{seen.number:032x}",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "1",
    }
