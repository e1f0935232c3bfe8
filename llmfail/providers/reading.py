"""How the decoders look at a body that a stranger wrote: every access checks its type, nothing raises but
MalformedReply.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from llmfail.core.errors import MalformedReply
from llmfail.core.payload import NotJson, Payload

_MOST_TOKENS = 10**12


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


def count(source: Mapping[str, Any], name: str) -> int:
    """A number of tokens; 0 when it is missing or no such number."""
    value = source.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if usable and isinstance(value, int) else 0


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
