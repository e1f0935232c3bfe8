"""What in a text says nothing about the answer: named rules that take it away.

``expect: {json: true}`` takes away thoughts and a fence, ``--extract`` reads fenced blocks, and an evaluation
compares normalized texts and names the rules that changed them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from llmfail.core.request.thoughts import split_thoughts

_FENCE = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,})[ \t]*(?P<language>[^\s`]*)[^\n`]*$")
"""An opening code fence (CommonMark 0.31, section 4.5)."""


class FencedBlock(NamedTuple):
    """``language`` is the first word behind the fence, in lower case; "" when there is none."""

    language: str
    content: str


class Normalized(NamedTuple):
    """A text, and the names of the rules that changed it."""

    text: str
    rules: tuple[str, ...]


def iter_fenced_blocks(text: str) -> Iterator[FencedBlock]:
    """The fenced blocks, in order. One that is not closed ends with the text."""
    lines = iter(text.splitlines())
    for line in lines:
        opened = _FENCE.match(line)
        if opened is not None:
            content = "\n".join(_read_block(lines, opened["marks"]))
            yield FencedBlock(opened["language"].lower(), content)


def find_fenced_block(text: str, language: str = "") -> str | None:
    """The content of the first block, or of the first in that language."""
    wanted = language.lower()
    blocks = iter_fenced_blocks(text)
    return next((one.content for one in blocks if not wanted or one.language == wanted), None)


def strip_thoughts(text: str) -> str:
    """The text behind a leading block of thoughts."""
    return split_thoughts(text)[1]


def strip_fence(text: str) -> str:
    """The content of a text's only fenced block when nothing but white space stands around it."""
    if not text.lstrip().startswith(("```", "~~~")):
        return text
    blocks = list(iter_fenced_blocks(text))
    is_alone = len(blocks) == 1 and text.rstrip().endswith(("```", "~~~"))
    return blocks[0].content if is_alone else text


def unify_characters(text: str) -> str:
    """Characters that look or mean the same are one (Unicode NFKC); typographic quotation marks and dashes
    are those of ASCII.
    """
    import unicodedata

    return unicodedata.normalize("NFKC", text).translate(_PLAIN_MARKS)


def collapse_white_space(text: str) -> str:
    """One blank for each run of white space, and none at the ends."""
    return " ".join(text.split())


def sort_json_keys(text: str) -> str:
    """JSON with the keys of its objects in order and without white space; any other text as it is."""
    try:
        value = msgspec.json.decode(text.strip())
    except (ValueError, RecursionError):
        return text
    return msgspec.json.encode(value, order="deterministic").decode()


_PLAIN_MARKS: Final = str.maketrans("‘’‚‛“”„‟‐‑‒–—―", "''''\"\"\"\"------")  # noqa: RUF001 - the point of it
RULES: Final[Mapping[str, Callable[[str], str]]] = {
    "thoughts": strip_thoughts,
    "fence": strip_fence,
    "json_keys": sort_json_keys,
    "characters": unify_characters,
    "white_space": collapse_white_space,
    "case": str.casefold,
}
"""Each rule by its name, in the order in which they are applied."""
ANSWER_RULES = ("thoughts", "fence")
"""What surrounds an answer."""
COMPARISON_RULES = ("thoughts", "fence", "json_keys", "characters", "white_space")
"""What may differ between two answers that say the same."""


def normalize_text(text: str, names: tuple[str, ...] = COMPARISON_RULES) -> Normalized:
    """The text after the rules of these names."""
    changed = []
    for name, rule in RULES.items():
        if name in names and (after := rule(text)) != text:
            text = after
            changed.append(name)
    return Normalized(text, tuple(changed))


def _read_block(lines: Iterator[str], marks: str) -> Iterator[str]:
    """The lines up to a fence of the same mark that is at least as long."""
    for line in lines:
        closing = line.strip()
        if len(closing) >= len(marks) and not closing.strip(marks[0]):
            return
        yield line
