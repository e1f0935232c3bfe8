"""What each target costs and can take: the configuration over the catalogue, key by key."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from llmfail.core.model import Target
from llmfail.core.pricing.catalogue import ModelFacts
from llmfail.core.pricing.price import (
    RATE_NAMES,
    Price,
    PricePeriod,
    Rate,
    RateName,
    raise_rates,
    to_pico,
)
from llmfail.core.vendors import vendor_of
from llmfail.prices import Catalogue, CatalogueMatch
from llmfail.settings.schema.provider_types import ConfiguredPrice as Configured
from llmfail.settings.schema.provider_types import CredentialSource, Provider
from llmfail.settings.schema.settings import Settings

INPUT_KEYS: tuple[RateName, ...] = ("cached_input", "cache_write", "cache_write_1h")
"""Whose price is that of input when nothing else is said."""


MAX_KNOWN = 1000
"""What is worked out for targets is forgotten beyond so many: programs may invent any number of them."""


class TargetPrices:
    """Of one configuration. A server that wants no key is nobody's whose prices are listed: what it costs is
    what the configuration says.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._known: dict[Target, Price | None] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def as_of(self) -> str:
        """The day of the catalogue."""
        return self._catalogue.as_of.isoformat()

    def find(self, target: Target) -> Price | None:
        """None when nobody knows both what input and what output costs."""
        try:
            return self._known[target]
        except KeyError:
            price = self._build_price(target, self._find_entry(target))
            forget_when_full(self._known)
            self._known[target] = price
            return price

    def is_embedding_model(self, target: Target) -> bool:
        """Whether it gives vectors and no text: its list has a price for input alone."""
        found = self._find_entry(target)
        listed = found.entry.periods[-1] if found is not None and found.entry.periods else None
        return listed is not None and listed.output == Rate(0) != listed.input

    def facts(self, target: Target) -> ModelFacts:
        """What the catalogue says of a target besides its price."""
        listed_by = self._price_list_of(target)
        return ModelFacts() if listed_by is None else self._catalogue.find_facts(listed_by, target.model)

    def find_billed(self, target: Target, model: str | None) -> Price | None:
        """The price of the model that answered, when that is another than the one asked for: a provider may
        send a request to a successor, and bills that.
        """
        if model is None or model == target.model:
            return self.find(target)
        other = Target(target.provider, model)
        if self._settings.price_of(other) is not None:
            return self.find(other)
        if self._settings.price_of(target) is not None and model.startswith(target.model):
            return self.find(target)
        found, asked = self._find_entry(other), self._find_entry(target)
        if found is None or (asked is None and self.find(target) is not None):
            return self.find(target)
        if asked is not None and (found.provider, found.entry.id) == (asked.provider, asked.entry.id):
            return self.find(target)
        return self._build_price(other, found)

    def _price_list_of(self, target: Target) -> str | None:
        """A name is enough for a provider that is not configured."""
        provider = self._settings.providers.get(target.provider)
        if provider is not None and provider.credential is CredentialSource.NONE:
            return None
        vendor = vendor_of(target.provider, "" if provider is None else provider.address[0])
        return None if vendor is None else vendor.price_list

    def _find_entry(self, target: Target) -> CatalogueMatch | None:
        listed_by = self._price_list_of(target)
        return None if listed_by is None else self._catalogue.find(listed_by, target.model)

    def _build_price(self, target: Target, found: CatalogueMatch | None) -> Price | None:
        provider = self._settings.providers.get(target.provider)
        return _overlay(
            self._settings.price_of(target), None if found is None else _listed_price(found, provider)
        )


def forget_when_full(known: dict[Any, Any]) -> None:
    """Before something is added to what is known."""
    if len(known) >= MAX_KNOWN:
        known.clear()


def _listed_price(found: CatalogueMatch, provider: Provider | None) -> Price | None:
    """Variants are its own provider's. On Vertex a Claude costs more outside the global endpoint."""
    entry = found.entry
    if not entry.periods:
        return None
    regional = provider is not None and provider.api == "vertex" and provider.location != "global"
    periods = raise_rates(entry.periods, entry.regional) if regional else entry.periods
    variants = entry.variants if found.provider == found.asked_provider else ()
    return Price(periods, variants, as_of=found.as_of.isoformat())


def _overlay(configured: Configured | None, listed: Price | None) -> Price | None:
    """A configured key counts in every period and variant. What cached and written input costs hangs on what
    input costs: who sets that sets them all. None without input or output.
    """
    written = {} if configured is None else {key: getattr(configured, key) for key in RATE_NAMES}
    own: dict[RateName, Rate | None] = {
        key: Rate(to_pico(usd)) for key, usd in written.items() if usd is not None
    }
    if "input" in own:
        own = {**dict.fromkeys(INPUT_KEYS), **own}
    base = listed or Price((PricePeriod(),))
    price = replace(
        base,
        periods=tuple(replace(one, **own) for one in base.periods),
        variants=tuple(replace(one, **own) for one in base.variants),
        source="config" if own.keys() & {"input", "output"} else base.source,
        as_of=None if own.keys() >= {"input", "output"} else base.as_of,
    )
    known = all(one.input is not None and one.output is not None for one in price.periods)
    return price if known else None
