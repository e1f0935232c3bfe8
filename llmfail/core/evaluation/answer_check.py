"""Whether an answer is what a line of the data set expects, and which rules made the texts comparable."""

from __future__ import annotations

import re
from math import isclose
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from llmfail.core.evaluation.dataset_line import AnswerCheck, expectation_of
from llmfail.core.request.expectation import find_violation
from llmfail.core.request.normalization import ANSWER_RULES, Normalized, normalize_text

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")
PROSE_RULES = ("characters", "white_space")
"""What may differ between a text and the same text as part of an answer."""
MAX_SHOWN = 60
"""Characters of an expected text that a reason quotes."""


class CheckResult(Struct, frozen=True):
    """``violation``: one line on why it is not what was expected; None when it is. ``rules``: those of the
    normalization that changed the answer.
    """

    violation: str | None
    rules: tuple[str, ...] = ()


def check_answer(check: AnswerCheck, answer: str) -> CheckResult:
    """Never raises: a check was found to be one when its line was read."""
    comparable, bare = normalize_text(answer), normalize_text(answer, ANSWER_RULES)
    violation = (
        _find_difference(check.equals, comparable)
        or _find_missing(check.contains, normalize_text(bare.text, PROSE_RULES).text)
        or _find_wrong_number(check, bare.text)
        or find_violation(expectation_of(check), bare.text, None)
    )
    return CheckResult(violation, comparable.rules)


def _find_difference(equals: object, answer: Normalized) -> str | None:
    if equals is UNSET:
        return None
    expected = equals if isinstance(equals, str) else msgspec.json.encode(equals).decode()
    if normalize_text(expected).text == answer.text or _is_same_json(equals, answer.text):
        return None
    return f"not equal to {_quote(expected)}"


def _is_same_json(equals: Any, text: str) -> bool:  # noqa: ANN401 - any JSON value
    """1 and 1.0 are the same number, true is none."""
    if isinstance(equals, str):
        return False
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    return bool(value == equals) and isinstance(value, bool) == isinstance(equals, bool)


def _find_missing(contains: str | tuple[str, ...], answer: str) -> str | None:
    parts = (contains,) if isinstance(contains, str) else contains
    missing = (one for one in parts if normalize_text(one, PROSE_RULES).text not in answer)
    first = next(missing, None)
    return None if first is None else f"{_quote(first)} is not in it"


def _find_wrong_number(check: AnswerCheck, text: str) -> str | None:
    if check.number is None:
        return None
    numbers = [one for one in _NUMBER.findall(text) if any(map(str.isdigit, one))]
    if not numbers:
        return "there is no number in it"
    last = float(numbers[-1].replace(",", ""))
    if isclose(last, check.number, rel_tol=1e-9, abs_tol=check.tolerance):
        return None
    return f"{last:g} is not {check.number:g}" + (f" ± {check.tolerance:g}" if check.tolerance else "")


def _quote(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
