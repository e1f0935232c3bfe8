"""What became of one call, and of one ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from llmfail.core.classification.outcome import Outcome
from llmfail.core.model import Completion, Embedding, Target
from llmfail.core.receipt import SkipReason
from llmfail.core.routing.candidates import Candidate

if TYPE_CHECKING:
    from llmfail.core.answer_piece import RelayedReply

Answer = Completion | Embedding


class AttemptResult(Struct, frozen=True):
    """What a reply says; ``answer`` is there whenever one could be decoded, good or not."""

    outcome: Outcome
    answer: Answer | None = None
    status: int | None = None
    is_free: bool = False
    """The provider cannot have charged for it."""
    skipped: SkipReason | None = None
    """Nothing was sent, and why."""
    host: str = ""
    request_id: str | None = None
    """What the provider calls the request."""
    relayed: RelayedReply | None = None
    """The reply as it came, where the request of a program was passed on."""
    is_whole: bool = False
    """The answer came to its end, as the provider has it."""
    is_slow: bool = False
    """It ran out of the time that any stream has, for its first token or between two."""


class FoundAnswer(Struct, frozen=True):
    """The answer, and the candidate that gave it."""

    candidate: Candidate
    answer: Answer
    stored: bool = False
    """No target was called: the same question has been answered before."""
    dropped: frozenset[str] = frozenset()
    """Parameters that the target refused in this ask."""
    relayed: RelayedReply | None = None


class PartialAnswer(Struct, frozen=True):
    """The beginning of an answer that was shown, and why there is no more of it."""

    target: Target
    answer: Completion
    outcome: Outcome
