"""The way to a target: its gate, its endpoint, its key. Worked out from the settings once per target."""

from __future__ import annotations

from dataclasses import dataclass

from llmfail.core import credential
from llmfail.core.gate import Gate
from llmfail.core.model import Endpoint, Target
from llmfail.core.pricing import Price
from llmfail.settings.settings import Settings
from llmfail.settings.types import Credential, Provider


@dataclass(frozen=True, slots=True)
class Route:
    """``google``: the key is a token that has to be fetched first."""

    gate: Gate
    endpoint: Endpoint
    price: Price | None
    google: bool
    missing_key: str | None


class Routes:
    """The routes of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[Target, Route] = {}

    def __getitem__(self, target: Target) -> Route:
        """Raises UsageError for a provider that is not configured."""
        if target not in self._known:
            self._known[target] = _route(self._settings, target)
        return self._known[target]


def _route(settings: Settings, target: Target) -> Route:
    provider = settings.provider_of(target)
    endpoint = _endpoint(provider, target.model)
    identity = credential.identity(
        f"{endpoint.base_url} {endpoint.project} {endpoint.location}", endpoint.key
    )
    return Route(
        gate=Gate(target, identity, settings.breaker_rules(target)),
        endpoint=endpoint,
        price=_price(settings, target),
        google=provider.credential is Credential.GOOGLE,
        missing_key=provider.missing_key,
    )


def _endpoint(provider: Provider, model: str) -> Endpoint:
    return Endpoint(
        api=provider.api,
        base_url=provider.base_url or "",
        model=model,
        key=provider.token or provider.api_key,
        api_version=provider.api_version,
        project=provider.project,
        location=provider.location,
    )


def _price(settings: Settings, target: Target) -> Price | None:
    price = settings.price(target)
    if price is None:
        return None
    return Price.per_million(price.input, price.output, price.cached_input, price.cache_write)
