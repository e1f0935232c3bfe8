"""Why a target was not called."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from llmfail.core.classification.outcome import Kind
from llmfail.core.receipt import SkipReason


class OpenReason(StrEnum):
    """Why no call is admitted for a while."""

    FAILURES = "failures"
    """The circuit opened because calls failed."""
    PAUSE = "pause"
    """The provider asked for it, with a Retry-After."""


class Refusal(Struct, frozen=True):
    """No call may be made, and nothing is reserved."""

    reason: SkipReason
    retry_at: float | None
    note: str
    cause: Kind | None = None
    """The outcome that disabled the target."""
    open_reason: OpenReason | None = None
    """With ``CIRCUIT_OPEN`` only."""
