"""What an answer must be, and what speaks against one.

What takes a library to judge is left to ``pattern`` and ``schema``, and imported only where it is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.core.model import FinishReason

PATTERN_LIMIT_SECONDS = 1.0
"""Seconds that all the patterns of an expectation may take together on one answer."""
_INCOMPLETE_REASONS = {
    "length": "not complete: cut at max_tokens",
    "tool_calls": "not complete: the model asked for a tool",
}


class Expectation(Struct, frozen=True):
    """``complete``: ended by the model itself, neither cut nor broken off. ``json``: the whole text, white
    space around it apart, is strict JSON. ``patterns`` are regular expressions that the text must match
    somewhere; ``schema`` is a JSON Schema for what the text says as JSON. ``block``: there is a fenced block
    in it, in this language if it names one.
    """

    nonempty: bool = False
    complete: bool = False
    json: bool = False
    patterns: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    block: str | None = None


NOTHING_EXPECTED = Expectation()
_SHOWN = (NOTHING_EXPECTED, Expectation(nonempty=True))


def merge(one: Expectation, other: Expectation) -> Expectation:
    """What either expects; of two schemas the other's holds."""
    return Expectation(
        nonempty=one.nonempty or other.nonempty,
        complete=one.complete or other.complete,
        json=one.json or other.json,
        patterns=tuple(dict.fromkeys(one.patterns + other.patterns)),
        schema=one.schema if other.schema is None else other.schema,
        block=one.block if other.block is None else other.block,
    )


def without_schema(expected: Expectation) -> Expectation:
    return expected if expected.schema is None else msgspec.structs.replace(expected, schema=None)


def can_be_shown(expected: Expectation) -> bool:
    """Whether an answer may be shown before it is whole: nothing is expected but some text."""
    return expected in _SHOWN


def parse(text: str) -> Expectation:
    """``json``, ``nonempty``, ``complete`` or ``regex:RE``. Raises ValueError for anything else."""
    match text.partition(":"):
        case ("json", "", ""):
            return Expectation(json=True)
        case ("nonempty", "", ""):
            return Expectation(nonempty=True)
        case ("complete", "", ""):
            return Expectation(complete=True)
        case ("regex", ":", pattern) if pattern:
            expected = Expectation(patterns=(pattern,))
        case _:
            raise ValueError(f"json, nonempty, complete or regex:RE can be expected, got {text[:60]!r}")
    if (problem := find_problem(expected)) is not None:
        raise ValueError(problem)
    return expected


def find_problem(expected: Expectation) -> str | None:
    """Why no answer can be judged by this: a pattern or a schema that is none. Told before anybody is asked,
    it costs nothing.
    """
    from llmfail.core.request import answer_schema as schema
    from llmfail.core.request import regex_limit as pattern

    try:
        for one in expected.patterns:
            pattern.check_pattern(one)
    except ValueError as error:
        return str(error)
    problem = None if expected.schema is None else schema.find_schema_problem(expected.schema)
    return None if problem is None else f"the schema {problem}"


def find_violation(
    expected: Expectation,
    text: str,
    finish_reason: FinishReason | None,
    *,
    limit: float = PATTERN_LIMIT_SECONDS,
) -> str | None:
    """One line on why the text is not accepted; None when it is. A ``finish_reason`` of None, as of an answer
    that is no model's, is complete. Never raises.
    """
    if expected.complete and finish_reason not in {None, "stop"}:
        return _INCOMPLETE_REASONS.get(str(finish_reason), f"not complete: it ended with {finish_reason}")
    if expected.nonempty and not text.strip():
        return "no text in the answer"
    if expected.json or expected.schema is not None:
        found = _find_json_violation(expected.schema, text)
        if found is not None:
            return found
    if expected.block is not None and extract_block(expected, text) is None:
        return f"no fenced block of {expected.block} in it" if expected.block else "no fenced block in it"
    return _find_pattern_violation(expected.patterns, text, limit) if expected.patterns else None


def extract_block(expected: Expectation, text: str) -> str | None:
    """The fenced block that is expected; None when there is none."""
    from llmfail.core.request.normalization import find_fenced_block

    return find_fenced_block(text, expected.block or "")


def unwrap_json(expected: Expectation, text: str) -> str:
    """The text without the fence around it, where JSON is expected."""
    if not (expected.json or expected.schema is not None) or not text.lstrip().startswith(("```", "~~~")):
        return text
    from llmfail.core.request.normalization import strip_fence

    return strip_fence(text)


def _find_json_violation(schema: Mapping[str, Any] | None, text: str) -> str | None:
    try:
        value = msgspec.json.decode(text.strip())  # strict: NaN and 1e400 are no JSON
    except RecursionError:
        return "not JSON: nested too deeply"
    except ValueError as error:
        return f"not JSON: {str(error).removeprefix('JSON is malformed: ')}"
    if schema is None:
        return None
    from llmfail.core.request.answer_schema import find_schema_problem, find_schema_violation

    try:
        return find_schema_violation(schema, value)
    except (TypeError, ValueError, RecursionError):
        return f"the schema {find_schema_problem(schema)}"


def _find_pattern_violation(patterns: tuple[str, ...], text: str, limit: float) -> str | None:
    from llmfail.core.request.regex_limit import PatternTimeout, has_match, quote_pattern

    for pattern in patterns:
        try:
            if not has_match(pattern, text, limit / len(patterns)):
                return f"nothing in it matches {quote_pattern(pattern)}"
        except (PatternTimeout, ValueError) as error:
            return str(error)
    return None
