"""How the decoders look at a body that a stranger wrote: every access checks its type, nothing raises but
MalformedReply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llmfail.core.classification.body import NotJson, Payload
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Usage

_MOST_TOKENS = 10**9
"""A hundred times what any model takes."""


class Uncountable(Exception):
    """What should be a count is none: what was used is unknown."""


def document(payload: Payload) -> dict[str, Any]:
    """The object that the body is."""
    if isinstance(payload, NotJson):
        raise MalformedReply(f"the answer is {payload}")
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        raise MalformedReply("the answer is JSON, but not an object")
    return payload


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def text(value: object) -> str:
    """A string that can be encoded: halves of surrogate pairs, which JSON can spell, become U+FFFD."""
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


class Words:
    """A text that comes in pieces. JSON can spell one character as two halves, and a piece may end between
    them.
    """

    def __init__(self) -> None:
        self._said: list[str] = []
        self._half = ""

    def __str__(self) -> str:
        return "".join(self._said)

    def add(self, piece: str) -> str:
        """What can be said now that this piece is there too."""
        whole = self._half + piece
        self._half = whole[-1:] if "\ud800" <= whole[-1:] <= "\udbff" else ""
        said = text(whole[: len(whole) - len(self._half)])
        self._said.append(said)
        return said


def string(value: object) -> str:
    """As it is, halves and all."""
    return value if isinstance(value, str) else ""


def usage_of(said: object, read: Callable[[Mapping[str, Any]], Usage | None]) -> Usage | None:
    """The usage of an answer; None, never zeros, when nothing is said or a count in it cannot be believed."""
    try:
        return read(mapping(said))
    except Uncountable:
        return None


def counts(source: Mapping[str, Any], names: Sequence[str], needed: Sequence[str]) -> Iterator[int]:
    """Numbers of tokens that are billed; 0 for one that is missing. Raises Uncountable when one that is
    ``needed`` is.
    """
    if any(source.get(name) is None for name in needed):
        raise Uncountable
    return (count(source, name) for name in names)


def count(source: Mapping[str, Any], name: str) -> int:
    """A number of tokens that is billed; 0 when it is missing. Raises Uncountable for what is none."""
    value = source.get(name)
    found = 0 if value is None else whole(value)
    if found is None:
        raise Uncountable
    return found


def counted(payload: Payload, name: str) -> int:
    """The number of tokens that a counting endpoint tells."""
    found = whole(document(payload).get(name))
    if found is None:
        raise MalformedReply(f"the count of tokens has no {name}")
    return found


def part(source: Mapping[str, Any], name: str, of: int) -> int:
    """A number of tokens that are a part of others: never more than those, 0 when nobody knows."""
    return min(whole(source.get(name)) or 0, of)


def whole(value: object) -> int | None:
    """A whole number from 0 to any number of tokens that there may be; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None


def vector(value: object) -> tuple[float, ...]:
    """An embedding."""
    if not isinstance(value, list) or not value:
        raise MalformedReply("the answer has no embedding")
    try:
        numbers = tuple(map(float, value))
    except (TypeError, ValueError, OverflowError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise MalformedReply("the answer has an embedding that is not made of numbers")
    return numbers
