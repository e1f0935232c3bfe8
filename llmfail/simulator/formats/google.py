"""Gemini generateContent, at the Gemini API and on Vertex: answers, events, embeddings and errors.

Google names no wait in a header: a Retry-After becomes a RetryInfo in the body, as it does there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from llmfail.core.model import Reply
from llmfail.core.vendors import GOOGLE_DOMAIN, VENDORS_BY_NAME
from llmfail.simulator.canned_turn import CannedTurn
from llmfail.simulator.faults import Fault, FaultKind, format_decimal
from llmfail.simulator.formats.reply_text import (
    build_json_reply,
    build_vector,
    count_tokens,
    cut_to_limit,
    encode_event,
    encode_json,
    split_words,
)
from llmfail.simulator.formats.turns import build_gemini_parts
from llmfail.simulator.http1 import EventStreamReply
from llmfail.simulator.recorded_request import RecordedRequest

_HEADERS = {"content-type": "application/json; charset=UTF-8", "server": "scaffolding on HTTPServer2"}
_RPC_TYPE_PREFIX = "type.googleapis.com/google.rpc."
_UNAUTHENTICATED_MESSAGE = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
    "other valid authentication credential."
)
_ERROR_BY_STATUS = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: (
        "UNAUTHENTICATED",
        _UNAUTHENTICATED_MESSAGE,
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
_EXHAUSTED_MESSAGE = (
    "Resource exhausted. Please try again later. Please refer to "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
)
_NO_BILLING_MESSAGE = (
    "This API method requires billing to be enabled. Please enable billing on the project, then retry."
)
_DAILY_RESET_SECONDS = 37_023.5
"""Seconds to the reset that a daily quota names."""


def build_answer(request: RecordedRequest, said: str | CannedTurn) -> Reply | EventStreamReply:
    match request.route.operation:
        case "embed":
            return build_json_reply(200, _HEADERS, _build_embeddings(request))
        case "count":
            return build_json_reply(200, _HEADERS, {"totalTokens": count_tokens(request.input_text)})
        case _:
            return _build_stream(request, said) if request.route.stream else _build_whole_reply(request, said)


def build_error(request: RecordedRequest, fault: Fault) -> Reply:
    status, name, message, details = _describe_error(request, fault)
    body: dict[str, Any] = {"code": status, "message": fault.message or message, "status": name}
    if fault.retry_after is not None:
        details = [*details, _build_retry_info(fault.retry_after)]
    if details:
        body["details"] = details
    document: object = {"error": body}
    return build_json_reply(
        status, _HEADERS, document if request.route.sse or not request.route.stream else [document]
    )


def _describe_error(request: RecordedRequest, fault: Fault) -> tuple[int, str, str, list[dict[str, Any]]]:
    vertex = request.route.api == "vertex"
    match fault.kind:
        case FaultKind.QUOTA:
            details = [
                _build_quota_failure(request, "GenerateRequestsPerDayPerProjectPerModel"),
                _build_retry_info(_DAILY_RESET_SECONDS),
            ]
            return 429, *_ERROR_BY_STATUS[429], details
        case FaultKind.BILLING if vertex:
            return (
                403,
                "PERMISSION_DENIED",
                _NO_BILLING_MESSAGE,
                [_build_error_info("BILLING_DISABLED", request)],
            )
        case FaultKind.BILLING:
            return 402, *_ERROR_BY_STATUS[402], []
        case FaultKind.AUTH if vertex:
            return 401, *_ERROR_BY_STATUS[401], [_build_error_info("ACCESS_TOKEN_EXPIRED", request)]
        case FaultKind.AUTH:
            message = "API key not valid. Please pass a valid API key."
            return 400, "INVALID_ARGUMENT", message, [_build_error_info("API_KEY_INVALID", request)]
        case _:
            return _describe_status(request, fault.status)


def _describe_status(request: RecordedRequest, status: int) -> tuple[int, str, str, list[dict[str, Any]]]:
    if status == 429 and request.route.api == "vertex":
        return 429, "RESOURCE_EXHAUSTED", _EXHAUSTED_MESSAGE, []
    details = (
        [_build_quota_failure(request, "GenerateRequestsPerMinutePerProjectPerModel")]
        if status == 429
        else []
    )
    other = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
    name, message = _ERROR_BY_STATUS.get(status, (other, f"HTTP status {status}"))
    return status, name, message.replace("{model}", request.model), details


def _build_quota_failure(request: RecordedRequest, quota_id: str) -> dict[str, Any]:
    violation = {
        "quotaMetric": f"{_service_name(request)}/generate_content_paid_tier_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": request.model},
        "quotaValue": "250",
    }
    return {"@type": f"{_RPC_TYPE_PREFIX}QuotaFailure", "violations": [violation]}


def _build_retry_info(seconds: float) -> dict[str, Any]:
    return {"@type": f"{_RPC_TYPE_PREFIX}RetryInfo", "retryDelay": f"{format_decimal(seconds)}s"}


def _build_error_info(reason: str, request: RecordedRequest) -> dict[str, Any]:
    metadata = {"service": _service_name(request)}
    return {
        "@type": f"{_RPC_TYPE_PREFIX}ErrorInfo",
        "reason": reason,
        "domain": GOOGLE_DOMAIN,
        "metadata": metadata,
    }


def _service_name(request: RecordedRequest) -> str:
    return VENDORS_BY_NAME["vertex" if request.route.api == "vertex" else "google"].hosts[0]


def _build_whole_reply(request: RecordedRequest, answer: str | CannedTurn) -> Reply:
    parts, text, finish_reason = _read_answer(request, answer)
    return build_json_reply(200, _HEADERS, _build_response(request, parts, finish_reason, count_tokens(text)))


def _read_answer(request: RecordedRequest, answer: str | CannedTurn) -> tuple[list[dict[str, Any]], str, str]:
    """The parts, their text, and the finish reason, which says nothing of calls there."""
    if isinstance(answer, CannedTurn):
        return build_gemini_parts(answer), answer.text, "STOP"
    said, is_cut = cut_to_limit(answer, request.max_tokens)
    return [{"text": said}], said, "MAX_TOKENS" if is_cut else "STOP"


def _build_stream(request: RecordedRequest, answer: str | CannedTurn) -> EventStreamReply:
    whole, text, finish_reason = _read_answer(request, answer)
    pieces = [piece for part in whole for piece in _split_part(part)]
    parts = [
        _build_response(request, [piece], None, count_tokens(str(pieces[: place + 1])))
        for place, piece in enumerate(pieces[:-1])
    ]
    parts.append(_build_response(request, pieces[-1:], finish_reason, count_tokens(text)))
    if request.route.sse:
        events = tuple(encode_event(part).replace(b"\n", b"\r\n") for part in parts)
        return EventStreamReply({"content-type": "text/event-stream", "server": _HEADERS["server"]}, events)
    array = (b"[" + encode_json(parts[0]), *(b",\r\n" + encode_json(part) for part in parts[1:]), b"]")
    return EventStreamReply(_HEADERS, array)


def _split_part(part: dict[str, Any]) -> list[dict[str, Any]]:
    """A text comes word by word; a call does not."""
    if "text" not in part:
        return [part]
    return [{**part, "text": word} for word in split_words(part["text"]) or [""]]


def _build_response(
    request: RecordedRequest, parts: list[dict[str, Any]], finish_reason: str | None, output_tokens: int
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish_reason:
        candidate["finishReason"] = finish_reason
    read = count_tokens(request.input_text)
    usage: dict[str, Any] = {
        "promptTokenCount": read,
        "candidatesTokenCount": output_tokens,
        "totalTokenCount": read + output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": read}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": output_tokens}],
        "thoughtsTokenCount": 0,
    }
    response = {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": request.model,
        "responseId": f"sim{request.number:019d}",
    }
    if request.route.api == "vertex":
        usage["trafficType"] = "ON_DEMAND"
        response["createTime"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return response


def _build_embeddings(request: RecordedRequest) -> dict[str, Any]:
    vectors = [build_vector(text, _find_dimensions(request)) for text in request.texts_to_embed]
    if request.route.api == "vertex" and "content" not in request.document:
        counts = [{"truncated": False, "token_count": count_tokens(text)} for text in request.texts_to_embed]
        return {
            "predictions": [
                {"embeddings": {"values": values, "statistics": count}}
                for values, count in zip(vectors, counts, strict=True)
            ]
        }
    if request.route.batch:
        return {"embeddings": [{"values": values} for values in vectors]}
    embedded: dict[str, Any] = {"embedding": {"values": vectors[0]}}
    if request.route.api == "vertex":
        tokens = sum(map(count_tokens, request.texts_to_embed))
        embedded["usageMetadata"] = {"promptTokenCount": tokens}
    return embedded


def _find_dimensions(request: RecordedRequest) -> int | None:
    """Where each of the three requests names it."""
    document = request.document
    requests = document.get("requests")
    places = (
        document,
        document.get("parameters"),
        requests[0] if isinstance(requests, list) and requests else None,
    )
    found = [place.get("outputDimensionality") for place in places if isinstance(place, dict)]
    return next((number for number in found if isinstance(number, int)), None)
