"""The shape of a logged request as it is shown. What has another one is damaged, or was written by somebody
else: the store keeps text, and anybody may have been at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Usd = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$")]


class _Tokens(Struct):
    input_tokens: int
    output_tokens: int


class _Failure(Struct):
    code: int
    kind: str
    message: str


class _Step(Struct):
    target: str
    action: str
    outcome: str
    status: int | None
    latency_ms: float | None
    cost_usd: Usd | None
    retry_after: float | None
    note: str = ""


class _Entry(Struct):
    id: str
    at: datetime
    ok: bool
    feature: str
    source: str
    tier: int
    target: str | None
    finish_reason: str | None
    usage: _Tokens | None
    cost_usd: Usd | None
    latency_ms: float
    retry_at: datetime | None
    error: _Failure | None
    trail: list[_Step]
    prompt: str | None = None
    answer: str | None = None


def is_sound(entry: Mapping[str, Any]) -> bool:
    """Whether all of it can be shown."""
    try:
        read = msgspec.convert(entry, _Entry)
    except ValueError:
        return False
    moments = (read.at, read.retry_at or read.at)
    return read.ok == (read.error is None) and all(1970 < moment.year < 9999 for moment in moments)
