"""That a request is longer than the context of a model, in the words by which the programs of a dialect know
it: they make it shorter then, or ask for a shorter answer.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, assert_never

from llmfail.core.conversation import Dialect

_NUMBER: Final = r"(\d[\d,_]*)"
_COMPARED: Final = re.compile(rf"{_NUMBER} tokens? > {_NUMBER}")
_ADDED: Final = re.compile(rf"{_NUMBER} \+ {_NUMBER} > {_NUMBER}")
_SPLIT: Final = re.compile(
    rf"{_NUMBER} (?:tokens )?in the messages\b[^)]*?{_NUMBER} (?:tokens )?in the completion"
)
_LIMIT: Final = re.compile(
    rf"(?:maximum|max|limit|available|window|context)[^0-9.]{{0,60}}?{_NUMBER}", re.IGNORECASE
)
_LEAST: Final = 100
"""Smaller numbers are no lengths of a context."""


class Overflow(NamedTuple):
    """In tokens; ``output`` is 0 where only the input is told."""

    input: int
    output: int
    limit: int


def read_overflow(sentence: str) -> Overflow | None:
    """The numbers in a provider's sentence; None where they cannot be told apart."""
    if found := _ADDED.search(sentence):
        return Overflow(*map(_to_int, found.groups()))
    if found := _COMPARED.search(sentence):
        return Overflow(_to_int(found[1]), 0, _to_int(found[2]))
    limit = _LIMIT.search(sentence)
    if limit is None:
        return None
    most = _to_int(limit[1])
    if split := _SPLIT.search(sentence):
        return Overflow(_to_int(split[1]), _to_int(split[2]), most)
    above = [one for text in re.findall(_NUMBER, sentence) if (one := _to_int(text)) > max(most, _LEAST)]
    return Overflow(above[0], 0, most) if above else None


def describe_overflow(dialect: Dialect, sentence: str) -> str:
    found = read_overflow(sentence)
    if found is None:
        return f"{_OPENINGS[dialect]} ({sentence})" if sentence else _OPENINGS[dialect]
    total, split = found.input + found.output, ""
    match dialect:
        case "chat" | "responses":
            if found.output:
                split = f" ({found.input} in the messages, {found.output} in the completion)"
            return (
                f"This model's maximum context length is {found.limit} tokens. However, you requested "
                f"{total} tokens{split}. Please reduce the length of the messages or completion."
            )
        case "anthropic" if found.output:
            numbers = f"{found.input} + {found.output} > {found.limit}"
            return (
                f"input length and `max_tokens` exceed context limit: {numbers}, "
                "decrease input length or `max_tokens` and try again"
            )
        case "anthropic":
            return f"prompt is too long: {total} tokens > {found.limit} maximum"
        case "gemini":
            most = f"exceeds the maximum number of tokens allowed ({found.limit})."
            return f"The input token count ({total}) {most}"
        case _:
            assert_never(dialect)


_OPENINGS: Final = {
    "chat": "This model's maximum context length is exceeded by the request.",
    "responses": "Your input exceeds the context window of this model.",
    "anthropic": "prompt is too long",
    "gemini": "The input token count exceeds the maximum number of tokens allowed.",
}


def _to_int(text: str) -> int:
    return int(re.sub(r"[,_]", "", text)[:15])
