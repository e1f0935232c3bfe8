"""What a text weighs: about how many tokens, and how many at most.

A text is cut where tokenizers cut it: words with the blank before them, numbers, signs, white space. Each
piece is weighed once, however often it comes. What is expected was fitted to o200k. What is possible rests on
two facts about o200k and cl100k, which the tests check in full: the WORDS are one token each, and so is every
pair of letters of EASY. A tokenizer leaves no two tokens side by side that make one, so of two neighbours in
a run of such letters at least one has two letters. Everything else counts as its bytes: no byte-level
tokenizer makes more tokens of it.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from functools import cache
from itertools import groupby

from msgspec import Struct

from llmfail.core.tokens.common_tokens import COMMON_TOKENS

PAIRABLE = ("abcdeghilmnoprstuwy", "ABCDEFGHIMNOPRSTW")
"""Every two letters of one of these are a token, and so is a blank with one of them."""
_TOKENS_PER_CHARACTER = (
    (0x80, 0.6),  # Latin with accents
    (0x250, 1.2),
    (0x370, 0.46),  # Greek
    (0x400, 0.31),  # Cyrillic
    (0x530, 0.6),  # Hebrew and its neighbours
    (0x600, 0.4),  # Arabic
    (0x700, 0.8),
    (0x900, 0.39),  # the scripts of India
    (0xE00, 0.42),  # Thai
    (0xE80, 1.0),
    (0x1E00, 0.7),  # Vietnamese
    (0x1F00, 1.2),
    (0x2000, 1.0),  # signs
    (0x3040, 0.68),  # kana
    (0x3100, 1.0),
    (0x3400, 1.6),
    (0x4E00, 0.75),  # Han
    (0xA000, 1.2),
    (0xAC00, 0.72),  # Hangul
    (0xD7B0, 1.5),
    (0xFE00, 0.9),
    (0x1F000, 1.6),  # pictures
    (0x1FB00, 2.5),
)
"""From which character on, how many tokens a character is in o200k."""
_JOINED_SIGNS = frozenset("(._-/=[%&\\\t")
"""Signs that are mostly one token with the word behind them."""
_RANGE_STARTS = [first for first, _ in _TOKENS_PER_CHARACTER]


class TokenWeight(Struct, frozen=True):
    """Tokens that are expected of a text, tokens that it is at most, and its bytes."""

    expected: float
    upper_bound: int
    bytes: int


def measure(text: str) -> TokenWeight:
    """About 15 ms for 100 kB of prose."""
    expected, most = 0.0, 0
    for piece, times in Counter(_piece_pattern().findall(text)).items():
        a_piece, at_most = _measure_piece(piece)
        expected += a_piece * times
        most += at_most * times
    return TokenWeight(expected, most, _count_bytes(text))


def _count_bytes(text: str) -> int:
    """As UTF-8, and as what some tokenizers make of a text before they count: a ligature may become a
    sentence.
    """
    size = len(text.encode("utf-8", "replace"))
    if text.isascii():
        return size
    from unicodedata import normalize

    return max(size, len(normalize("NFKC", text).encode("utf-8", "replace")))


@cache
def _piece_pattern() -> re.Pattern[str]:
    """Words; then what touches letters beyond ASCII, for a word ends where no tokenizer would see its end."""
    return re.compile(
        r"""[\x00-\t\v\f\x0e-/:-@\[-`{-\x7f]?[A-Za-z]++(?![^\x00-\x7f])(?:'(?:[sdmt]|ll|re|ve)(?![A-Za-z]))?
        |[ ]?[A-Za-z]*+(?:[^\x00-\x7f]++[A-Za-z]*+)++
        |[0-9]++
        |[ \t-\r]*[\r\n]++
        |[ \t-\r]+(?![^ \t-\r])
        |[ ]?[!-/:-@\[-`{-~]++[\r\n]*+
        |[\x00-\x7f]""",
        re.VERBOSE,
    )


def _measure_piece(piece: str) -> tuple[float, int]:
    """Tokens expected of a piece, and at most."""
    if not piece.isascii():
        return _estimate_non_ascii(piece), len(piece.encode("utf-8", "replace"))
    if piece[-1].isalpha():
        return _measure_word(piece)
    if piece.isspace():
        return 1 + len(piece) // 80, _bound_white_space(piece)
    if piece.isdigit():
        return -(-len(piece) // 3), len(piece)
    return _estimate_signs(piece.strip()), len(piece)


def _measure_word(piece: str) -> tuple[float, int]:
    """ASCII letters, perhaps with one character before them, or with the ending of ``don't``."""
    before = "" if piece[0].isalpha() else piece[0]
    word, apostrophe, ending = piece[len(before) :].partition("'")
    expected, most = (0.7, 1 + len(ending)) if apostrophe else (0.0, 0)
    if before not in {"", " "}:
        expected += 0.1 if before in _JOINED_SIGNS else 0.8
        most += 1
    plain = word.islower()
    if (plain or word.istitle()) and word.lower() in COMMON_TOKENS:
        return expected + 1, most + (1 if plain and before == " " else 2)
    growth = 0.05 if before == " " else 0.09
    return expected + _estimate_camel_parts(word, growth), most + _bound_by_pairs(
        " " + word if before == " " else word
    )


def _estimate_camel_parts(word: str, growth: float) -> float:
    """A word that is not among the commonest, or several in one: camelCase."""
    humps = _camel_part_pattern().findall(word)
    if len(humps) > 1:
        return sum(_estimate_camel_parts(hump, 0.05) for hump in humps)
    if word.isupper():
        return 1 + 0.27 * max(0, len(word) - 2)
    return 1 + growth * max(0, len(word) - 3) + 0.3 * max(0, len(word) - 13)


def _bound_by_pairs(letters: str) -> int:
    """Two tokens for three EASY letters of one case in a row, a blank before them included; one for any other
    letter.
    """
    runs = [-(-2 * len(run) // 3) - len(run) for run in _pairable_pattern().findall(letters)]
    return len(letters) + sum(runs)


def _bound_white_space(piece: str) -> int:
    """White space: a token each, but for blanks in a row."""
    rows = [len(list(row)) for sign, row in groupby(piece) if sign == " "]
    return len(piece) - sum(row - min(row, 2 + row // 16) for row in rows)


def _estimate_signs(piece: str) -> float:
    """Signs in a row; the same sign over and over is one token."""
    if len(set(piece)) == 1:
        return 1 + len(piece) // 32
    return 1 + 0.4 * max(0, len(piece) - 3)


def _estimate_non_ascii(piece: str) -> float:
    """Characters beyond ASCII; ASCII letters may stand among them."""
    expected = sum(map(_estimate_character, filter(lambda character: character > "\x7f", piece)))
    accented = any("\xc0" <= character < "\u0250" or "\u1e00" <= character < "\u1f00" for character in piece)
    letters = re.findall("[A-Za-z]+", piece)
    if accented:
        return expected + sum(0.33 * len(run) for run in letters)
    return expected + sum(_estimate_camel_parts(run, 0.06) for run in letters)


@cache
def _estimate_character(character: str) -> float:
    return _TOKENS_PER_CHARACTER[bisect(_RANGE_STARTS, ord(character)) - 1][1]


@cache
def _camel_part_pattern() -> re.Pattern[str]:
    return re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@cache
def _pairable_pattern() -> re.Pattern[str]:
    """Runs of letters of which every pair is a token."""
    return re.compile(f"(?:^ )?[{PAIRABLE[0]}]+|(?:^ )?[{PAIRABLE[1]}]+")
