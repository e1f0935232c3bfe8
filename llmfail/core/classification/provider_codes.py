"""The words by which providers name an error, as tables. ``error_rules`` reads them in this order.

All codes are in lower case. A specific code decides alone; a text counts only with the statuses beside it,
and only where no specific code decided; a general code tells no more than a status.
"""

from __future__ import annotations

import re

from llmfail.core.classification.outcome import Kind

SPECIFIC_CODES: dict[str, Kind] = {
    # Too much input, or a larger output than the model has.
    "context_length_exceeded": Kind.CONTEXT_OVERFLOW,
    "request_too_large": Kind.CONTEXT_OVERFLOW,
    "string_above_max_length": Kind.CONTEXT_OVERFLOW,
    "model_max_prompt_tokens_exceeded": Kind.CONTEXT_OVERFLOW,
    "contextwindowexceedederror": Kind.CONTEXT_OVERFLOW,
    # The credential.
    "invalid_api_key": Kind.AUTH,
    "api_key_invalid": Kind.AUTH,
    "api_key_expired": Kind.AUTH,
    "access_token_expired": Kind.AUTH,
    "access_token_type_unsupported": Kind.AUTH,
    "account_deactivated": Kind.AUTH,
    "ip_not_authorized": Kind.AUTH,
    # Money. An account on hold returns with the same key, so it is tried again like an unpaid one.
    "insufficient_quota": Kind.BILLING,
    "credit_balance_exhausted": Kind.BILLING,
    "organization_spend_limit_exceeded": Kind.BILLING,
    "project_spend_limit_exceeded": Kind.BILLING,
    "organization_usage_limit_exceeded": Kind.BILLING,
    "billing_not_active": Kind.BILLING,
    "billing_hard_limit_reached": Kind.BILLING,
    "billing_error": Kind.BILLING,
    "billing_disabled": Kind.BILLING,
    "budget_exceeded": Kind.BILLING,
    "creditserror": Kind.BILLING,
    "linked_organization_billing_unavailable": Kind.BILLING,
    "linked_organization_spend_limit_reached": Kind.BILLING,
    "organization_on_hold": Kind.BILLING,
    "organization_restricted": Kind.BILLING,
    # Spent until the end of the month.
    "enforced_spend_limit_reached": Kind.QUOTA,
    "contract_spend_limit_reached": Kind.QUOTA,
    "usage_limit_reached": Kind.QUOTA,
    "terminal_quota_exhausted": Kind.QUOTA,
    "servicequotaexceededexception": Kind.QUOTA,
    # What this credential may not do.
    "unsupported_country_region_territory": Kind.PERMISSION,
    "service_disabled": Kind.PERMISSION,
    "api_key_service_blocked": Kind.PERMISSION,
    "model_terms_required": Kind.PERMISSION,
    "accessdeniedexception": Kind.PERMISSION,
    # The model.
    "model_not_found": Kind.MODEL_NOT_FOUND,
    "model_decommissioned": Kind.MODEL_NOT_FOUND,
    "invalid_model": Kind.MODEL_NOT_FOUND,
    "model_not_supported": Kind.MODEL_NOT_FOUND,
    "resourcenotfoundexception": Kind.MODEL_NOT_FOUND,
    # The content.
    "invalid_prompt": Kind.CONTENT_BLOCKED,
    "bio_policy": Kind.CONTENT_BLOCKED,
    "cyber_policy": Kind.CONTENT_BLOCKED,
    "misalignment_policy_violation": Kind.CONTENT_BLOCKED,
    "content_policy_violation": Kind.CONTENT_BLOCKED,
    "content_filter": Kind.CONTENT_BLOCKED,
    "data_inspection_failed": Kind.CONTENT_BLOCKED,
    "datainspectionfailed": Kind.CONTENT_BLOCKED,
    "responsibleaipolicyviolation": Kind.CONTENT_BLOCKED,
    # The model's own output did not fit: another model may do better.
    "json_validate_failed": Kind.REJECTED_ANSWER,
    "tool_use_failed": Kind.REJECTED_ANSWER,
    # Load.
    "slow_down": Kind.RATE_LIMITED,
    "throttlingexception": Kind.RATE_LIMITED,
    "ramp_limit_exceeded": Kind.RATE_LIMITED,
    "overloaded_error": Kind.OVERLOADED,
    "server_is_overloaded": Kind.OVERLOADED,
    "service_unavailable_error": Kind.OVERLOADED,
    "capacity_exceeded": Kind.OVERLOADED,
    "serviceunavailableexception": Kind.OVERLOADED,
    "modelnotreadyexception": Kind.OVERLOADED,
    "modeltimeoutexception": Kind.TIMEOUT,
    "modelerrorexception": Kind.SERVER_ERROR,
    "no_db_connection": Kind.SERVER_ERROR,
    "model_capacity_exhausted": Kind.OVERLOADED,
    # The request.
    "unsupported_parameter": Kind.BAD_REQUEST,
    "unsupported_value": Kind.BAD_REQUEST,
    "invalid_service_tier": Kind.BAD_REQUEST,
}

OPENROUTER_ERROR_TYPES: dict[str, Kind] = {
    # OpenRouter's metadata.error_type; some words do not mean what they mean at OpenAI. Its
    # rate_limit_exceeded is not here: the text tells whether the limit is one per day.
    "authentication": Kind.AUTH,
    "permission_denied": Kind.PERMISSION,
    "provider_overloaded": Kind.OVERLOADED,
    "provider_unavailable": Kind.SERVER_ERROR,
    "server": Kind.SERVER_ERROR,
    "timeout": Kind.TIMEOUT,
    "not_found": Kind.MODEL_NOT_FOUND,
    "invalid_request": Kind.BAD_REQUEST,
    "invalid_prompt": Kind.BAD_REQUEST,
    "string_too_long": Kind.BAD_REQUEST,
    "context_length_exceeded": Kind.CONTEXT_OVERFLOW,
    "token_limit_exceeded": Kind.CONTEXT_OVERFLOW,
    "max_tokens_exceeded": Kind.CONTEXT_OVERFLOW,
    "payload_too_large": Kind.CONTEXT_OVERFLOW,
    "content_policy_violation": Kind.CONTENT_BLOCKED,
    "refusal": Kind.REFUSAL,
}
OPENROUTER_SPENT_SOURCES = frozenset(
    {
        "openrouter_guardrail_budget",
        "openrouter_workspace_budget",
        "openrouter_key_limit",
        "openrouter_credits",
    }
)
"""OpenRouter's metadata.limit_source when money is spent; with ``resets_at`` the limit ends by itself."""
OPENROUTER_IN_FLIGHT_SOURCE = "openrouter_in_flight_budget"
"""The same when too many calls are under way at once."""

_TEXT_RULES: tuple[tuple[set[int], Kind, tuple[str, ...]], ...] = (
    # A proxy in front of the models, and a model that does not load.
    ({400, 403, 404, 429, 500, 502, 503}, Kind.OVERLOADED, ("no available channel",)),
    ({400, 404, 500}, Kind.SERVER_ERROR, ("failed to load model",)),
    ({400, 403}, Kind.QUOTA, (r"reached your specified (workspace )?API usage limits", "regain access on")),
    (
        {400, 401, 402, 403, 412, 429},
        Kind.BILLING,
        (
            "no payment method",
            r"exceeded ?budget",
            "over budget",
            "crossed budget",
            r"budget (limit )?(has been )?exceeded",
            r"key (budget )?limit exceeded",
            r"(monthly )?spending limit",
            "past invoices",
            "organization has been disabled",
            "out of extra usage",
            r"have any credits",
            "credit balance is exhausted",
            "credit balance is too low",
            "prepayment credits are depleted",
            "used all available credits",
            "reached its monthly spending limit",
            "insufficient balance",
        ),
    ),
    (
        {400, 403, 413, 422, 500},
        Kind.CONTEXT_OVERFLOW,
        (
            "context_length_exceeded",
            "(prompt|input) is too long",
            "maximum context length",
            "maximum prompt length is",
            "exceed(s|ed)? the (maximum|available) (number of tokens|context)",
            r"(context|token|model) (window|size|length|token)? ?(has been exceeded|limit: \d|limit \(\d)",
            r"context (window|size|length) (exceeds|has been exceeded)",
            r"exceed(s|ed) (your |this |the |max )?(model )?(token|context)[ _](limit|length|window)",
            r"range of input length should be",
            r"max(imum)? context length",
            r"payload size exceeds",
            r"string too long",
            r"contextwindowexceedederror",
            r"maximum tokens you requested exceeds",
            "input token count .{0,40}exceeds",
            "exceeds? (the )?(model'?s? )?context (limit|length|window)",
            "reduce the length of the messages",
            "greater than the (model'?s? )?context length",
            "too many (input )?tokens",
            r"tokens.? \+ .?max_(new_)?tokens",
            # A larger output than the model has: another target may have it.
            "maximum allowed number of output tokens",
            "max_tokens is too large",
            r"at most \d+ completion tokens",
        ),
    ),
    ({413, 429}, Kind.CONTEXT_OVERFLOW, ("request too large for",)),
    (
        {400, 401, 403},
        Kind.AUTH,
        ("api key (not valid|expired)", "(incorrect|invalid) api key", "reported as leaked"),
    ),
    ({400}, Kind.PERMISSION, ("user location is not supported", "requires terms acceptance")),
    (
        {400, 403, 404, 422},
        Kind.MODEL_NOT_FOUND,
        (
            "not a valid model id",
            "model not exist",
            r"\bmodel\b.{0,80}\b(not found|does not exist)",
            "unknown model",
            "no such model",
            "no models? loaded",
            "invalid model name",
            r"\bmodel is not supported",
            r"on-demand throughput isn.t supported",
        ),
    ),
    (
        {429},
        Kind.QUOTA,
        (
            r"per[-_ ]?day",
            r"\bweekly\b",
            r"\bdaily\b",
            r"\b[RT]PD\b",
            r"per[-_ ]?month",
            r"\bmonthly\b",
            r"\blimit: 0\b(?!\.)",
        ),
    ),
    (
        {400, 403},
        Kind.CONTENT_BLOCKED,
        (
            "content management policy",
            "violat(es?|ing) (our |the )?(usage|content)",
            "usage guidelines",
            "content exists risk",
            "content filtering policy",
            "inappropriate content",
            r"flagged (as|by)",
            r"content moderation",
            "cannot answer this question",
        ),
    ),
    ({500, 502, 503}, Kind.OVERLOADED, ("overloaded",)),
)
OUTPUT_LIMIT_TEXT = re.compile(
    "number of output tokens|max_tokens is too large|completion tokens|maximum tokens you requested"
)
"""Only the output is too large: a larger context would not help, a larger output limit would."""
OFFERS = re.compile(r"\b(add|buy|purchase|upgrade|unlock)\b[^.]*", re.IGNORECASE)
"""What a provider sells in the same breath says nothing of the limit that was met."""
LENGTH_WORD = re.compile(r"\b(?:tokens?|input|prompt|context|length)\b", re.IGNORECASE)
LIMIT_WORD = re.compile(
    r"exceed|longer than|too long|\blimit|maximum|at most|less than|window is", re.IGNORECASE
)
LARGE_NUMBER = re.compile(r"\d[\d,_]{2,}")
RATE_WORD = re.compile(r"per (minute|second|hour|day)", re.IGNORECASE)
"""A length, a limit and two large numbers, and no rate, in whatever words: the request is too long."""
LENGTH_STATUSES = frozenset({400, 413, 422})
TEXT_RULES = tuple(
    (frozenset(statuses), re.compile("|".join(patterns), re.IGNORECASE), kind)
    for statuses, kind, patterns in _TEXT_RULES
)

DECISIVE_STATUSES: dict[int, Kind] = {
    402: Kind.BILLING,
    413: Kind.CONTEXT_OVERFLOW,
    498: Kind.OVERLOADED,
    529: Kind.OVERLOADED,
}
"""They count before any general code (Groq's 413 comes with rate_limit_exceeded)."""

GENERAL_CODES: dict[str, Kind] = {
    # Anthropic
    "authentication_error": Kind.AUTH,
    "permission_error": Kind.PERMISSION,
    "not_found_error": Kind.MODEL_NOT_FOUND,
    "rate_limit_error": Kind.RATE_LIMITED,
    "timeout_error": Kind.TIMEOUT,
    # OpenAI and compatible servers
    "rate_limit_exceeded": Kind.RATE_LIMITED,
    # Google
    "unauthenticated": Kind.AUTH,
    "permission_denied": Kind.PERMISSION,
    "failed_precondition": Kind.PERMISSION,
    "not_found": Kind.MODEL_NOT_FOUND,
    "resource_exhausted": Kind.RATE_LIMITED,
    "cancelled": Kind.SERVER_ERROR,
    "internal": Kind.SERVER_ERROR,
    "unavailable": Kind.OVERLOADED,
    "deadline_exceeded": Kind.TIMEOUT,
}

VAGUE_CODES: dict[str, Kind] = {
    # They come with many statuses, so they count only where there is no status.
    "api_error": Kind.SERVER_ERROR,
    "server_error": Kind.SERVER_ERROR,
    "conflict_error": Kind.SERVER_ERROR,
    "invalid_request_error": Kind.BAD_REQUEST,
    "badrequesterror": Kind.BAD_REQUEST,
    "invalid_argument": Kind.BAD_REQUEST,
}

OTHER_STATUSES: dict[int, Kind] = {
    401: Kind.AUTH,
    403: Kind.PERMISSION,
    404: Kind.MODEL_NOT_FOUND,
    405: Kind.NETWORK,
    407: Kind.NETWORK,
    408: Kind.TIMEOUT,
    409: Kind.SERVER_ERROR,
    421: Kind.NETWORK,
    424: Kind.SERVER_ERROR,
    426: Kind.NETWORK,
    410: Kind.MODEL_NOT_FOUND,
    425: Kind.SERVER_ERROR,
    429: Kind.RATE_LIMITED,
    451: Kind.PERMISSION,
    499: Kind.SERVER_ERROR,
    504: Kind.TIMEOUT,
    522: Kind.TIMEOUT,
    524: Kind.TIMEOUT,
}
