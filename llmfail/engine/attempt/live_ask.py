"""The ask that an operation belongs to, as whoever does the operation knows it."""

from __future__ import annotations

from typing import Protocol

from llmfail.core.routing.ask_events import Event
from llmfail.core.routing.ask_state import AskState


class LiveAsk(Protocol):
    """``state`` is the ask as it is now. ``apply_event`` makes an event known to it while an operation goes
    on: that a call is sent, that its first text wants to be shown, that failures are settled.
    """

    state: AskState

    def apply_event(self, event: Event) -> None: ...
