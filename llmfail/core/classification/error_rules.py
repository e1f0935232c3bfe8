"""What an error reply comes to: the rules, over the tables of ``signals``.

Imported only when something failed. The order: a specific code, Google's quota details, the text, a status
that is said on purpose, a general code, the status.
"""

from __future__ import annotations

import re

from llmfail.core.classification import provider_codes, rejected_parameter, retry_hints
from llmfail.core.classification.body import NotJson, Payload
from llmfail.core.classification.error_body import Fault, objects
from llmfail.core.classification.outcome import CONSEQUENCES, Kind, Outcome
from llmfail.core.model import Reply, Secret
from llmfail.core.one_line import one_line

_DAILY_QUOTA = re.compile(r"per_?day|daily", re.IGNORECASE)
_TITLE = re.compile(r"<title>([^<]{1,200})", re.IGNORECASE)
_READ = 10_000
_CODE = re.compile(r"[\w.\-]{1,64}", re.ASCII)
_PASSED_ON = (408, 413, 429)
"""Statuses below 500 that mean the same when a proxy says them."""


def diagnose(reply: Reply, payload: Payload, fault: Fault | None, now: float, hide: Secret | None) -> Outcome:
    """``fault`` is what was found in the payload; None when only the status says that the call failed."""
    if _foreign(reply, payload):
        return _from_between(reply, payload, now, hide)
    return _from_provider(reply, payload, fault or Fault(), now, hide)


def _foreign(reply: Reply, payload: Payload) -> bool:
    """Whether somebody else than the API speaks: a redirect, an HTML page. Nothing lasting follows."""
    return 300 <= reply.status < 400 or (isinstance(payload, NotJson) and payload.html)


def _from_between(reply: Reply, payload: Payload, now: float, hide: Secret | None) -> Outcome:
    """A proxy, a captive portal, a wrong base_url. The chain goes on, and the note says where to look."""
    status = reply.status
    if status >= 500 or status in _PASSED_ON:
        kind = _by_status(status)
        wait = retry_hints.retry_after(reply.headers, Fault(), now, limits=False)
        note = f"HTTP {status}: {_page(payload)}"
        return Outcome(kind, one_line(note, hide), status, retry_after=wait if _passes(kind) else None)
    where = reply.headers.get("location", "").partition("?")[0]
    said = f"redirects to {where or 'nowhere'}" if status < 400 else _page(payload)
    note = f"HTTP {status}: {said}; not the API: check base_url and proxies"
    return Outcome(Kind.NETWORK, one_line(note, hide), status)


def _from_provider(reply: Reply, payload: Payload, fault: Fault, now: float, hide: Secret | None) -> Outcome:
    status = _telling_status(reply.status, fault)
    kind = _kind(status, fault)
    if kind is Kind.BILLING and retry_hints.reset_date(fault, now) is not None:
        kind = Kind.QUOTA
    until = wait = None
    if kind is Kind.QUOTA:
        until = retry_hints.quota_until(reply.headers, fault, now, daily=not _spend_limit(status, fault))
    elif _passes(kind):
        wait = retry_hints.retry_after(reply.headers, fault, now, limits=kind is Kind.RATE_LIMITED)
    return Outcome(
        kind,
        one_line(_said(reply.status, payload, fault), hide),
        reply.status,
        retry_after=wait,
        until=until,
        parameter=_parameter(kind, fault),
    )


def _parameter(kind: Kind, fault: Fault) -> str | None:
    """The parameter to leave out; for an overflow, the one that alone was too large."""
    if kind is Kind.CONTEXT_OVERFLOW and provider_codes.OUTPUT_CAP.search(fault.message.lower()):
        return "max_tokens"
    return rejected_parameter.named(fault) if kind is Kind.BAD_REQUEST else None


def _passes(kind: Kind) -> bool:
    return CONSEQUENCES[kind].passing


def _telling_status(status: int, fault: Fault) -> int:
    """An error inside a 200 may carry the status it would have had."""
    return fault.number or status if status < 300 else status


def _kind(status: int, fault: Fault) -> Kind:
    return (
        _by_router(fault)
        or _by_code(provider_codes.SPECIFIC, fault)
        or _by_google_quota(fault)
        or _by_text(status, fault)
        or provider_codes.FIRM_STATUSES.get(status)
        or _by_code(provider_codes.GENERAL, fault)
        or (_by_code(provider_codes.VAGUE, fault) if status < 300 else None)
        or _by_status(status)
    )


def _by_code(table: dict[str, Kind], fault: Fault) -> Kind | None:
    return next((table[code] for code in fault.codes if code in table), None)


def _by_router(fault: Fault) -> Kind | None:
    source = str(fault.metadata.get("limit_source"))
    if source == provider_codes.IN_FLIGHT:
        return Kind.RATE_LIMITED
    if source in provider_codes.SPENT_SOURCES:
        return Kind.BILLING
    if fault.metadata.get("flagged_input") or fault.metadata.get("reasons"):
        return Kind.CONTENT_BLOCKED
    return provider_codes.ROUTER.get(str(fault.metadata.get("error_type")).lower())


def _by_google_quota(fault: Fault) -> Kind | None:
    """A quota per day wins over a RetryInfo beside it."""
    violations = objects(fault.detail("QuotaFailure").get("violations"))
    daily = any(_DAILY_QUOTA.search(f"{v.get('quotaId')} {v.get('quotaMetric')}") for v in violations)
    return Kind.QUOTA if daily else None


def _by_text(status: int, fault: Fault) -> Kind | None:
    """In an error inside a 200 without a status of its own, any text may count."""
    message = fault.message[:_READ]
    return next(
        (
            kind
            for statuses, pattern, kind in provider_codes.TEXTS
            if (status in statuses or status < 300) and pattern.search(message)
        ),
        None,
    )


def _by_status(status: int) -> Kind:
    firm = provider_codes.FIRM_STATUSES.get(status) or provider_codes.STATUSES.get(status)
    return firm or (Kind.BAD_REQUEST if 400 <= status < 500 else Kind.SERVER_ERROR)


def _spend_limit(status: int, fault: Fault) -> bool:
    """A cap in money ends with the month; one in requests or tokens ends with the day."""
    return status != 429 or any(code.endswith("spend_limit_reached") for code in fault.codes)


def _said(status: int, payload: Payload, fault: Fault) -> str:
    said = fault.message or next(iter(fault.codes), "")
    if not said:
        said = payload.text if isinstance(payload, NotJson) and payload.text.strip() else "no reason given"
        said = f"HTTP {status}: {said}"
    if status in (404, 405) and "model" not in said.lower():
        said += " (names no model: check base_url)"
    return said


def _page(payload: Payload) -> str:
    title = _TITLE.search(payload.text[:5000]) if isinstance(payload, NotJson) else None
    return f"an HTML page, {title[1].strip()!r}" if title else "an HTML page"
