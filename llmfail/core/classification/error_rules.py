"""The outcome of an error reply: the rules, over the tables of ``provider_codes``.

Imported only when something failed. The order: a specific code, Google's quota details, the text, a decisive
status, a general code, any status.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from llmfail.core.classification import provider_codes, rejected_parameter, retry_hints
from llmfail.core.classification.body import NotJson, Payload, parse
from llmfail.core.classification.error_body import ErrorBody, find_error, iter_objects
from llmfail.core.classification.outcome import CONSEQUENCES, Kind, Outcome
from llmfail.core.model import Reply, Secret
from llmfail.core.one_line import one_line

_DAILY_QUOTA = re.compile(r"per_?day|daily", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<title>([^<]{1,200})", re.IGNORECASE)
_MAX_SCANNED_CHARS = 10_000
_CODE = re.compile(r"[\w.\-]{1,64}", re.ASCII)
_INTERMEDIARY_STATUSES = (408, 413, 429)
"""Statuses below 500 that mean the same when a proxy sends them."""


_TEXT_STATUSES = frozenset({401, 403, 404})
"""An API says these in JSON; in plain text an edge server does (``error code: 1010``)."""


def classify_error_reply(
    reply: Reply, payload: Payload, error_body: ErrorBody | None, now: float, hide: Secret | None
) -> Outcome:
    """``error_body`` is the error in the payload; None when only the status says that the call failed."""
    if _is_from_intermediary(reply, payload):
        return _classify_intermediary_reply(reply, payload, now, hide)
    return _classify_provider_reply(reply, payload, error_body or ErrorBody(), now, hide)


def _is_from_intermediary(reply: Reply, payload: Payload) -> bool:
    """Whether a proxy or portal answered instead of the API, which must not disable the credential."""
    if not isinstance(payload, NotJson):
        return 300 <= reply.status < 400
    is_text = bool(payload.text.strip()) and reply.status in _TEXT_STATUSES
    return 300 <= reply.status < 400 or payload.is_html or is_text


def _classify_intermediary_reply(reply: Reply, payload: Payload, now: float, hide: Secret | None) -> Outcome:
    """A proxy, a captive portal, a wrong base_url: the next target is tried; the note says what to check."""
    status = reply.status
    if status >= 500 or status in _INTERMEDIARY_STATUSES:
        kind = _find_kind_by_status(status)
        wait = retry_hints.read_retry_after(reply.headers, ErrorBody(), now, include_rate_limits=False)
        note = f"HTTP {status}: {_describe_page(payload)}"
        return Outcome(kind, one_line(note, hide), status, retry_after=wait if _is_transient(kind) else None)
    where = reply.headers.get("location", "").partition("?")[0]
    reason = f"redirects to {where or 'nowhere'}" if status < 400 else _describe_page(payload)
    note = f"HTTP {status}: {reason}; not the API: check base_url and proxies"
    return Outcome(Kind.NETWORK, one_line(note, hide), status)


def _classify_provider_reply(
    reply: Reply, payload: Payload, error_body: ErrorBody, now: float, hide: Secret | None
) -> Outcome:
    error_body = _find_upstream_error(error_body) or error_body
    status = _effective_status(reply.status, error_body)
    kind = _find_kind(status, error_body)
    if kind is Kind.BILLING and retry_hints.find_reset_date(error_body, now) is not None:
        kind = Kind.QUOTA
    until = wait = None
    if kind is Kind.QUOTA:
        until = retry_hints.find_quota_reset(
            reply.headers, error_body, now, daily=not _is_spend_limit(status, error_body)
        )
    elif _is_transient(kind):
        wait = retry_hints.read_retry_after(
            reply.headers, error_body, now, include_rate_limits=kind is Kind.RATE_LIMITED
        )
    return Outcome(
        kind,
        one_line(_describe_error(reply.status, payload, error_body), hide),
        reply.status,
        retry_after=wait,
        quota_resets_at=until,
        parameter=_find_parameter_to_drop(kind, error_body),
    )


def _find_parameter_to_drop(kind: Kind, error_body: ErrorBody) -> str | None:
    """The parameter to leave out; ``max_tokens`` when only the requested output was too large."""
    if kind is Kind.CONTEXT_OVERFLOW and provider_codes.OUTPUT_LIMIT_TEXT.search(error_body.message.lower()):
        return "max_tokens"
    return rejected_parameter.find(error_body) if kind is Kind.BAD_REQUEST else None


def _is_transient(kind: Kind) -> bool:
    return CONSEQUENCES[kind].is_transient


def _find_upstream_error(error_body: ErrorBody) -> ErrorBody | None:
    """OpenRouter says "Provider returned error" and keeps the whole error of the provider as a text."""
    raw = error_body.metadata.get("raw")
    upstream = (
        find_error(parse(raw.encode("utf-8", "replace")), failed=True) if isinstance(raw, str) else None
    )
    if upstream is None or not (upstream.codes or upstream.number):
        return None
    return replace(upstream, message=error_body.message, metadata=error_body.metadata, is_upstream=True)


def _effective_status(status: int, error_body: ErrorBody) -> int:
    """An error inside a 200, or that of a provider behind a router, may name the status that it had."""
    return error_body.number or status if status < 300 or error_body.is_upstream else status


def _find_kind(status: int, error_body: ErrorBody) -> Kind:
    kind = _find_kind_by_rules(status, error_body)
    if kind is Kind.MODEL_NOT_FOUND and status >= 500:
        return Kind.OVERLOADED  # a gateway without a free channel for the model now
    if kind is Kind.BAD_REQUEST and error_body.parameter == "model":
        return Kind.MODEL_NOT_FOUND
    return kind


def _find_kind_by_rules(status: int, error_body: ErrorBody) -> Kind:
    return (
        _find_kind_by_router(error_body)
        or _find_kind_by_code(provider_codes.SPECIFIC_CODES, error_body)
        or _find_kind_by_google_quota(error_body)
        or _find_kind_by_text(status, error_body)
        or provider_codes.DECISIVE_STATUSES.get(status)
        or _find_kind_by_code(provider_codes.GENERAL_CODES, error_body)
        or (_find_kind_by_code(provider_codes.VAGUE_CODES, error_body) if status < 300 else None)
        or _find_kind_by_status(status)
    )


def _find_kind_by_code(table: dict[str, Kind], error_body: ErrorBody) -> Kind | None:
    return next((table[code] for code in error_body.codes if code in table), None)


def _find_kind_by_router(error_body: ErrorBody) -> Kind | None:
    source = str(error_body.metadata.get("limit_source"))
    if source == provider_codes.OPENROUTER_IN_FLIGHT_SOURCE:
        return Kind.RATE_LIMITED
    if source in provider_codes.OPENROUTER_SPENT_SOURCES:
        return Kind.BILLING
    if error_body.metadata.get("flagged_input") or error_body.metadata.get("reasons"):
        return Kind.CONTENT_BLOCKED
    return provider_codes.OPENROUTER_ERROR_TYPES.get(str(error_body.metadata.get("error_type")).lower())


def _find_kind_by_google_quota(error_body: ErrorBody) -> Kind | None:
    """A quota per day counts before a RetryInfo beside it."""
    violations = iter_objects(error_body.find_detail("QuotaFailure").get("violations"))
    daily = any(_DAILY_QUOTA.search(f"{v.get('quotaId')} {v.get('quotaMetric')}") for v in violations)
    return Kind.QUOTA if daily else None


def _find_kind_by_text(status: int, error_body: ErrorBody) -> Kind | None:
    """Inside a 200 without a status of its own, a text counts whatever its statuses are."""
    message = provider_codes.OFFERS.sub("", error_body.message[:_MAX_SCANNED_CHARS])
    for statuses, pattern, kind in provider_codes.TEXT_RULES:
        if (status in statuses or status < 300) and pattern.search(message):
            return kind
    return Kind.CONTEXT_OVERFLOW if _is_about_length(status, message) else None


def _is_about_length(status: int, message: str) -> bool:
    words = provider_codes
    return (
        status in words.LENGTH_STATUSES
        and bool(words.LENGTH_WORD.search(message) and words.LIMIT_WORD.search(message))
        and len(words.LARGE_NUMBER.findall(message)) > 1
        and not words.RATE_WORD.search(message)
    )


def _find_kind_by_status(status: int) -> Kind:
    kind = provider_codes.DECISIVE_STATUSES.get(status) or provider_codes.OTHER_STATUSES.get(status)
    return kind or (Kind.BAD_REQUEST if 400 <= status < 500 else Kind.SERVER_ERROR)


def _is_spend_limit(status: int, error_body: ErrorBody) -> bool:
    """A limit in money ends with the month; one in requests or tokens ends with the day."""
    return status != 429 or any(code.endswith("spend_limit_reached") for code in error_body.codes)


def _describe_error(status: int, payload: Payload, error_body: ErrorBody) -> str:
    text = error_body.message or next(iter(error_body.codes), "")
    if not text:
        text = payload.text if isinstance(payload, NotJson) and payload.text.strip() else "no reason given"
        text = f"HTTP {status}: {text}"
    if status in (404, 405) and "model" not in text.lower():
        text += " (names no model: check base_url)"
    return text


def _describe_page(payload: Payload) -> str:
    title = _HTML_TITLE.search(payload.text[:5000]) if isinstance(payload, NotJson) else None
    return f"an HTML page, {title[1].strip()!r}" if title else "an HTML page"
