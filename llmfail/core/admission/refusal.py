"""Why a target was not called."""

from __future__ import annotations

from msgspec import Struct

from llmfail.core.classification.outcome import Kind
from llmfail.core.receipt import SkipReason


class Refusal(Struct, frozen=True):
    """No call, and nothing to give back."""

    reason: SkipReason
    retry_at: float | None
    note: str
    cause: Kind | None = None
    """What disabled it."""
