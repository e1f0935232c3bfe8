"""How long a streamed answer may go without a token."""

from __future__ import annotations

from msgspec import Struct


class StreamTimeouts(Struct, frozen=True):
    """Seconds from sending to the first token, and between two tokens."""

    first_token: float
    stall: float
