"""The way to a target (its gate, its endpoint, its key) and the chain of a feature: worked out from the
settings once, however often they are walked.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from llmfail.core.admission import credential
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.gate import Gate
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.model import Endpoint, Target
from llmfail.core.pricing.price import Price
from llmfail.core.routing.candidates import Candidate
from llmfail.core.vendors import Quirk, vendor_of
from llmfail.engine.planning.budget_scope import budget_scopes_of
from llmfail.engine.planning.price_lookup import TargetPrices
from llmfail.engine.planning.request_builder import endpoint_of
from llmfail.prices import Catalogue
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import (
    CredentialSource,
    Fallback,
    Feature,
    RateLimits,
)


class TargetRoute(Struct, frozen=True):
    """``google``: the key is a token that has to be fetched first. ``reports_cost``: its answers say what
    they cost.
    """

    gate: Gate
    endpoint: Endpoint
    price: Price | None
    needs_google_token: bool
    reports_cost: bool
    missing_key: str | None


class TargetRoutes:
    """The routes and chains of one configuration."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.prices = TargetPrices(settings, catalogue)
        self._settings = settings
        self._known: dict[Target, TargetRoute] = {}
        self._chains: dict[str, tuple[Candidate, ...]] = {}

    def __getitem__(self, target: Target) -> TargetRoute:
        """Raises UsageError for a provider that is not configured."""
        if target not in self._known:
            self._known[target] = _build_route(self._settings, target, self.prices.find(target))
        return self._known[target]

    def chain(self, feature: Feature) -> tuple[Candidate, ...]:
        """The candidates of a feature as it is written."""
        if feature.name not in self._chains:
            entries = targets_of(self._settings, feature)
            self._chains[feature.name] = tuple(self.candidate(feature, entry) for entry in entries)
        return self._chains[feature.name]

    def budget_scopes(
        self, feature: str, user: str | None, target: Target, moment: float
    ) -> tuple[BudgetScope, ...]:
        """The budgets of a call at that moment."""
        return budget_scopes_of(self._settings, feature, user, target, moment)

    def candidate(self, feature: Feature, entry: Fallback) -> Candidate:
        model = self._settings.model_of(entry.target)
        facts = self.prices.facts(entry.target)
        route = self[entry.target]
        return Candidate(
            target=entry.target,
            timeout=self._settings.attempt_timeout(feature, entry.target),
            note=entry.note,
            weight=entry.weight,
            quality=model.quality,
            price=route.price,
            context=model.context or facts.context,
            max_output=model.max_output or facts.max_output,
            missing_key=route.missing_key,
        )


def targets_of(settings: Settings, feature: Feature) -> tuple[Fallback, ...]:
    """The chain of a feature as it is written; without a primary, every target the configuration names."""
    if feature.primary is None:
        return tuple(Fallback(target=target) for target in settings.list_targets())
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
    return next((target for target in settings.list_targets() if target.provider == provider), None)


def _build_route(settings: Settings, target: Target, price: Price | None) -> TargetRoute:
    provider = settings.provider_of(target)
    endpoint = endpoint_of(provider, target.model)
    identity = credential.identity_of(
        f"{endpoint.base_url} {endpoint.project} {endpoint.location}", endpoint.key
    )
    vendor = vendor_of(provider.name, provider.address[0])
    google = provider.credential is CredentialSource.GOOGLE
    return TargetRoute(
        gate=Gate(
            target,
            identity,
            settings.breaker_rules_of(target),
            renews_itself=google,
            limits=_limits(settings, target),
        ),
        endpoint=endpoint,
        price=price,
        needs_google_token=google,
        reports_cost=vendor is not None and Quirk.REPORTS_COST in vendor.quirks,
        missing_key=provider.missing_credential_hint,
    )


def _limits(settings: Settings, target: Target) -> tuple[RateLimit, ...]:
    """Those of the provider, which all its targets share, and those of the target itself."""
    return (
        *_rate_limits(target.provider, settings.provider_of(target).limits),
        *_rate_limits(str(target), settings.model_of(target).limits),
    )


def _rate_limits(name: str, limits: RateLimits) -> Iterator[RateLimit]:
    if limits.requests_per_minute is not None:
        yield RateLimit(f"rate/{name}/requests", name, "requests", limits.requests_per_minute, limits.burst)
    if limits.tokens_per_minute is not None:
        yield RateLimit(f"rate/{name}/tokens", name, "tokens", limits.tokens_per_minute)
