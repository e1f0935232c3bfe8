"""The rate limits of a key with which programs ask: a request is refused at once where one has no place for
it. Tokens are charged when they are known, so a limit of tokens refuses while more were used than it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from llmfail.core.admission.rate_limit import GcraState, RateLimit, expires_at, reserve, wait_seconds
from llmfail.core.records.record import Values, Write, Writes, dump, load_or_default


class LimitReached(Struct, frozen=True):
    """A limit that has no place, and the seconds until it has one again."""

    limit: RateLimit
    seconds: float


def admit_request(
    limits: Sequence[RateLimit], values: Values, now: float
) -> tuple[Writes, LimitReached | None]:
    """What to write; or nothing, and the limit that has no place for longest."""
    states = {limit.key: load_or_default(values[limit.key], GcraState) for limit in limits}
    waits = [LimitReached(limit, wait_seconds(states[limit.key], limit, now)) for limit in limits]
    longest = max(waits, key=lambda one: one.seconds, default=None)
    if longest is not None and longest.seconds:
        return {}, longest
    counted = [limit for limit in limits if limit.unit == "requests"]
    return _write({one.key: reserve(states[one.key], one, 1, now, now) for one in counted}, now), None


def charge_tokens(limits: Sequence[RateLimit], tokens: int, values: Values, now: float) -> Writes:
    counted = [limit for limit in limits if limit.unit == "tokens"]
    states = {one.key: load_or_default(values[one.key], GcraState) for one in counted}
    return _write({one.key: reserve(states[one.key], one, tokens, now, now) for one in counted}, now)


def _write(states: Mapping[str, GcraState], now: float) -> Writes:
    return {key: Write(dump(state), expires_at(state, now)) for key, state in states.items()}
