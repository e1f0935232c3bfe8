"""Usage x price -> cost. Integers of pico-dollars throughout; Decimal only where a price comes in."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from llmfail.core.model import Completion, Embedding, Usage

PICO_PER_TOKEN = 1_000_000
"""Pico-dollars per token for one dollar per million tokens."""


class Price(Struct, frozen=True):
    """Pico-dollars per token."""

    input: int
    output: int
    cached_input: int
    cache_write: int

    @classmethod
    def per_million(
        cls,
        input_usd: Decimal,
        output_usd: Decimal,
        cached_input_usd: Decimal | None = None,
        cache_write_usd: Decimal | None = None,
    ) -> Price:
        """From USD per million tokens; cached reads and cache writes without a price cost as input."""
        return cls(
            _pico(input_usd),
            _pico(output_usd),
            _pico(input_usd if cached_input_usd is None else cached_input_usd),
            _pico(input_usd if cache_write_usd is None else cache_write_usd),
        )


def cost(usage: Usage, price: Price) -> int:
    """What these tokens cost, in pico-dollars."""
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return (
        max(plain, 0) * price.input
        + usage.cached_input_tokens * price.cached_input
        + usage.cache_write_tokens * price.cache_write
        + usage.output_tokens * price.output
    )


def charge(answer: Completion | Embedding, price: Price | None) -> int | None:
    """What an answer cost: the provider's own figure first, None when nothing tells."""
    if isinstance(answer, Completion) and not answer.billed:
        return 0
    if answer.usage is None:
        return None
    if answer.usage.reported_cost is not None:
        return answer.usage.reported_cost
    return None if price is None else cost(answer.usage, price)


def _pico(usd_per_million: Decimal) -> int:
    return int((usd_per_million * PICO_PER_TOKEN).to_integral_value())
