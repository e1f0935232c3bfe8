"""Who asks: the key in the headers of a request, found by its digest and never kept or shown."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from llmfail.core.admission.program_limit import LimitReached
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.records.state_keys import program_limit_key
from llmfail.core.reports.figures import count_of, duration
from llmfail.settings.schema.serve_settings import ServeKey
from llmfail.settings.schema.settings import Settings

KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
_BEARER = "bearer "


class ProgramKeys:
    """The keys of one configuration. Without any, whoever may reach the port may ask."""

    def __init__(self, settings: Settings) -> None:
        self.is_open = not settings.serve.keys
        self._by_digest = {digest: key for key in settings.serve.keys if (digest := _digest_of(key))}

    def find(self, headers: Mapping[str, str]) -> ServeKey | None:
        """The key of a request, which may have expired; None where it has none that is known."""
        offered = read_key(headers)
        if offered is None:
            return None
        digest = sha256(offered.encode()).hexdigest()
        key = self._by_digest.get(digest)
        if key is None or not hmac.compare_digest(digest, _digest_of(key)):
            return None
        return key


def read_key(headers: Mapping[str, str]) -> str | None:
    """Wherever a vendor's SDK puts it; never of the query, which ends in logs."""
    authorization = headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return next((headers[name].strip() for name in KEY_HEADERS if name in headers), None)


def limits_of(key: ServeKey, namespace: str) -> tuple[RateLimit, ...]:
    limits, name = key.limits, f"key {key.name}"
    requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
    found = []
    if requests is not None:
        place = program_limit_key(key.name, "requests", namespace)
        found.append(RateLimit(place, name, "requests", requests, limits.burst))
    if tokens is not None:
        found.append(RateLimit(program_limit_key(key.name, "tokens", namespace), name, "tokens", tokens))
    return tuple(found)


def describe_limit(reached: LimitReached) -> str:
    """Which limit it is, how much it is, and when there is a place again."""
    limit = reached.limit
    what = "asked as often" if limit.unit == "requests" else "used as many tokens"
    allowed = count_of(limit.per_minute, limit.unit.removesuffix("s"))
    wait = duration(reached.seconds)
    return f"the {limit.name} has {what} as it may ({allowed} per minute); it may ask again in {wait}"


def _digest_of(key: ServeKey) -> str:
    if key.sha256 is not None:
        return key.sha256
    return "" if key.key is None else sha256(key.key.reveal().encode()).hexdigest()
