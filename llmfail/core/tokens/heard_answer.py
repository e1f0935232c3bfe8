"""What an answer has used that was left before its end, by what was heard of it."""

from __future__ import annotations

from math import ceil

from msgspec.structs import replace

from llmfail.core.model import Usage

OUTPUT_MARGIN = 1.25
OUTPUT_MARGIN_TOKENS = 64
"""What the provider writes until it learns that nobody listens."""
SILENT_TOKENS_PER_SECOND = 50
"""A model that said nothing at first may have thought for so long, which is billed as output."""


def estimate_left_usage(heard: Usage, silent_seconds: float, max_output: int) -> Usage:
    """``heard`` is what was heard of; ``silent_seconds`` passed before its first token."""
    silent = max(silent_seconds, 0.0) * SILENT_TOKENS_PER_SECOND
    output = ceil(heard.output_tokens * OUTPUT_MARGIN + silent) + OUTPUT_MARGIN_TOKENS
    return replace(heard, output_tokens=max(heard.output_tokens, min(output, max_output)), estimated=True)
