"""A line of a golden data set: what is asked, and what is expected of an answer.

The fields of ``expect`` and ``reference`` are read here; everything else is a batch line.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from llmfail.core.request.expectation import Expectation, find_problem


class AnswerCheck(Struct, frozen=True, forbid_unknown_fields=True):
    """``equals``: a text, a number or any JSON value; texts are compared normalized. ``contains`` and
    ``regex``: one or several, all of which must be found. ``json``: true for any JSON. ``schema``: a JSON
    Schema. ``number``: the only or last number of the answer, within ``tolerance`` (absolute). ``similar``:
    how similar to the reference at least, by the cosine of their vectors.
    """

    equals: Any = UNSET
    contains: str | tuple[str, ...] = ()
    regex: str | tuple[str, ...] = ()
    json: bool = False
    schema: dict[str, Any] | None = None
    number: float | None = None
    similar: float | None = None
    tolerance: float = 0.0


class DatasetLine(NamedTuple):
    """``batch_line`` is what is left for the batch: JSON without ``expect`` and ``reference``."""

    batch_line: bytes
    check: AnswerCheck
    reference: str | None


class _Golden(Struct):
    expect: AnswerCheck | UnsetType = UNSET
    reference: str | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Golden)


def parse_dataset_line(text: bytes) -> DatasetLine:
    """Raises ValueError, in one line, for what is no line of a data set; whether the rest is a batch line is
    left to the batch.
    """
    try:
        fields = msgspec.json.decode(text)
        golden = _DECODER.decode(text) if isinstance(fields, dict) else _Golden()
    except msgspec.ValidationError as error:
        raise ValueError(f"not what a line may expect: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DatasetLine(text, AnswerCheck(), None)  # the batch says what is wrong with it
    check = AnswerCheck() if golden.expect is UNSET else golden.expect
    if (problem := find_problem(expectation_of(check))) is not None:
        raise ValueError(f"expect: {problem}")
    if check.tolerance < 0 or (check.tolerance and check.number is None):
        raise ValueError("expect: tolerance is a distance from number, at least 0")
    if check.similar is not None and (not -1 <= check.similar <= 1 or golden.reference is UNSET):
        raise ValueError("expect: similar is a number up to 1, how similar to the `reference` of the line")
    if isinstance(fields, dict):
        fields = {name: value for name, value in fields.items() if name not in {"expect", "reference"}}
    reference = None if golden.reference is UNSET else golden.reference
    return DatasetLine(msgspec.json.encode(fields), check, reference)


def expectation_of(check: AnswerCheck) -> Expectation:
    """The part of a check that ``ask --expect`` can express as well."""
    patterns = (check.regex,) if isinstance(check.regex, str) else check.regex
    return Expectation(json=check.json, patterns=patterns, schema=check.schema)
