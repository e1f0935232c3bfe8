"""A feature as it holds for one ask, worked out once. Cheap to import, since a stored answer needs no more of
the engine than this.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.arm_choice import ArmChoice
from llmfail.core.cache.single_flight import CachePolicy
from llmfail.core.conversation import Thought, ToolCall, ToolResult
from llmfail.core.request.ask import Ask
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Defaults, Fallback, Feature

_OF_AGENTS = frozenset({Thought, ToolCall, ToolResult})
"""What only a model that calls tools says, or is told."""


class ResolvedFeature(Struct, frozen=True):
    """``written`` is the feature as the file has it, for what is said nowhere else. For the rest the caller
    comes before the feature, and the feature before ``defaults``. ``numbers.deadline`` is the configuration's
    even where the caller has another: what a target's fair share is goes by it.
    """

    written: Feature
    chain: tuple[Fallback, ...]
    numbers: Defaults
    cache_policy: CachePolicy | None
    """How old stored answers may be; None: there are none."""
    arm: ArmChoice | None = None
    """Whose target comes first."""

    def with_arm(self, arm: ArmChoice | None) -> ResolvedFeature:
        """With the arm's target in the chain."""
        if arm is None:
            return self
        is_listed = any(link.target == arm.target for link in self.chain)
        chain = self.chain if is_listed else (Fallback(target=arm.target), *self.chain)
        return replace(self, chain=chain, arm=arm)

    @property
    def name(self) -> str:
        return self.written.name


def resolve_feature(settings: Settings, ask: Ask) -> ResolvedFeature:
    """Raises UnknownName."""
    return apply_ask(configured_feature(settings, ask.feature), settings, ask)


def configured_feature(settings: Settings, name: str) -> ResolvedFeature:
    """As the configuration has it, for an ask that says nothing more. Raises UnknownName."""
    feature = settings.find_feature(name)
    return ResolvedFeature(
        written=feature,
        chain=settings.chain_of(feature),
        numbers=settings.resolve_defaults(feature),
        cache_policy=_cache_policy(settings, feature),
    )


def apply_ask(feature: ResolvedFeature, settings: Settings, ask: Ask) -> ResolvedFeature:
    """The configured feature with what the ask says of it."""
    chain, numbers, policy = feature.chain, feature.numbers, feature.cache_policy
    if ask.targets:
        chain = _named_chain(settings, ask)
    if ask.max_tokens is not None or ask.temperature is not None:
        numbers = replace(
            numbers,
            max_tokens=numbers.max_tokens if ask.max_tokens is None else ask.max_tokens,
            temperature=numbers.temperature if ask.temperature is None else ask.temperature,
        )
    if policy is not None:
        policy = _policy_of_ask(policy, settings, feature.written, ask)
    if chain is feature.chain and numbers is feature.numbers and policy is feature.cache_policy:
        return feature
    return replace(feature, chain=chain, numbers=numbers, cache_policy=policy)


def _named_chain(settings: Settings, ask: Ask) -> tuple[Fallback, ...]:
    """The targets that the caller named; a single one keeps the fallbacks of its provider."""
    fallbacks = settings.fallbacks_of(ask.targets[0]) if len(ask.targets) == 1 else ()
    return (*(Fallback(target=target) for target in ask.targets), *fallbacks)


def is_agents(ask: Ask) -> bool:
    """Whether it is a step of an agent: a call that is stored would be made again in another world."""
    if ask.tools:
        return True
    composed = [message.content for message in ask.messages if not isinstance(message.content, str)]
    return any(type(part) in _OF_AGENTS for parts in composed for part in parts)


def _cache_policy(settings: Settings, feature: Feature) -> CachePolicy | None:
    own, common = feature.cache, settings.cache
    if not (common.enabled if own.enabled is None else own.enabled):
        return None
    return CachePolicy(
        ttl=common.ttl if own.ttl is None else own.ttl,
        stale=common.stale if own.stale is None else own.stale,
        refresh=False,
    )


def _policy_of_ask(policy: CachePolicy, settings: Settings, feature: Feature, ask: Ask) -> CachePolicy | None:
    own, common = feature.cache, settings.cache
    if ask.cache == "off" or (is_agents(ask) and not (common.agents if own.agents is None else own.agents)):
        return None
    return replace(policy, refresh=True) if ask.cache == "refresh" else policy
