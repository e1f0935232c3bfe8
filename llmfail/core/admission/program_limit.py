"""The rate limits of a key with which programs ask: a request is refused at once where one has no place for
it. Tokens are charged when they are known, so a limit of tokens refuses while more were used than it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmfail.core.admission.rate_limit import GcraState, RateLimit, expires_at, reserve, wait_seconds
from llmfail.core.records.record import Values, Write, Writes, dump, load_or_default


def admit_request(limits: Sequence[RateLimit], values: Values, now: float) -> tuple[Writes, float]:
    """What to write, and 0; or nothing, and the seconds until there is a place."""
    states = {limit.key: load_or_default(values[limit.key], GcraState) for limit in limits}
    wait = max((wait_seconds(states[limit.key], limit, now) for limit in limits), default=0.0)
    if wait:
        return {}, wait
    counted = [limit for limit in limits if limit.unit == "requests"]
    return _write({one.key: reserve(states[one.key], one, 1, now, now) for one in counted}, now), 0.0


def charge_tokens(limits: Sequence[RateLimit], tokens: int, values: Values, now: float) -> Writes:
    counted = [limit for limit in limits if limit.unit == "tokens"]
    states = {one.key: load_or_default(values[one.key], GcraState) for one in counted}
    return _write({one.key: reserve(states[one.key], one, tokens, now, now) for one in counted}, now)


def _write(states: Mapping[str, GcraState], now: float) -> Writes:
    return {key: Write(dump(state), expires_at(state, now)) for key, state in states.items()}
