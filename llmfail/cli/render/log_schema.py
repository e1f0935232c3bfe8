"""The shape of a logged request as it is shown. What has another one is damaged, or was written by somebody
else: the store keeps text, and anybody may have been at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

UsdText = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$")]


class _LogTokens(Struct):
    input_tokens: int
    output_tokens: int


class _LogFailure(Struct):
    code: int
    kind: str
    message: str


class _LogStep(Struct):
    target: str
    action: str
    outcome: str
    status: int | None
    latency_ms: float | None
    cost_usd: UsdText | None
    retry_after: float | None
    note: str = ""
    open_reason: str | None = None


class _LogEntry(Struct):
    id: str
    at: datetime
    ok: bool
    feature: str
    source: str
    tier: int
    target: str | None
    finish_reason: str | None
    usage: _LogTokens | None
    cost_usd: UsdText | None
    latency_ms: float
    retry_at: datetime | None
    error: _LogFailure | None
    trail: list[_LogStep]
    prompt: str | None = None
    answer: str | None = None


def is_well_formed(entry: Mapping[str, Any]) -> bool:
    """Whether all of it can be shown."""
    try:
        read = msgspec.convert(entry, _LogEntry)
    except ValueError:
        return False
    moments = (read.at, read.retry_at or read.at)
    return read.ok == (read.error is None) and all(1970 < moment.year < 9999 for moment in moments)
