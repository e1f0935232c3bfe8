"""The way to a target (its gate, its endpoint, its key) and the chain of a feature: worked out from the
settings once, however many asks use them.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import credential
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.gate import Gate
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.conversation import NO_OPTIONS
from llmfail.core.errors import UsageError
from llmfail.core.model import Address, Endpoint, Target
from llmfail.core.pricing.price import Price
from llmfail.core.records import state_keys
from llmfail.core.request.ask import Ask
from llmfail.core.routing.candidates import Candidate
from llmfail.core.vendors import Quirk, vendor_of
from llmfail.engine.planning.budget_scope import Caller, budget_scopes_of
from llmfail.engine.planning.price_lookup import TargetPrices, forget_when_full
from llmfail.engine.planning.request_builder import endpoint_of_target
from llmfail.engine.planning.resolved_feature import ResolvedFeature, apply_ask, configured_feature
from llmfail.prices import Catalogue
from llmfail.settings.schema.provider_types import CredentialSource, RateLimits
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Fallback, Feature


class TargetRoute(Struct, frozen=True):
    """``needs_google_token``: the key is a token that has to be fetched first. ``reports_cost``: its answers
    say what they cost. ``key_name``: what people call its key.
    """

    gate: Gate
    endpoint: Endpoint
    price: Price | None
    needs_google_token: bool
    reports_cost: bool
    missing_key: str | None
    key_name: str


class TargetRoutes:
    """The features, routes and chains of one configuration, each worked out when it is first asked for.
    ``may_downgrade``: a budget that is nearly spent puts the cheapest targets first.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.prices = TargetPrices(settings, catalogue)
        self.settings = settings
        self.may_downgrade = any(one.downgrade_at is not None for one in settings.budgets)
        self._features: dict[str, ResolvedFeature] = {}
        self._known: dict[Target, TargetRoute] = {}
        self._chains: dict[tuple[str, tuple[Fallback, ...]], tuple[Candidate, ...]] = {}

    def __len__(self) -> int:
        """How much is kept."""
        return max(len(self._known), len(self._chains), len(self.prices))

    def __getitem__(self, target: Target) -> TargetRoute:
        """Raises UsageError for a provider that is not configured."""
        known = self._known.get(target)
        if known is None:
            known = _build_route(self.settings, target, self.prices.find(target))
            forget_when_full(self._known)
            self._known[target] = known
        return known

    def resolve(self, ask: Ask) -> ResolvedFeature:
        """The feature of an ask, as it holds for it. Raises UnknownName."""
        known = self._features.get(ask.feature)
        if known is None:
            known = self._features[ask.feature] = configured_feature(self.settings, ask.feature)
        return apply_ask(known, self.settings, ask)

    def chain(self, feature: Feature) -> tuple[Candidate, ...]:
        """The candidates of a feature as it is written."""
        return self.candidates_of(feature, self.settings.chain_of(feature))

    def candidates_of(self, feature: Feature, chain: tuple[Fallback, ...]) -> tuple[Candidate, ...]:
        """Those of a chain, for a feature. Raises UsageError for a provider that is not configured."""
        known = self._chains.get((feature.name, chain))
        if known is None:
            known = tuple(self._build_candidate(feature, entry) for entry in chain)
            forget_when_full(self._chains)
            self._chains[feature.name, chain] = known
        return known

    def hedge_key(self, feature: str) -> str:
        """The key of the token bucket that pays for the hedges of a feature."""
        return state_keys.hedge_key(self.settings.configuration_id, feature)

    def turn_key(self, feature: str) -> str:
        """The key of the turns of a feature whose targets take turns."""
        return state_keys.turn_key(self.settings.configuration_id, feature)

    def budget_scopes(
        self, feature: str, caller: Caller, target: Target, moment: float
    ) -> tuple[BudgetScope, ...]:
        """The budgets of a call at that moment."""
        if not self.settings.budgets:
            return ()
        return budget_scopes_of(self.settings, feature, caller, target, moment)

    def _build_candidate(self, feature: Feature, entry: Fallback) -> Candidate:
        model = self.settings.model_of(entry.target)
        facts = self.prices.facts(entry.target)
        route = self[entry.target]
        endpoint = route.endpoint
        return Candidate(
            target=entry.target,
            timeout=self.settings.configured_timeout(feature, entry.target),
            note=entry.note,
            weight=entry.weight,
            quality=model.quality,
            price=route.price,
            context=model.context or facts.context,
            max_output=model.max_output or facts.max_output,
            missing_key=route.missing_key,
            endpoint=f"{endpoint.api} {endpoint.base_url}",
            max_pause=route.gate.rules.max_pause,
            is_rate_limited=bool(route.gate.limits),
            may_ramp=bool(route.gate.rules.ramp),
            takes_plain_text=endpoint.options == NO_OPTIONS and endpoint.door == "chat",
        )


def _build_route(settings: Settings, target: Target, price: Price | None) -> TargetRoute:
    provider = settings.provider_of(target)
    endpoint, lost_key = _fetch_key(endpoint_of_target(settings, target))
    identity = _identify_account(endpoint)
    vendor = vendor_of(provider.name, provider.address[0])
    google = provider.credential is CredentialSource.GOOGLE
    return TargetRoute(
        gate=Gate(
            target,
            endpoint.address,
            identity,
            settings.breaker_rules_of(target),
            renews_itself=google,
            limits=_limits(settings, target, endpoint.address, identity),
            namespace=settings.namespace,
            is_probed=settings.probe is not None,
        ),
        endpoint=endpoint,
        price=price,
        needs_google_token=google,
        reports_cost=vendor is not None and Quirk.REPORTS_COST in vendor.quirks,
        missing_key=provider.missing_credential_hint or lost_key,
        key_name=provider.key_variable or f"the {'Google token' if google else 'key'} of {provider.name}",
    )


def _fetch_key(endpoint: Endpoint) -> tuple[Endpoint, str | None]:
    """The endpoint, without a key whose file or command does not give it, and why: only its targets are
    skipped.
    """
    try:
        if endpoint.key is not None:
            endpoint.key.reveal()
    except UsageError as error:
        return replace(endpoint, key=None), str(error)
    return endpoint, None


def _identify_account(endpoint: Endpoint) -> str:
    """The key, and what stands for one in further headers, at this address."""
    place = f"{endpoint.base_url} {endpoint.project} {endpoint.location}"
    headers = sorted((endpoint.headers or {}).items())
    added = "".join(f"\0{name.lower()}\0{value.reveal()}" for name, value in headers)
    return credential.identity_of(place + added, endpoint.key)


def _limits(settings: Settings, target: Target, address: Address, identity: str) -> tuple[RateLimit, ...]:
    """Those of the provider, which all its targets share, and those of the target itself."""

    def limits_at(address: Address, name: str, limits: RateLimits) -> Iterator[RateLimit]:
        def key(unit: str) -> str:
            return state_keys.rate_limit_key(address, identity, unit, settings.namespace)

        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        if requests is not None:
            yield RateLimit(key("requests"), name, "requests", requests, limits.burst)
        if tokens is not None:
            yield RateLimit(key("tokens"), name, "tokens", tokens)

    return (
        *limits_at(address.of_provider, target.provider, settings.provider_of(target).limits),
        *limits_at(address, str(target), settings.model_of(target).limits),
    )
