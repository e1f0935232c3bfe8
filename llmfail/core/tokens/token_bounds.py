"""How many tokens a request is: expected and at most, on a target whose tokenizer nobody publishes.

A request is weighed once (``size_of``), without any target. What a target makes of such a size is learnt from
what it reports: a ratio to the expectation, kept per target. Until it has reported a few times, only bytes
bound its tokens; from then on the bound of ``core.pieces`` does, stretched by the highest ratio seen.

Not covered: the bound is proven for text and the tokenizers named there; for others it is what they showed so
far, and a margin. Images are bounded by what today's vendors document, except for gpt-4o-mini, which bills up
to 48,000 tokens for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from llmfail.core.model import Attachment, Request, Target, Usage
from llmfail.core.records.record import Record
from llmfail.core.request.message_text import render_file_element
from llmfail.core.tokens.claude_version import version_of
from llmfail.core.tokens.text_weight import measure

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
MIN_SAMPLES = 3
"""So many reports until a target's ratio is believed for a bound."""
BOUND_MARGIN = 1.1
"""What the bound is stretched by beyond the highest ratio, for text of another kind than was seen."""
MIN_SAMPLE_TOKENS = 200
"""Expected tokens below which a template outweighs the text, so that nothing can be learnt."""
LOWEST_RATIO, HIGHEST_RATIO = 0.3, 4.0
"""A report beyond these is no count of what was sent: a server that cuts the context, or a fault."""
HIGHEST_RATIO_DECAY = 0.02
"""By how much the highest ratio comes down to the usual one with each report."""
MAX_BYTES_PER_TOKEN = 8
"""No tokenizer that was measured packs ordinary text tighter than this."""

_Ratio = Annotated[float, Meta(ge=LOWEST_RATIO, le=HIGHEST_RATIO)]
_LLAMA_LIKE = re.compile(r"llama|mi[sx]tral|qwen|deepseek")


class PromptSize(Struct, frozen=True):
    """What a request weighs on no target in particular: the text, and what is wrapped around it. All in
    tokens, ``most`` as a tokenizer like o200k counts at most, ``bytes`` as any byte-level tokenizer does.
    """

    expected: int
    upper_bound: int
    bytes: int
    images: int = 0


EMPTY_PROMPT = PromptSize(0, 0, 0)
"""Of a request that was not weighed."""


class Calibration(Record, frozen=True):
    """What a target makes of an expected token: usually, and at most of late; ``start`` is what is believed
    of its family, below which the bound never falls.
    """

    ratio: _Ratio = 1.0
    highest: _Ratio = 1.0
    samples: int = 0
    start: _Ratio = 1.0


def estimate(text: str) -> int:
    """About how many tokens: within a tenth for English, code, JSON and CJK, as o200k counts them."""
    return ceil(measure(text).expected)


def size_of(request: Request) -> PromptSize:
    """System, messages, text files and schema; images are counted, not weighed."""
    weights = [measure(text) for text in _texts(request)]
    messages = len(request.messages) + bool(request.system)
    around = MAX_PER_REQUEST + MAX_PER_MESSAGE * messages + MAX_PER_SCHEMA * (request.schema is not None)
    return PromptSize(
        expected=ceil(sum(weight.expected for weight in weights))
        + EXPECTED_PER_MESSAGE * messages
        + EXPECTED_PER_REPLY,
        upper_bound=sum(weight.upper_bound for weight in weights) + around,
        bytes=sum(weight.bytes for weight in weights) + around,
        images=sum(file.is_image for file in _files(request)),
    )


def estimate_input(size: PromptSize, calibration: Calibration) -> int:
    """The input tokens that this target will probably report."""
    return ceil(size.expected * calibration.ratio) + EXPECTED_PER_IMAGE * size.images


def upper_bound(size: PromptSize, calibration: Calibration) -> int:
    """More input tokens this target will not report."""
    text = size.bytes
    if calibration.samples >= MIN_SAMPLES:
        text = min(text, ceil(size.upper_bound * max(1.0, BOUND_MARGIN * calibration.highest)))
    return text + MAX_PER_IMAGE * size.images


def estimate_usage(request: Request, model: str, text: str, reported: Usage | None) -> Usage:
    """What an answer of that text has used when its own count never came, or came before the end."""
    found = reported or Usage()
    start = _default_ratio_of(model.lower())
    output = max(found.output_tokens, ceil(estimate(text) * start))
    known = found.input_tokens or estimate_input(size_of(request), Calibration(start, start))
    return replace(found, input_tokens=known, output_tokens=output, estimated=True)


def learn(calibration: Calibration, size: PromptSize, input_tokens: int) -> Calibration:
    """After an answer. What tells nothing about text changes nothing: images, tiny prompts, absurd counts."""
    if size.images or size.expected < MIN_SAMPLE_TOKENS:
        return calibration
    seen = input_tokens / size.expected
    if not LOWEST_RATIO <= seen <= HIGHEST_RATIO:
        return calibration
    weight = max(0.1, 1 / (calibration.samples + 2))
    ratio = calibration.ratio + weight * (seen - calibration.ratio)
    lowered = calibration.highest - HIGHEST_RATIO_DECAY * (calibration.highest - ratio)
    highest = max(seen, ratio, lowered, calibration.start)
    return replace(calibration, ratio=ratio, highest=highest, samples=calibration.samples + 1)


def default_calibration(target: Target) -> Calibration:
    """What is believed before anything was reported, by the family of the model."""
    ratio = _default_ratio_of(target.model.lower())
    return Calibration(ratio, ratio, start=ratio)


def is_tiny(request: Request) -> bool:
    """Whether it is surely below what ``learn`` learns from."""
    return sum(map(len, _texts(request))) < MIN_SAMPLE_TOKENS // 2


def lower_bound(request: Request) -> int:
    """A number of tokens that the text of this request hardly stays under."""
    return sum(len(text.encode("utf-8", "replace")) for text in _texts(request)) // MAX_BYTES_PER_TOKEN


def _texts(request: Request) -> Iterator[str]:
    if request.system:
        yield request.system
    for message in request.messages:
        yield message.text
    for file in _files(request):
        if not file.is_image:
            yield render_file_element(file.name, file.data.decode("utf-8", "replace")) + "\n\n"
    if request.schema is not None:
        import json

        yield json.dumps(request.schema, ensure_ascii=False)


def _default_ratio_of(model: str) -> float:
    """Claude makes a third more tokens of a text since 4.7."""
    version = version_of(model)
    if version is not None:
        return 1.35 if version >= (4, 7) else 1.05
    return 1.1 if _LLAMA_LIKE.search(model) else 1.0


def _files(request: Request) -> Iterator[Attachment]:
    return (file for message in request.messages for file in message.attachments)
