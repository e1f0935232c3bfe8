"""What each target costs and can take: the configuration over the catalogue, key by key."""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.model import Target
from llmfail.core.pricing.catalogue import Facts, listed_as
from llmfail.core.pricing.price import (
    KEYS,
    Key,
    Listed,
    Price,
    Rate,
    pico,
    raised,
)
from llmfail.prices import Catalogue, Found
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Credential, Provider
from llmfail.settings.schema.types import Price as Configured

INPUTS: tuple[Key, ...] = ("cached_input", "cache_write", "cache_write_1h")
"""Whose price is that of input when nothing else is said."""


class Prices:
    """Of one configuration. A server that wants no key is nobody's whose prices are listed: what it costs is
    what the configuration says.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._known: dict[Target, Price | None] = {}

    @property
    def as_of(self) -> str:
        """The day of the catalogue."""
        return self._catalogue.as_of.isoformat()

    def of(self, target: Target) -> Price | None:
        """None when nobody knows both what input and what output costs."""
        if target not in self._known:
            self._known[target] = self._price(target, self._found(target))
        return self._known[target]

    def embeds(self, target: Target) -> bool:
        """Whether it gives vectors and no text: its list has a price for input alone."""
        found = self._found(target)
        listed = found.entry.periods[-1] if found is not None and found.entry.periods else None
        return listed is not None and listed.output == Rate(0) != listed.input

    def facts(self, target: Target) -> Facts:
        """What the catalogue says of a target besides its price."""
        vendor = self._vendor(target)
        return Facts() if vendor is None else self._catalogue.facts(vendor, target.model)

    def answered(self, target: Target, model: str | None) -> Price | None:
        """The price of the model that answered, when that is another than the one asked for: a provider may
        send a request to a successor, and bills that.
        """
        if model is None or model == target.model:
            return self.of(target)
        other = Target(target.provider, model)
        if self._settings.price(other) is not None:
            return self.of(other)
        if self._settings.price(target) is not None and model.startswith(target.model):
            return self.of(target)
        found, asked = self._found(other), self._found(target)
        if found is None or (asked is None and self.of(target) is not None):
            return self.of(target)
        if asked is not None and (found.provider, found.entry.id) == (asked.provider, asked.entry.id):
            return self.of(target)
        return self._price(other, found)

    def _vendor(self, target: Target) -> str | None:
        """The provider of the catalogue. A name is enough for a provider that is not configured."""
        provider = self._settings.providers.get(target.provider)
        if provider is None:
            return listed_as(target.provider, "")
        if provider.credential is Credential.NONE:
            return None
        host, _ = provider.address
        return listed_as(provider.name, host)

    def _found(self, target: Target) -> Found | None:
        vendor = self._vendor(target)
        return None if vendor is None else self._catalogue.find(vendor, target.model)

    def _price(self, target: Target, found: Found | None) -> Price | None:
        provider = self._settings.providers.get(target.provider)
        return _over(self._settings.price(target), None if found is None else _listed(found, provider))


def _listed(found: Found, provider: Provider | None) -> Price | None:
    """Variants are its own provider's. On Vertex a Claude costs more outside the global endpoint."""
    entry = found.entry
    if not entry.periods:
        return None
    regional = provider is not None and provider.api == "vertex" and provider.location != "global"
    periods = raised(entry.periods, entry.regional) if regional else entry.periods
    variants = entry.variants if found.provider == found.asked else ()
    return Price(periods, variants, as_of=found.as_of.isoformat())


def _over(configured: Configured | None, listed: Price | None) -> Price | None:
    """A configured key counts in every period and variant. What cached and written input costs hangs on what
    input costs: who sets that sets them all. None without input or output.
    """
    written = {} if configured is None else {key: getattr(configured, key) for key in KEYS}
    own: dict[Key, Rate | None] = {key: Rate(pico(usd)) for key, usd in written.items() if usd is not None}
    if "input" in own:
        own = {**dict.fromkeys(INPUTS), **own}
    base = listed or Price((Listed(),))
    price = replace(
        base,
        periods=tuple(replace(one, **own) for one in base.periods),
        variants=tuple(replace(one, **own) for one in base.variants),
        source="config" if own.keys() & {"input", "output"} else base.source,
        as_of=None if own.keys() >= {"input", "output"} else base.as_of,
    )
    known = all(one.input is not None and one.output is not None for one in price.periods)
    return price if known else None
