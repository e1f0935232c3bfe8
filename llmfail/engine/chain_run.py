"""How one run of a chain is to be taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from llmfail.core.routing.ask_state import AskState
from llmfail.engine.ports.protocols import AnswerReader

if TYPE_CHECKING:
    from llmfail.core.routing.repeat import RepeatRules


class ChainRun(Struct, frozen=True):
    """One run of a chain, since ``started`` on the monotonic clock. ``is_counted``: counted and logged
    as an ask, unless it has no answer and something else is tried behind it (not ``is_last``).
    """

    started_at: float
    is_counted: bool = True
    is_last: bool = True
    reader: AnswerReader | None = None
    on_end: Callable[[AskState], None] | None = None
    """Is told how the ask stood when its chain had ended."""
    repeats: RepeatRules | None = None
    """A failure that is asked again by these rules is no end, and is not logged."""
