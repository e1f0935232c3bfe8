"""What a provider lists, and which of its models a name means. Pure: the lists are read elsewhere.

A listing tries its models in their order, and a model's clauses say which names are its own, as in
genai-prices. Most clauses are plain names, so they are kept in one table; what is left is a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Literal

from msgspec import Raw, Struct

from llmfail.core.model import MAX_TARGET_NAME_CHARS
from llmfail.core.pricing.price import PricePeriod

LONG_AGO = date.min
_COMPACT_DATE_PATTERN = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

_FINE_TUNED_PREFIX = "ft:"
"""Names that go on with whose they are."""
_VERSION_SUFFIX = re.compile(r"(?:[-@:._](?:latest|preview|exp|experimental|beta|default|v?\d{1,8}))*")
_VERSION_BEGINNING = re.compile(r"[-@:._]0*$")
"""With which a condition may end in the middle of a version: ``gpt-5-nano-``, ``gemini-2.0-flash-0``."""


class CatalogueModel(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One model with its prices, none when it is not priced by tokens of text. ``regional`` is per cent on
    top outside Google's global endpoint, ``context`` in tokens.
    """

    id: str
    periods: tuple[PricePeriod, ...] = ()
    variants: tuple[PricePeriod, ...] = ()
    regional: int = 0
    context: int | None = None


class ModelFacts(Struct, frozen=True, array_like=True, omit_defaults=True):
    """What is known of a name besides prices: what it takes, in tokens; the day from which it is gone,
    ``LONG_AGO`` when that is all that is known; and what comes then.
    """

    context: int | None = None
    max_output: int | None = None
    retires: date | None = None
    then: str = ""


class NameCondition(Struct, frozen=True, array_like=True):
    """A condition on a name in lower case."""

    kind: Literal["equals", "starts_with", "ends_with", "contains", "regex"]
    text: str

    def is_met_by(self, name: str) -> bool:
        match self.kind:
            case "equals":
                return name == self.text
            case "starts_with":
                return name.startswith(self.text)
            case "ends_with":
                return name.endswith(self.text)
            case "contains":
                return self.text in name
            case "regex":
                return re.search(self.text, name) is not None

    @property
    def is_exclusion(self) -> bool:
        """It says what a name must not have."""
        return self.kind == "regex" and self.text.startswith("^(?!")

    def text_after(self, name: str) -> str:
        """What a name has behind the part that the clause is about, from the beginning of a version on that
        the part itself ends with.
        """
        if self.kind not in {"starts_with", "contains"}:
            return ""
        beginning = _VERSION_BEGINNING.search(self.text)
        rest = name.partition(self.text)[2]
        return f"{beginning[0]}{rest}" if beginning and rest else rest


class MatchRule(Struct, frozen=True, array_like=True):
    """The model at ``place`` is meant when every clause holds."""

    place: int
    clauses: tuple[NameCondition, ...]

    def is_meant_by(self, name: str) -> bool:
        """Whether what a name says behind a part of it is no more than a version: ``-lite`` is another model,
        which nobody has listed.
        """
        parts = [clause for clause in self.clauses if not clause.is_exclusion]
        if len(parts) > 1 or name.startswith(_FINE_TUNED_PREFIX):
            return True
        return _VERSION_SUFFIX.fullmatch(parts[0].text_after(name)) is not None


class PriceList(Struct, frozen=True):
    """The models of one provider, each still undecoded, the places of their names, and the facts of some
    names. ``also`` are providers whose models it serves too.
    """

    provider: str
    as_of: date
    also: tuple[str, ...]
    names: Mapping[str, int]
    rules: tuple[MatchRule, ...]
    models: tuple[Raw, ...]
    facts: Mapping[str, ModelFacts]

    def find_index(self, name: str) -> int | None:
        """That of the first model that a name in lower case means."""
        exact = self.names.get(name)
        for rule in self.rules:
            if exact is not None and rule.place >= exact:
                break
            if all(clause.is_met_by(name) for clause in rule.clauses):
                return rule.place if exact == rule.place or rule.is_meant_by(name) else None
        return exact


def candidate_names(model: str, provider: str) -> Iterator[str]:
    """The names under which a model may be listed: its own, with the date as in 2026-10-01, and both without
    the provider's own prefix.
    """
    if len(model) > MAX_TARGET_NAME_CHARS:
        return
    name = model.lower()
    prefix, _, rest = name.partition("/")
    for one in (name, rest) if rest and prefix in {provider, "models"} else (name,):
        yield one
        dated = _COMPACT_DATE_PATTERN.sub(_insert_dashes, one)
        if dated != one:
            yield dated


def _insert_dashes(found: re.Match[str]) -> str:
    """``-20261001`` -> ``-2026-10-01``, when there is such a day."""
    try:
        return f"-{date(*map(int, found.groups())).isoformat()}"
    except ValueError:
        return found[0]
