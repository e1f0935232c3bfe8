"""The request for an estimate, and its scenarios as text: ``fallback:50%``, ``outage:openai``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from llmfail.core.errors import UsageError

DEFAULT_SCENARIOS = ("all-primary", "fallback:50%", "aggressive", "budget")
"""The scenarios that are shown when none is named, together with an outage of each primary provider."""
SCENARIO_SYNTAX = "all-primary, fallback:50%, aggressive, budget, outage:PROVIDER or actual"

ScenarioKind = Literal["all-primary", "fallback", "aggressive", "budget", "outage", "actual"]


class EstimateRequest(Struct, frozen=True, kw_only=True):
    """``features`` are all when empty; ``requests`` are those of a month, over all features; a request has
    ``input_tokens``, or those of ``prompt``. ``exact``: the providers count the prompt.
    """

    features: Sequence[str] = ()
    prompt: str | None = None
    input_tokens: int | None = None
    output_tokens: int = 1000
    requests: int = 10_000
    scenarios: Sequence[str] = ()
    exact: bool = False


class Scenario(Struct, frozen=True):
    """Which targets serve. ``share`` is that of the first fallback, ``provider`` the one that is down."""

    name: str
    kind: ScenarioKind
    share: Fraction = Fraction(0)
    provider: str = ""


def parse_scenario(text: str, providers: Collection[str]) -> Scenario:
    """Raises UsageError for an invalid scenario, or an outage of a provider that is not configured."""
    kind, colon, rest = text.partition(":")
    match kind:
        case "all-primary" | "aggressive" | "budget" | "actual" if not colon:
            return Scenario(kind, kind)
        case "fallback" if colon:
            return Scenario(text, "fallback", share=_parse_share(rest))
        case "outage" if rest in providers:
            return Scenario(text, "outage", provider=rest)
        case "outage" if colon:
            raise UsageError(
                f"--scenario {text}: there is no provider {rest!r}; there are {_list_names(providers)}"
            )
        case _:
            raise UsageError(f"--scenario takes {SCENARIO_SYNTAX}, got {text!r}")


def _parse_share(text: str) -> Fraction:
    number = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text)
    if number and (share := Fraction(number[1]) / 100) <= 1:
        return share
    raise UsageError(f"--scenario fallback takes a share from 0% to 100%, such as fallback:50%, got {text!r}")


def _list_names(providers: Collection[str]) -> str:
    return ", ".join(providers) or "none"
