"""Random numbers, and the ids of asks and queued requests."""

from __future__ import annotations

import os
import time
from collections import deque

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(one + other for one in _ALPHABET for other in _ALPHABET)
_DIGITS = _ALPHABET.encode() * 8
"""A digit for each byte; each of the 32 stands for as many bytes."""
_BLOCK_BYTES, _BLOCKS_DRAWN = 16, 32
_blocks: deque[bytes] = deque()
"""Drawn from the system and not used yet; a forked process draws its own."""
os.register_at_fork(after_in_child=_blocks.clear)


def random_fraction() -> float:
    """A random number in [0, 1)."""
    return int.from_bytes(_take_block()[:7]) / 2**56


def new_id() -> str:
    """A ULID: 26 characters that sort by time, 80 bits of them random."""
    at = int(time.time() * 1000)
    first, second = _PAIRS[at >> 40], _PAIRS[(at >> 30) & 1023]
    third, fourth, fifth = _PAIRS[(at >> 20) & 1023], _PAIRS[(at >> 10) & 1023], _PAIRS[at & 1023]
    return f"{first}{second}{third}{fourth}{fifth}{_take_block().translate(_DIGITS).decode()}"


def _take_block() -> bytes:
    """16 random bytes: one draw from the system is for several, since each is a call of the system."""
    try:
        return _blocks.pop()
    except IndexError:
        drawn = os.urandom(_BLOCK_BYTES * _BLOCKS_DRAWN)
        _blocks.extend(
            drawn[start : start + _BLOCK_BYTES] for start in range(_BLOCK_BYTES, len(drawn), _BLOCK_BYTES)
        )
        return drawn[:_BLOCK_BYTES]
