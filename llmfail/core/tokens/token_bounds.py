"""How many tokens a request is: expected and at most, on a target whose tokenizer nobody publishes.

A request is measured once (``size_of``), without any target. What is expected is fitted to o200k, and adapted
to a target by a ratio that is learnt from what the target reports. What is possible rests on bytes alone: no
byte-level tokenizer makes more tokens of a text than it has bytes, whatever the text. A ratio that was learnt
from prose says nothing about hexadecimal digits or emoji, so none is used for the bound.

What it takes does not grow with the text: of a long one samples are weighed, and what was weighed is
remembered for the next turn of a conversation.

Not covered: images are bounded by what today's vendors document, except for gpt-4o-mini, which bills up to
48,000 tokens for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from math import ceil
from string import ascii_letters, ascii_uppercase, digits, punctuation
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace

from llmfail.core.claude_version import version_of
from llmfail.core.model import Request, Usage
from llmfail.core.records.record import Record
from llmfail.core.tokens.request_texts import count_images, iter_texts

EXPECTED_PER_MESSAGE = 4
EXPECTED_PER_REPLY = 3
MAX_PER_MESSAGE = 10
MAX_PER_REQUEST = 128
"""What a chat template adds: gpt-oss counts about 70 tokens around a single word."""
MAX_PER_SCHEMA = 512
"""What a vendor may say to its model about a schema, besides the schema."""
EXPECTED_PER_IMAGE = 1200
MAX_PER_IMAGE = 5000
"""Anthropic at most 1,600, since Claude 4.7 4,784; OpenAI tiles up to 1,445, patches up to 3,779; Gemini 258
a tile, from Gemini 3 on 1,120 and at the highest resolution 2,240.
"""
MIN_SAMPLE_TOKENS = 200
"""Expected tokens below which a template outweighs the text, so that nothing can be learnt."""
LOWEST_RATIO, HIGHEST_RATIO = 0.3, 4.0
"""A report beyond these is no count of what was sent: a server that cuts the context, or a fault."""
MAX_BYTES_PER_TOKEN = 8
"""No tokenizer that was measured packs ordinary text tighter than this."""

IMPOSSIBLE_TIMES = 20
"""How many times its upper bound a reported count must be before it is not believed: a server may add to a
request what it searched for, and think beyond the limit that it was given.
"""
MIN_IMPOSSIBLE_TOKENS = 200_000
MAX_WEIGHED_CHARS = 200_000
"""Characters of the longest text that is weighed whole: two to four milliseconds."""
SAMPLES, SAMPLE_CHARS = 64, 1_500
"""Of a longer one so many pieces of so many characters, at equal distances."""
MIN_REMEMBERED_CHARS = 16
"""A shorter text is weighed again, in some microseconds."""
MAX_REMEMBERED_TEXTS = 16_384

_Ratio = Annotated[float, Meta(ge=LOWEST_RATIO, le=HIGHEST_RATIO)]
_LLAMA_LIKE = re.compile(r"llama|mi[sx]tral|qwen|deepseek")


class PromptSize(Struct, frozen=True):
    """How long a request is on no target in particular, with what a chat template wraps around it: the tokens
    that are expected, and the bytes, which no number of tokens exceeds. ``least_bytes`` are those of its text
    as it is written, of a long one its characters.
    """

    expected: int
    bytes: int
    images: int = 0
    least_bytes: int = 0


EMPTY_PROMPT = PromptSize(0, 0)
"""The size of a request that was not measured."""


class Calibration(Record, frozen=True):
    """How many tokens a target usually reports for one that is expected."""

    ratio: _Ratio = 1.0
    samples: int = 0


class TextWeight(NamedTuple):
    """What ``PromptSize`` says, of a text alone."""

    expected: float
    bytes: int
    least_bytes: int


class _ByteKind(NamedTuple):
    """Bytes of UTF-8 text, with the tokens that a run of them adds and those that each of them adds."""

    values: bytes
    per_run: float
    per_byte: float


_BYTE_KINDS = (
    _ByteKind(f"{ascii_letters}'".encode(), 0.42, 0.13),
    _ByteKind(ascii_uppercase.encode(), 0.15, 0),
    _ByteKind(digits.encode(), 1.0, 0.3),
    _ByteKind(punctuation.encode(), 0.73, 0.07),
    _ByteKind(b"\r\n", 1.3, 0),
)
"""The kinds of ASCII, fitted to o200k; blanks belong to the word behind them."""
_LEAD_BYTE_KINDS = (
    _ByteKind(bytes(range(0xC2, 0xCD)), 0, 1.1),  # Latin with accents
    _ByteKind(bytes(range(0xCD, 0xE0)), 0, 0.32),  # Greek, Cyrillic, Hebrew, Arabic
    _ByteKind(b"\xe0", 0, 0.39),  # the scripts of India, Thai
    _ByteKind(bytes(range(0xE3, 0xEE)), 0, 0.73),  # kana, Han, Hangul
    _ByteKind(b"\xe1\xe2\xee\xef", 0, 1.0),  # Vietnamese, signs
    _ByteKind(bytes(range(0xF0, 0xF5)), 0, 1.5),  # emoji
)
"""The scripts beyond ASCII: each of their characters has one such byte."""


def estimate(text: str) -> int:
    """About how many tokens: within a tenth for English, code, JSON and CJK, as o200k counts them."""
    return ceil(_weigh(text).expected)


def size_of(request: Request) -> PromptSize:
    """System, messages, tools, text files and schema; images are counted, not measured."""
    expected, size, least = 0.0, 0, 0
    for text in iter_texts(request):
        weight = _weigh(text)
        expected += weight.expected
        size += weight.bytes
        least += weight.least_bytes
    messages = len(request.messages) + bool(request.system)
    around = MAX_PER_REQUEST + MAX_PER_MESSAGE * messages + MAX_PER_SCHEMA * (request.schema is not None)
    return PromptSize(
        expected=ceil(expected) + EXPECTED_PER_MESSAGE * messages + EXPECTED_PER_REPLY,
        bytes=size + around,
        images=count_images(request),
        least_bytes=least,
    )


def estimate_input(size: PromptSize, calibration: Calibration) -> int:
    """The input tokens that this target will probably report."""
    return ceil(size.expected * calibration.ratio) + EXPECTED_PER_IMAGE * size.images


def upper_bound(size: PromptSize) -> int:
    """More input tokens no target reports."""
    return size.bytes + MAX_PER_IMAGE * size.images


def estimate_usage(request: Request, model: str, text: str, reported: Usage | None) -> Usage:
    """What an answer of that text has used when its own count never came, or came before the end."""
    found = reported or Usage()
    start = _default_ratio_of(model.lower())
    output = max(found.output_tokens, ceil(estimate(text) * start))
    known = found.input_tokens or estimate_input(size_of(request), Calibration(start))
    return replace(found, input_tokens=known, output_tokens=output, estimated=True)


def estimate_embedded_usage(texts: Sequence[str], model: str, reported: Usage | None) -> Usage:
    """What vectors of these texts have used when no count came."""
    tokens = ceil(estimate("\n".join(texts)) * _default_ratio_of(model.lower()))
    return replace(reported or Usage(), input_tokens=tokens, estimated=True)


def find_impossible_count(usage: Usage, input_bound: int, output_bound: int) -> str | None:
    """A reported count that is many times what was possible, such as ``1,000,000,000 input tokens where at
    most 212 are possible``.
    """
    counts = {"input": (usage.input_tokens, input_bound), "output": (usage.output_tokens, output_bound)}
    for name, (count, bound) in counts.items():
        if count > max(MIN_IMPOSSIBLE_TOKENS, IMPOSSIBLE_TIMES * bound):
            return f"{count:,} {name} tokens where at most {bound:,} are possible"
    return None


def learn(calibration: Calibration, size: PromptSize, input_tokens: int) -> Calibration:
    """After an answer. What tells nothing about text changes nothing: images, tiny prompts, absurd counts."""
    if size.images or size.expected < MIN_SAMPLE_TOKENS:
        return calibration
    seen = input_tokens / size.expected
    if not LOWEST_RATIO <= seen <= HIGHEST_RATIO:
        return calibration
    weight = max(0.1, 1 / (calibration.samples + 2))
    ratio = calibration.ratio + weight * (seen - calibration.ratio)
    return replace(calibration, ratio=ratio, samples=calibration.samples + 1)


def default_calibration(model: str) -> Calibration:
    """What is believed before anything was reported, by the family of the model."""
    return Calibration(_default_ratio_of(model.lower()))


def is_tiny(request: Request) -> bool:
    """Whether it is surely below what ``learn`` learns from."""
    left = MIN_SAMPLE_TOKENS // 2
    for text in iter_texts(request):
        left -= len(text)
        if left <= 0:
            return False
    return True


def lower_bound(size: PromptSize) -> int:
    """A number of tokens that the text of a request hardly stays under."""
    return size.least_bytes // MAX_BYTES_PER_TOKEN


def _weigh(text: str) -> TextWeight:
    if len(text) < MIN_REMEMBERED_CHARS:
        return TextWeight(_expect_tokens(text), _count_bytes(text), _count_least_bytes(text))
    name = len(text), hash(text)
    known = _remembered.get(name)
    if known is None:
        expected = _expect_tokens_of_long(text)
        known = TextWeight(expected, _count_bytes(text), _count_least_bytes(text))
        if len(_remembered) >= MAX_REMEMBERED_TEXTS:
            _remembered.clear()
        _remembered[name] = known
    return known


_remembered: dict[tuple[int, int], TextWeight] = {}
"""By length and hash, so that no text is kept for it."""


def _expect_tokens_of_long(text: str) -> float:
    if len(text) <= MAX_WEIGHED_CHARS:
        return _expect_tokens(text)
    starts = (index * (len(text) - SAMPLE_CHARS) // (SAMPLES - 1) for index in range(SAMPLES))
    sampled = sum(_expect_tokens(text[start : start + SAMPLE_CHARS]) for start in starts)
    return sampled * len(text) / (SAMPLES * SAMPLE_CHARS)


def _expect_tokens(text: str) -> float:
    data = text.encode("utf-8", "replace")
    kinds = _BYTE_KINDS if text.isascii() else _BYTE_KINDS + _LEAD_BYTE_KINDS
    return sum(_expect_of_kind(data, kind) for kind in kinds)


def _expect_of_kind(data: bytes, kind: _ByteKind) -> float:
    each = len(data) - len(data.translate(None, kind.values))
    runs = len(data.translate(_blanking_table(kind.values)).split()) if kind.per_run else 0
    return kind.per_byte * each + kind.per_run * runs


@cache
def _blanking_table(values: bytes) -> bytes:
    """A table that leaves these bytes visible and turns all others into blanks."""
    return bytes(ord("x") if byte in values else ord(" ") for byte in range(256))


def _count_bytes(text: str) -> int:
    """As UTF-8, and as what some tokenizers make of a text before they count: a ligature may become a
    sentence. A long text is normalized in pieces, which are never shorter than the whole.
    """
    if text.isascii():
        return len(text)
    pieces = range(0, len(text), MAX_WEIGHED_CHARS)
    return sum(_count_bytes_of_piece(text[start : start + MAX_WEIGHED_CHARS]) for start in pieces)


def _count_bytes_of_piece(text: str) -> int:
    from unicodedata import normalize

    size = len(text.encode("utf-8", "replace"))
    return max(size, len(normalize("NFKC", text).encode("utf-8", "replace")))


def _count_least_bytes(text: str) -> int:
    if text.isascii() or len(text) > MAX_WEIGHED_CHARS:
        return len(text)
    return len(text.encode("utf-8", "replace"))


@lru_cache(maxsize=1024)
def _default_ratio_of(model: str) -> float:
    """Claude makes a third more tokens of a text since 4.7."""
    version = version_of(model)
    if version is not None:
        return 1.35 if version >= (4, 7) else 1.05
    return 1.1 if _LLAMA_LIKE.search(model) else 1.0
