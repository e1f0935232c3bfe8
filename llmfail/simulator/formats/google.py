"""Gemini generateContent, at the Gemini API and on Vertex: answers, events, embeddings and errors.

Google names no wait in a header: a Retry-After becomes a RetryInfo in the body, as it does there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.faults import Fault, FaultKind, plain
from llmfail.simulator.formats.reply_text import (
    compact,
    event,
    json_reply,
    pieces,
    tokens,
    vector,
    within,
)
from llmfail.simulator.http1 import Streamed
from llmfail.simulator.recorded_request import Seen

_HEADERS = {"content-type": "application/json; charset=UTF-8", "server": "scaffolding on HTTPServer2"}
_RPC = "type.googleapis.com/google.rpc."
_UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
    "other valid authentication credential."
)
_ERRORS = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: (
        "UNAUTHENTICATED",
        _UNAUTHENTICATED,
    ),
    402: (
        "RESOURCE_EXHAUSTED",
        "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
    ),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: (
        "NOT_FOUND",
        "models/{model} is not found for API version v1beta, or is not supported for generateContent.",
    ),
    429: (
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred. Please retry or report in Google AI Studio."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}
_EXHAUSTED = (
    "Resource exhausted. Please try again later. Please refer to "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
)
_NO_BILLING = (
    "This API method requires billing to be enabled. Please enable billing on the project, then retry."
)
_DAILY_WAIT = 37_023.5
"""Seconds to the reset that a daily quota names."""


def answer(seen: Seen, text: str) -> Reply | Streamed:
    match seen.route.operation:
        case "embed":
            return json_reply(200, _HEADERS, _embedding(seen))
        case "count":
            return json_reply(200, _HEADERS, {"totalTokens": tokens(seen.whole_input)})
        case _:
            return _stream(seen, text) if seen.route.stream else _whole(seen, text)


def error(seen: Seen, fault: Fault) -> Reply:
    status, name, message, details = _said(seen, fault)
    body: dict[str, Any] = {"code": status, "message": message, "status": name}
    if fault.retry_after is not None:
        details = [*details, _retry_info(fault.retry_after)]
    if details:
        body["details"] = details
    document: object = {"error": body}
    return json_reply(status, _HEADERS, document if seen.route.sse or not seen.route.stream else [document])


def _said(seen: Seen, fault: Fault) -> tuple[int, str, str, list[dict[str, Any]]]:
    vertex = seen.route.api == "vertex"
    match fault.kind:
        case FaultKind.QUOTA:
            details = [_quota(seen, "GenerateRequestsPerDayPerProjectPerModel"), _retry_info(_DAILY_WAIT)]
            return 429, *_ERRORS[429], details
        case FaultKind.BILLING if vertex:
            return 403, "PERMISSION_DENIED", _NO_BILLING, [_reason("BILLING_DISABLED", seen)]
        case FaultKind.BILLING:
            return 402, *_ERRORS[402], []
        case FaultKind.AUTH if vertex:
            return 401, *_ERRORS[401], [_reason("ACCESS_TOKEN_EXPIRED", seen)]
        case FaultKind.AUTH:
            message = "API key not valid. Please pass a valid API key."
            return 400, "INVALID_ARGUMENT", message, [_reason("API_KEY_INVALID", seen)]
        case _:
            return _status(seen, fault.status)


def _status(seen: Seen, status: int) -> tuple[int, str, str, list[dict[str, Any]]]:
    if status == 429 and seen.route.api == "vertex":
        return 429, "RESOURCE_EXHAUSTED", _EXHAUSTED, []
    details = [_quota(seen, "GenerateRequestsPerMinutePerProjectPerModel")] if status == 429 else []
    other = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    name, message = _ERRORS.get(status, (other, f"HTTP status {status}"))
    return status, name, message.replace("{model}", seen.model), details


def _quota(seen: Seen, quota: str) -> dict[str, Any]:
    violation = {
        "quotaMetric": f"{_service(seen)}/generate_content_paid_tier_requests",
        "quotaId": quota,
        "quotaDimensions": {"location": "global", "model": seen.model},
        "quotaValue": "250",
    }
    return {"@type": f"{_RPC}QuotaFailure", "violations": [violation]}


def _retry_info(seconds: float) -> dict[str, Any]:
    return {"@type": f"{_RPC}RetryInfo", "retryDelay": f"{plain(seconds)}s"}


def _reason(reason: str, seen: Seen) -> dict[str, Any]:
    metadata = {"service": _service(seen)}
    return {"@type": f"{_RPC}ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _service(seen: Seen) -> str:
    return "aiplatform.googleapis.com" if seen.route.api == "vertex" else "generativelanguage.googleapis.com"


def _whole(seen: Seen, text: str) -> Reply:
    said, is_cut = within(text, seen.max_tokens)
    return json_reply(200, _HEADERS, _part(seen, said, "MAX_TOKENS" if is_cut else "STOP", tokens(said)))


def _stream(seen: Seen, text: str) -> Streamed:
    said, is_cut = within(text, seen.max_tokens)
    finish_reason = "MAX_TOKENS" if is_cut else "STOP"
    words = pieces(said) or [""]
    parts = [_part(seen, word, None, tokens("".join(words[: i + 1]))) for i, word in enumerate(words[:-1])]
    parts.append(_part(seen, words[-1], finish_reason, tokens(said)))
    if seen.route.sse:
        events = tuple(event(part).replace(b"\n", b"\r\n") for part in parts)
        return Streamed({"content-type": "text/event-stream", "server": _HEADERS["server"]}, events)
    array = (b"[" + compact(parts[0]), *(b",\r\n" + compact(part) for part in parts[1:]), b"]")
    return Streamed(_HEADERS, array)


def _part(seen: Seen, text: str, finish_reason: str | None, output_tokens: int) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish_reason:
        candidate["finishReason"] = finish_reason
    read = tokens(seen.whole_input)
    usage: dict[str, Any] = {
        "promptTokenCount": read,
        "candidatesTokenCount": output_tokens,
        "totalTokenCount": read + output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": read}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": output_tokens}],
        "thoughtsTokenCount": 0,
    }
    part = {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": seen.model,
        "responseId": f"sim{seen.number:019d}",
    }
    if seen.route.api == "vertex":
        usage["trafficType"] = "ON_DEMAND"
        part["createTime"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return part


def _embedding(seen: Seen) -> dict[str, Any]:
    vectors = [vector(text, _dimensions(seen)) for text in seen.texts_to_embed]
    if seen.route.api == "vertex":
        counts = [{"truncated": False, "token_count": tokens(text)} for text in seen.texts_to_embed]
        return {
            "predictions": [
                {"embeddings": {"values": values, "statistics": count}}
                for values, count in zip(vectors, counts, strict=True)
            ]
        }
    if seen.route.batch:
        return {"embeddings": [{"values": values} for values in vectors]}
    return {"embedding": {"values": vectors[0]}}


def _dimensions(seen: Seen) -> int | None:
    """Where each of the three requests names it."""
    document = seen.document
    requests = document.get("requests")
    places = (
        document,
        document.get("parameters"),
        requests[0] if isinstance(requests, list) and requests else None,
    )
    found = [place.get("outputDimensionality") for place in places if isinstance(place, dict)]
    return next((number for number in found if isinstance(number, int)), None)
