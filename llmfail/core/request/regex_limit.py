"""Regular expressions that end: whatever the pattern and the text, within a limit.

The `regex` library can be stopped, in any thread. It understands patterns as `re` does, and more; what it
reads differently is ``{e}``, ``{i}``, ``{d}`` and ``{s}`` behind an item, which ask for approximate matches.
Limits are in seconds of this process's processor time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regex import Pattern

MAX_PATTERN_ITEMS = 100_000
"""Items of a pattern. The library writes repetitions out: ``((a{1000}){1000}){1000}`` takes gigabytes."""
_MAX_SHOWN_CHARS = 60
_PATTERN_ITEM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+)[^}]*\}|.", re.DOTALL)


class PatternTimeout(Exception):
    """A pattern ran out of its time, or out of memory. The text says which."""


def has_match(pattern: str, text: str, limit: float) -> bool:
    """Whether the pattern matches anywhere. Raises PatternTimeout, or ValueError for what is no pattern."""
    compiled = _compile_pattern(pattern)
    with _limit_time(pattern, limit):
        return compiled.search(text, timeout=limit) is not None


def find_matches(pattern: str, text: str, limit: float) -> Iterator[tuple[int, int]]:
    """Where each match that is not empty begins and ends, in characters. Raises as ``search`` does."""
    compiled = _compile_pattern(pattern)
    with _limit_time(pattern, limit):
        for match in compiled.finditer(text, timeout=limit):
            if match.end() > match.start():
                yield match.span()


def check_pattern(pattern: str) -> None:
    """Raises ValueError, in one line, for what is no pattern."""
    _compile_pattern(pattern)


def quote_pattern(pattern: str) -> str:
    """A pattern as messages have it."""
    return repr(pattern if len(pattern) <= _MAX_SHOWN_CHARS else pattern[: _MAX_SHOWN_CHARS - 1] + "…")


@contextmanager
def _limit_time(pattern: str, limit: float) -> Iterator[None]:
    """To the library, a limit of 0 or less is none."""
    over = f"the expression {quote_pattern(pattern)} takes longer than {limit:g} s on this text"
    if limit <= 0:
        raise PatternTimeout(over)
    try:
        yield
    except TimeoutError:
        raise PatternTimeout(over) from None
    except MemoryError:
        raise PatternTimeout(
            f"the expression {quote_pattern(pattern)} takes too much memory on this text"
        ) from None


@lru_cache(maxsize=256)
def _compile_pattern(pattern: str) -> Pattern[str]:
    import regex

    if _count_items(pattern) > MAX_PATTERN_ITEMS:
        reason = f"written out it has more than {MAX_PATTERN_ITEMS:,} items"
    else:
        try:
            return regex.compile(pattern)
        except RecursionError:
            reason = "it is nested too deeply"
        except (regex.error, ValueError, OverflowError) as error:
            reason = str(error)
    raise ValueError(f"{quote_pattern(pattern)} is not a regular expression: {reason}")


def _count_items(pattern: str) -> int:
    """How many items a pattern has when its counted repetitions are written out; roughly."""
    groups, last = [0], 0
    for found in _PATTERN_ITEM.finditer(pattern):
        item, times = found.group(), found[1]
        if item == "(":
            groups.append(0)
            continue
        if item == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif times:
            groups[-1] += last * (int(times[:9]) - 1)
        else:
            last = 1
            groups[-1] += 1
    return sum(groups)
