"""How the decoders look at a body that a stranger wrote: every access checks its type, nothing raises but
MalformedReply.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64decode
from binascii import a2b_base64
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from llmfail.core.classification.body import NotJson, Payload
from llmfail.core.conversation import Dialect, Marks, Part, Text, ToolCall
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Completion, FinishReason, Usage

_MAX_TOKENS = 10**9
"""A hundred times what any model takes."""


NO_FINISH_REASON = "no finish reason"
"""Where a wire always names one, an answer without it is a part of one."""
_NO_REASONS = frozenset({"null", "none", "finish_reason_unspecified"})
_MAX_CONTENT_DEPTH = 3
_TEXT_TYPES = frozenset({"", "text", "output_text", "text_delta"})
"""The empty one is that of a part that does not say its type."""


_MAX_COMPONENT = 1e4
"""No embedding model gives larger numbers; most give none above 1."""
MAX_ANSWER_CHARS = 4 << 20
"""No model writes more: 128,000 tokens are a sixth of it."""


TOO_LONG = f"the answer is longer than {MAX_ANSWER_CHARS:,} characters"


class UnusableCount(Exception):
    """What should be a count is none: what was used is unknown."""


def require_object(payload: Payload) -> dict[str, Any]:
    """The object that the body is."""
    if isinstance(payload, list) and len(payload) == 1:
        payload = payload[0]
    if isinstance(payload, dict):
        return payload
    is_json = not isinstance(payload, NotJson)
    raise MalformedReply("the answer is JSON, but not an object" if is_json else f"the answer is {payload}")


def require_possible_length(completion: Completion) -> Completion:
    """An answer that is longer than any has come from no model; nobody would want to read it, or to judge
    it.
    """
    if len(completion.text) > MAX_ANSWER_CHARS:
        raise MalformedReply(TOO_LONG)
    return completion


def as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def find_mapping(value: object) -> Mapping[str, Any] | None:
    """The first object of a list."""
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            return item
    return None


def iter_mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def as_clean_text(value: object) -> str:
    """A string that can be encoded: halves of surrogate pairs, which JSON can spell, become U+FFFD."""
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


class SurrogateJoiner:
    """A text that comes in pieces. JSON can spell one character as two halves, and a piece may end between
    them.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._pending_half = ""

    def __str__(self) -> str:
        return "".join(self._pieces)

    @property
    def has_half(self) -> bool:
        """Whether the first half of a character waits for the other."""
        return bool(self._pending_half)

    def extend(self, pieces: Iterable[str]) -> None:
        """Pieces of whole characters, while no half waits."""
        self._pieces.extend(pieces)

    def add(self, piece: str) -> str:
        """What can be said now that this piece is there too."""
        if not self._pending_half and piece.isascii():
            if piece:
                self._pieces.append(piece)
            return piece
        whole = self._pending_half + piece
        self._pending_half = whole[-1:] if "\ud800" <= whole[-1:] <= "\udbff" else ""
        said = as_clean_text(whole[: len(whole) - len(self._pending_half)])
        if said:
            self._pieces.append(said)
        return said


def read_reason(value: object) -> str:
    """A finish reason; empty where a server writes that there is none in a word."""
    word = as_clean_text(value)
    return "" if word.strip().lower() in _NO_REASONS else word


def read_content(content: object, depth: int = 0) -> str:
    """The text of an answer, in all the shapes that are seen: a string, a part, or a list of both. Parts that
    are not for the reader (thoughts, calls of tools) have a type of their own.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return (
            "".join(read_content(part, depth + 1) for part in content) if depth < _MAX_CONTENT_DEPTH else ""
        )
    if isinstance(content, dict) and type_of(content) in _TEXT_TYPES:
        return as_string(content.get("text"))
    return ""


def as_string(value: object) -> str:
    """As it is, halves and all."""
    return value if isinstance(value, str) else ""


def type_of(part: Mapping[str, Any]) -> str:
    """What a part, an item or an event says that it is; empty where that is no text."""
    return as_string(part.get("type"))


def read_usage(said: object, read: Callable[[Mapping[str, Any]], Usage | None]) -> Usage | None:
    """The usage of an answer; None, never zeros, when nothing is said or a count in it cannot be believed."""
    try:
        return read(as_mapping(said))
    except UnusableCount:
        return None


def read_counts(source: Mapping[str, Any], names: Sequence[str], needed: Sequence[str]) -> list[int]:
    """Numbers of tokens that are billed; 0 for one that is missing. Raises UnusableCount when one that is
    ``needed`` is.
    """
    counts = []
    for name in names:
        if (value := source.get(name)) is None and name not in needed:
            counts.append(0)
        elif (found := as_token_count(value)) is not None:
            counts.append(found)
        else:
            raise UnusableCount
    return counts


def read_count(source: Mapping[str, Any], name: str) -> int:
    """A number of tokens that is billed; 0 when it is missing. Raises UnusableCount for what is none."""
    value = source.get(name)
    found = 0 if value is None else as_token_count(value)
    if found is None:
        raise UnusableCount
    return found


def read_token_count(payload: Payload, name: str) -> int:
    """The number of tokens that a counting endpoint tells."""
    found = as_token_count(require_object(payload).get(name))
    if found is None:
        raise MalformedReply(f"the count of tokens has no {name}")
    return found


def read_partial_count(source: Mapping[str, Any], name: str, total: int) -> int:
    """A number of tokens that are a part of others: never more than those, 0 when nobody knows."""
    value = source.get(name)
    return min(as_token_count(value) or 0, total) if value else 0


def as_token_count(value: object) -> int | None:
    """A whole number from 0 to any number of tokens that there may be; None for anything else."""
    if type(value) is int:
        return value if 0 <= value <= _MAX_TOKENS else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TOKENS:
        return None
    return int(value) if value == int(value) else None


def _read_base64_floats(text: str) -> list[float] | None:
    """None for what is none: other numbers than floats look like floats of any size."""
    try:
        data = b64decode(text, validate=True)
        floats = [number for (number,) in struct.iter_unpack("<f", data)]
    except (ValueError, struct.error):
        return None
    return floats if all(abs(number) <= _MAX_COMPONENT for number in floats) else None


def read_vector(value: object) -> tuple[float, ...]:
    """An embedding: a list of numbers, or base64 of floats of four bytes, the lowest first."""
    if isinstance(value, str):
        value = _read_base64_floats(value)
    if not isinstance(value, list) or not value:
        raise MalformedReply("the answer has no embedding")
    try:
        numbers = tuple(map(float, value))
    except (TypeError, ValueError, OverflowError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise MalformedReply("the answer has an embedding that is not made of numbers")
    return numbers


def dump_arguments(value: object) -> str:
    """The arguments of a call as JSON text, without blanks: an object, or the text of one, which may be
    broken off.
    """
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value) if value.strip() else {}
        except (ValueError, RecursionError):
            return as_clean_text(value)
    try:
        return msgspec.json.encode({} if value is None else value).decode()
    except (UnicodeEncodeError, OverflowError):
        return as_clean_text(json.dumps(value, separators=(",", ":")))


_EFFORTS: Final[Mapping[str, Any]] = {
    **{name: name for name in ("none", "low", "medium", "high", "max")},
    "minimal": "low",
    "xhigh": "high",
}


def find_effort(word: object) -> Literal["none", "low", "medium", "high", "max"] | None:
    """The effort that a vendor's word is nearest to. One that is not the same goes back in its own word."""
    found: Literal["none", "low", "medium", "high", "max"] | None = _EFFORTS.get(str(word))
    return found


def rest_of(document: Mapping[str, Any], read: Container[str]) -> dict[str, Any]:
    """The fields that were not read and that say something."""
    return {name: value for name, value in document.items() if name not in read and value is not None}


def mark_with(dialect: Dialect, fields: Mapping[str, Any]) -> Marks | None:
    return {dialect: fields} if fields else None


def read_data_url(url: str) -> tuple[str, bytes] | None:
    """Media type and bytes of a ``data:`` URL; None for any other, and for one that is damaged."""
    head, comma, body = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    data = read_base64(body)
    return None if data is None else (head[len("data:") : -len(";base64")].partition(";")[0], data)


def read_base64(text: object) -> bytes | None:
    """Both alphabets are read, with and without padding."""
    if not isinstance(text, str):
        return None
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError:
        return None


def finish_with(finish: FinishReason, parts: Iterable[Part]) -> FinishReason:
    """Some servers call a natural end what is a call of tools."""
    if finish != "stop":
        return finish
    for one in parts:
        if isinstance(one, ToolCall):
            return "tool_calls"
    return finish


def keep_beyond_text(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts, if there is more in them than text."""
    for part in parts:
        if not isinstance(part, Text) or part.signature:
            return parts
    return ()
