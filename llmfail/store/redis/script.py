"""A script that the server runs."""

from __future__ import annotations

from hashlib import sha1

from msgspec import Struct


class Script(Struct, frozen=True):
    """A script, and the digest by which the server knows it once it has run it."""

    text: str
    digest: str


def make_script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
