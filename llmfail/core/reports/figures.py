"""Figures as people read them, on a terminal and on a page: waits, latencies, shares, money, sizes. Figures
to compute with are in the JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import ceil

from llmfail.core.receipt import PICO_PER_DOLLAR


def duration(seconds: float) -> str:
    """A wait as ``58s``, ``1m58s``, ``2h05m`` or ``3d04h``; rounded up, so that it is never too early."""
    whole = max(ceil(seconds), 0)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{smaller}"
    return f"{whole}s"


def milliseconds(latency_ms: float | None) -> str:
    """A latency as ``40ms``, ``1.2s`` or ``118s``."""
    if latency_ms is None:
        return "-"
    if latency_ms < 1000:
        return f"{latency_ms:.0f}ms"
    return f"{latency_ms / 1000:.1f}s" if latency_ms < 100_000 else f"{latency_ms / 1000:.0f}s"


def percent(share: float | None) -> str:
    """A share as ``58.3%``; ``0%`` and ``100%`` only when it is so."""
    if share is None:
        return "-"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 < share < 1:
        return ">99.9%"
    # Adding zero makes nothing of a negative one.
    return f"{round(share * 100, 1) + 0.0:.1f}".removesuffix(".0") + "%"


def exact_usd(pico: int | None) -> str:
    """Every digit down to a nano-dollar, and cents at least: ``$0.00175``, ``$21.00``."""
    if pico is None:
        return "unknown"
    digits = f"{Decimal(pico) / PICO_PER_DOLLAR:,.9f}"
    cents, rest = digits[:-7], digits[-7:].rstrip("0")
    return f"${cents}{rest}"


def exact_usd_column(amounts: Sequence[int | None]) -> list[str]:
    """As ``exact_usd``, all with as many decimals as the one that needs most."""
    return align_decimals([exact_usd(amount) for amount in amounts])


def rough_usd(pico: int | None) -> str:
    """To the cent, below a dollar to a hundredth of a cent: ``$3.25``, ``$0.0042``, ``<$0.0001``."""
    if pico is None:
        return "unknown"
    amount = Decimal(pico) / PICO_PER_DOLLAR
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= Decimal("0.0001") else "<$0.0001"


def rough_usd_column(amounts: Sequence[int | None]) -> list[str]:
    """As ``rough_usd``, all with as many decimals as the one that needs most."""
    return align_decimals([rough_usd(amount) for amount in amounts])


def align_decimals(shown: Sequence[str]) -> list[str]:
    """Zeros behind the decimals of amounts, so that their points stand below each other."""
    decimals = max((len(text.rpartition(".")[2]) for text in shown if text[:1] in "$<"), default=0)
    return [
        f"{text}{'0' * (decimals - len(text.rpartition('.')[2]))}" if text.startswith("$") else text
        for text in shown
    ]


def format_bytes(count: int) -> str:
    """A size as ``712 B``, ``4.1 KB`` or ``12.0 MB``."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} KB" if count < 1_000_000 else f"{count / 1_000_000:,.1f} MB"


def count_of(number: int, noun: str) -> str:
    """``1 answer``, ``2 answers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
