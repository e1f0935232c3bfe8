"""How long a streamed answer may go without a token."""

from __future__ import annotations

from msgspec import Struct


class StreamTimeouts(Struct, frozen=True):
    """Seconds from sending, or from the last keep-alive, to the first token, and between two tokens. Without
    ``first_token`` only the time of the attempt limits the wait for it.
    """

    first_token: float | None
    stall: float
