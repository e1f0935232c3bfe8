"""The plain values of a configuration before their type is known: scalars, places, and how both are shown.

Scalars mean what YAML 1.2's core schema says, whether they come from a file or the environment.
"""

from __future__ import annotations

import re
from typing import Final, Self

Place = tuple[str | int, ...]
"""Where a value is: the keys and list positions that lead to it."""
Finding = tuple[Place, str]
"""A place, and a message about it."""

NULL_WORDS: Final = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEAN_WORDS: Final = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
"""``yes`` and ``on`` are text, which a boolean setting understands."""
INTEGER_PATTERN: Final = re.compile(r"[-+]?[0-9]{1,40}|0x[0-9a-fA-F]{1,16}|0o[0-7]{1,20}")
FLOAT_PATTERN: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?|[-+]?\.inf|\.nan", re.IGNORECASE
)
_KEY_LIKE = re.compile(r"\b(?:sk-|pk-|gsk_|xai-|AIza|ya29\.|AKIA|gh[a-z]_|eyJ)\S*")
_MAX_SHOWN_CHARS = 60


class FromEnvironment(str):
    """Text from the environment. It becomes the type that its place needs, and is never shown."""

    __slots__ = ("variable",)
    variable: str

    def __new__(cls, text: str, variable: str) -> Self:
        value = super().__new__(cls, text)
        value.variable = variable
        return value


def parse_scalar(text: str) -> bool | float | str | None:
    """The value of a plain scalar."""
    if text in NULL_WORDS:
        return None
    if text in BOOLEAN_WORDS:
        return text.lower() == "true"
    if INTEGER_PATTERN.fullmatch(text):
        return int(text, 0 if text[:2] in {"0x", "0o"} else 10)
    if FLOAT_PATTERN.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def describe(value: object) -> str:
    """``got …``, short, on one line, and never a key."""
    match value:
        case None:
            shown = "nothing"
        case dict():
            shown = "a mapping"
        case list():
            shown = "a list"
        case FromEnvironment():
            shown = f"what {value.variable} holds"
        case str():
            text = _KEY_LIKE.sub("…", value)
            shown = repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…")
        case bool():
            shown = str(value).lower()
        case _:
            shown = str(value)
    return f"got {shown}"


def format_place(place: Place) -> str:
    """``features.vpr.fallbacks[1]``; a key that a terminal could not show is escaped."""
    return "".join(map(_format_key, place)).removeprefix(".")


def _format_key(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key if key.isprintable() else repr(key)}"
