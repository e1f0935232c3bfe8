"""Random numbers, and the ids of asks and queued requests."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


_PAIRS = tuple(one + other for one in _ALPHABET for other in _ALPHABET)


def random_fraction() -> float:
    """A random number in [0, 1)."""
    return int.from_bytes(os.urandom(7)) / 2**56


def new_id() -> str:
    """A ULID: 26 characters that sort by time, 80 bits of them random."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])
