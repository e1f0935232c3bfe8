"""The degrade step ``rules``: what regular expressions find in a prompt, as the answer to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from llmfail.core.request.regex_limit import PatternTimeout, find_matches

QUICK_SHARE = 0.25
"""The share of the limit in which every pattern is tried first; the slow ones share the rest. So one slow
pattern gets most of the time, the limit applies to all together, and no clock is needed.
"""


class Match(Struct, frozen=True, omit_defaults=True):
    """What a pattern found, and where: ``start`` and ``end`` count characters of the prompt, or of the named
    attachment.
    """

    kind: str
    text: str
    start: int
    end: int
    attachment: str | None = None


class MatchTexts(Protocol):
    """Texts that a step answers with instead of the matches; None: the matches."""

    @property
    def on_match(self) -> str | None: ...

    @property
    def on_none(self) -> str | None: ...


class _Search(NamedTuple):
    """One pattern on the text with this index."""

    text_index: int
    attachment: str | None
    text: str
    kind: str
    pattern: str


def apply_rules(
    patterns: Mapping[str, str], texts: Sequence[tuple[str | None, str]], limit: float
) -> list[Match]:
    """All that the patterns (kind -> regular expression) find in the texts (name of the attachment, or None
    for the prompt), in the order of the texts and their characters. ``limit`` is in seconds, for all
    together. Raises PatternTimeout, or ValueError for an invalid pattern; both name the kind.
    """
    searches = [
        _Search(index, name, text, kind, pattern)
        for index, (name, text) in enumerate(texts)
        for kind, pattern in patterns.items()
    ]
    found: list[tuple[int, Match]] = []
    slow: list[_Search] = []
    for search in searches:
        try:
            found += _run_search(search, limit * QUICK_SHARE / len(searches))
        except PatternTimeout:
            slow.append(search)
    for search in slow:
        try:
            found += _run_search(search, limit * (1 - QUICK_SHARE) / len(slow))
        except PatternTimeout:
            raise PatternTimeout(f"{search.kind} takes too long on this text (limit: {limit:g} s)") from None
    found.sort(key=_sort_key)
    return [match for _, match in found]


def render_answer(step: MatchTexts, found: Sequence[Match]) -> str:
    """The matches as a JSON array, or the text that the step gives instead."""
    instead = step.on_match if found else step.on_none
    return msgspec.json.encode(found).decode() if instead is None else instead


def _run_search(search: _Search, limit: float) -> list[tuple[int, Match]]:
    try:
        spans = list(find_matches(search.pattern, search.text, limit))
    except ValueError as error:
        raise ValueError(f"{search.kind}: {error}") from None
    return [(search.text_index, match) for match in _build_matches(search, spans)]


def _build_matches(search: _Search, spans: Sequence[tuple[int, int]]) -> Iterator[Match]:
    for start, end in spans:
        # Half a surrogate pair cannot be encoded.
        text = search.text[start:end].encode("utf-8", "replace").decode()
        yield Match(search.kind, text, start, end, search.attachment)


def _sort_key(found: tuple[int, Match]) -> tuple[int, int, int]:
    index, match = found
    return index, match.start, match.end
