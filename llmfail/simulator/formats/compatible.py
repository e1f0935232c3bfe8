"""Where vendors with OpenAI's format say something else than OpenAI when a key or an account is at fault.

Known by the usual provider name; every other fault, and every other provider, speaks as OpenAI.
"""

from __future__ import annotations

from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.formats.reply_text import build_json_reply, build_retry_after_header
from llmfail.simulator.recorded_request import RecordedRequest

_XAI_NO_CREDIT = (
    "Your team simulated has either used all available credits or reached its monthly spending limit. "
    "To continue making API requests, please purchase more credits or raise your spending limit."
)
_GROQ_QUOTA = (
    "Rate limit reached in organization `org_simulated` service tier `on_demand` on tokens per day (TPD): "
    "Limit 200000, Used 200000, Requested 100. Please try again in 7h12m0s."
)


def _build_openrouter_error(code: int, message: str, **metadata: object) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}}


def _build_openai_error(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


_VENDOR_ERRORS: dict[tuple[str, FaultKind], tuple[int, dict[str, Any]]] = {
    ("openrouter", FaultKind.AUTH): (
        401,
        _build_openrouter_error(401, "No auth credentials found", error_type="authentication"),
    ),
    ("openrouter", FaultKind.BILLING): (
        402,
        _build_openrouter_error(
            402, "Insufficient credits", error_type="payment_required", limit_source="openrouter_credits"
        ),
    ),
    ("groq", FaultKind.QUOTA): (429, _build_openai_error(_GROQ_QUOTA, "tokens", "rate_limit_exceeded")),
    ("groq", FaultKind.AUTH): (
        401,
        _build_openai_error("Invalid API Key", "invalid_request_error", "invalid_api_key"),
    ),
    ("deepseek", FaultKind.BILLING): (
        402,
        _build_openai_error("Insufficient Balance", "unknown_error", "invalid_request_error"),
    ),
    ("mistral", FaultKind.AUTH): (401, {"detail": "Invalid API Key"}),
    ("xai", FaultKind.AUTH): (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: xa***ed. You can obtain an API key from https://console.x.ai.",
        },
    ),
    ("xai", FaultKind.BILLING): (
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": _XAI_NO_CREDIT,
        },
    ),
}


def build_error(request: RecordedRequest, fault: Fault) -> Reply | None:
    """The vendor's own words, or None where they are OpenAI's."""
    if (request.provider, fault.kind) not in _VENDOR_ERRORS:
        return None
    status, document = _VENDOR_ERRORS[request.provider, fault.kind]
    return build_json_reply(
        status, {"x-request-id": f"req_{request.number:032x}", **build_retry_after_header(fault)}, document
    )
