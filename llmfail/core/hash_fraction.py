"""A text as a number of 0 to 1, evenly spread and always the same, so that every process decides alike."""

from __future__ import annotations

from hashlib import sha256

STEPS = 2**48
"""Into how many numbers texts are spread."""


def hash_fraction(text: str) -> float:
    """At least 0 and below 1."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:6]) / STEPS
