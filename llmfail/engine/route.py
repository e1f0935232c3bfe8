"""The way to a target (its gate, its endpoint, its key) and the chain of a feature: worked out from the
settings once, however often they are walked.
"""

from __future__ import annotations

from msgspec import Struct

from llmfail.core import credential
from llmfail.core.gate import Gate
from llmfail.core.model import Endpoint, Target
from llmfail.core.plan import Candidate
from llmfail.core.pricing import Price
from llmfail.settings.settings import Settings
from llmfail.settings.types import Credential, Fallback, Feature, Provider


class Route(Struct, frozen=True):
    """``google``: the key is a token that has to be fetched first."""

    gate: Gate
    endpoint: Endpoint
    price: Price | None
    google: bool
    missing_key: str | None


class Routes:
    """The routes and chains of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[Target, Route] = {}
        self._chains: dict[str, tuple[Candidate, ...]] = {}

    def __getitem__(self, target: Target) -> Route:
        """Raises UsageError for a provider that is not configured."""
        if target not in self._known:
            self._known[target] = _route(self._settings, target)
        return self._known[target]

    def chain(self, feature: Feature) -> tuple[Candidate, ...]:
        """The candidates of a feature as it is written."""
        if feature.name not in self._chains:
            entries = targets_of(self._settings, feature)
            self._chains[feature.name] = tuple(self.candidate(feature, entry) for entry in entries)
        return self._chains[feature.name]

    def candidate(self, feature: Feature, entry: Fallback) -> Candidate:
        model = self._settings.model(entry.target)
        route = self[entry.target]
        return Candidate(
            target=entry.target,
            timeout=self._settings.timeout(feature, entry.target),
            note=entry.note,
            weight=entry.weight,
            quality=model.quality,
            price=route.price,
            context=model.context,
            max_output=model.max_output,
            missing_key=route.missing_key,
        )


def targets_of(settings: Settings, feature: Feature) -> tuple[Fallback, ...]:
    """The chain of a feature as it is written; without a primary, every target the configuration names."""
    if feature.primary is None:
        return tuple(Fallback(target=target) for target in settings.targets())
    return (
        Fallback(target=feature.primary),
        *(feature.fallbacks or fallbacks_of(settings, feature.primary)),
    )


def fallbacks_of(settings: Settings, target: Target) -> tuple[Fallback, ...]:
    """The fallbacks of a target's provider: targets, or providers that stand for their first target."""
    named = settings.provider_of(target).fallbacks
    firsts = (name if isinstance(name, Target) else first_target(settings, name) for name in named)
    return tuple(Fallback(target=found) for found in firsts if found is not None and found != target)


def first_target(settings: Settings, provider: str) -> Target | None:
    """What a provider's bare name stands for: the first of its models that the configuration names."""
    return next((target for target in settings.targets() if target.provider == provider), None)


def _route(settings: Settings, target: Target) -> Route:
    provider = settings.provider_of(target)
    endpoint = _endpoint(provider, target.model)
    identity = credential.identity(
        f"{endpoint.base_url} {endpoint.project} {endpoint.location}", endpoint.key
    )
    google = provider.credential is Credential.GOOGLE
    return Route(
        gate=Gate(target, identity, settings.breaker_rules(target), renewed=google),
        endpoint=endpoint,
        price=_price(settings, target),
        google=google,
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
