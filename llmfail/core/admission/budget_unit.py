"""What a budget counts: US dollars, requests or tokens. Each is an integer: pico-dollars, calls, tokens of
input and output together.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmfail.core.model import Usage
from llmfail.core.receipt import format_usd

BudgetUnit = Literal["usd", "requests", "tokens"]


class ActualUse(Struct, frozen=True):
    """What a call used and cost; None where it was not reported or is not known."""

    usage: Usage | None
    cost: int | None
    is_answered: bool = False

    @property
    def is_nothing(self) -> bool:
        """It has cost nothing, because there was no answer: ``usage`` does not count it either."""
        return self.cost == 0 and not self.is_answered


def measure_use(unit: BudgetUnit, actual: ActualUse, held: int) -> int:
    """What a call counts for in the end. What is unknown counts as what was held for it."""
    match unit:
        case "usd":
            return held if actual.cost is None else actual.cost
        case "requests":
            return 0 if actual.is_nothing else 1
        case "tokens" if actual.is_nothing:
            return 0
        case "tokens":
            usage = actual.usage
            return held if usage is None else usage.input_tokens + usage.output_tokens


def format_amount(unit: BudgetUnit, amount: int) -> str:
    """For messages."""
    return f"${format_usd(amount)}" if unit == "usd" else f"{amount:,} {unit}"
