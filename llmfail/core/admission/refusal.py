"""Why a target was not called."""

from __future__ import annotations

from msgspec import Struct

from llmfail.core.classification.outcome import Kind
from llmfail.core.receipt import SkipReason


class Refusal(Struct, frozen=True):
    """No call may be made, and nothing is reserved."""

    reason: SkipReason
    retry_at: float | None
    note: str
    cause: Kind | None = None
    """The outcome that disabled the target."""
