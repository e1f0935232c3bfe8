"""The whole configuration, and what it says about one feature or one target. Pure.

Precedence: a feature's own value, else ``defaults``; for the breaker, model over provider over ``breaker``,
key by key; for the timeout of one attempt, model over provider over feature over ``defaults``.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Self

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.records.state_keys import make_digest
from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.settings.schema.experiment_settings import Experiment
from llmfail.settings.schema.provider_types import BreakerPatch, ConfiguredPrice, Model, Provider, RateLimits
from llmfail.settings.schema.scalars import DERIVED, Flag, Name, Seconds, StoreUrl, TargetName, Text
from llmfail.settings.schema.serve_settings import ServeSettings
from llmfail.settings.schema.types import (
    Alerts,
    Budget,
    Cache,
    Defaults,
    Fallback,
    Feature,
    Privacy,
    ProbeRules,
    QueueLimits,
)

UNKNOWN_MODEL = Model()
"""What is known about a target that the file does not describe."""
PACKAGED_ID = "package"
"""The identity of the configuration that ships with llmfail, wherever it is installed."""
DEFAULT_FEATURE = "default"
"""The feature of an ask that names none; there is always one."""


class UnknownName(UsageError):
    """A feature or provider that is not configured."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...]) -> None:
        from difflib import get_close_matches

        self.name = name
        self.known = known
        by_lower_case = {one.lower(): one for one in known}
        near = get_close_matches(name.lower(), by_lower_case, n=1)
        meant = f"; did you mean {by_lower_case[near[0]]}?" if near else ""
        super().__init__(f"there is no {kind} {name!r}{meant} (configured: {', '.join(known) or 'none'})")


class Settings(Struct, frozen=True, kw_only=True, dict=True):
    """One validated configuration. Mappings keep the order of the file."""

    version: Literal[1] = 1
    store: StoreUrl = "disk"
    store_timeout: Seconds = 2.0
    on_store_error: Literal["refuse", "allow"] = "refuse"
    budget_slices: Flag = False
    timezone: Text | None = None
    env_file: Text | None = None
    defaults: Defaults = field(default_factory=Defaults)
    providers: Mapping[Name, Provider] = field(default_factory=dict)
    models: Mapping[TargetName, Model] = field(default_factory=dict)
    breaker: BreakerPatch = field(default_factory=BreakerPatch)
    features: Mapping[Name, Feature] = field(default_factory=dict)
    templates: Mapping[Name, Text] = field(default_factory=dict)
    rules: Mapping[Name, Mapping[Name, Text]] = field(default_factory=dict)
    experiments: tuple[Experiment, ...] = ()
    budgets: tuple[Budget, ...] = ()
    on_unknown_price: Literal["refuse", "allow"] = "refuse"
    cache: Cache = field(default_factory=Cache)
    queue: QueueLimits = field(default_factory=QueueLimits)
    alerts: Alerts = field(default_factory=Alerts)
    probe: ProbeRules | None = None
    traces: Literal["none", "otlp"] = "none"
    privacy: Privacy = field(default_factory=Privacy)
    serve: ServeSettings = field(default_factory=ServeSettings)
    source: Annotated[ConfigSource | None, DERIVED] = None

    @staticmethod
    def derive(_name: str, written: Mapping[str, object]) -> dict[str, object]:
        """There is a ``default`` feature even in a file without features."""
        return (
            {} if written.get("features") else {"features": {DEFAULT_FEATURE: Feature(name=DEFAULT_FEATURE)}}
        )

    @property
    def answers_place(self) -> str:
        """The URL of the store of answers, or ``disk`` or ``memory``."""
        return self.store if self.cache.store == "disk" and self.store == "memory" else self.cache.store

    @property
    def queue_place(self) -> str | None:
        """The URL of the queue's store, or ``disk``; None where no request outlives the process."""
        return None if self.queue.store == "disk" and self.store == "memory" else self.queue.store

    @property
    def configuration_name(self) -> str:
        """The path of the file, or a word for the one that ships; empty for settings without a file."""
        if self.source is None:
            return ""
        return PACKAGED_ID if self.source.origin is Origin.PACKAGE else self.source.absolute_path

    @cached_property
    def configuration_id(self) -> str:
        """What tells this configuration from others in the store; empty for settings without a file."""
        if self.source is None:
            return ""
        return PACKAGED_ID if self.source.origin is Origin.PACKAGE else _identify(self.source)

    @property
    def namespace(self) -> str:
        """What keeps the budgets and limits of a file that nobody has chosen apart from those of others."""
        return self.configuration_id if self.source is not None and self.source.is_strange else ""

    def find_feature(self, name: str) -> Feature:
        """By name or alias. Raises UnknownName."""
        if name in self.features:
            return self.features[name]
        for feature in self.features.values():
            if name in feature.aliases:
                return feature
        if name == DEFAULT_FEATURE:
            return Feature(name=DEFAULT_FEATURE)
        raise UnknownName("feature", name, tuple(self.features))

    def find_experiment(self, feature: str, moment: float) -> Experiment | None:
        """The first of a feature's experiments that is not over, by the feature's own name."""
        mine = (one for one in self.experiments if one.feature == feature)
        return next((one for one in mine if one.is_running(moment)), None)

    def provider_of(self, target: Target) -> Provider:
        """Raises UnknownName, which only a target from outside the file can bring about."""
        if target.provider not in self.providers:
            raise UnknownName("provider", target.provider, tuple(self.providers))
        return self.providers[target.provider]

    def model_of(self, target: Target) -> Model:
        return self.models.get(target, UNKNOWN_MODEL)

    def price_of(self, target: Target) -> ConfiguredPrice | None:
        """What the file says of it, which need not be all."""
        return self.model_of(target).price

    def breaker_rules_of(self, target: Target) -> BreakerRules:
        patches = (self.breaker, self.provider_of(target).breaker, self.model_of(target).breaker)
        return BreakerRules(**{name: value for patch in patches for name, value in _select_set_values(patch)})

    def configured_timeout(self, feature: Feature, target: Target) -> float:
        """What the configuration allows one attempt, in seconds; ``--timeout`` comes before it."""
        model, provider = self.model_of(target), self.provider_of(target)
        wanted = (model.timeout, provider.timeout, feature.timeout, self.defaults.timeout)
        return next(timeout for timeout in wanted if timeout is not None)

    def resolve_defaults(self, feature: Feature) -> Defaults:
        """The defaulted numbers as they hold for a feature."""
        if self.features.get(feature.name) is not feature:
            return self._merge_defaults(feature)
        known = self._defaults_of_features.get(feature.name)
        if known is None:
            known = self._defaults_of_features[feature.name] = self._merge_defaults(feature)
        return known

    def _merge_defaults(self, feature: Feature) -> Defaults:
        names = Defaults.__struct_fields__
        own = {name: getattr(feature, name) for name in names}
        return Defaults(
            **{name: getattr(self.defaults, name) if own[name] is None else own[name] for name in names}
        )

    @cached_property
    def _defaults_of_features(self) -> dict[str, Defaults]:
        """Those that were asked for."""
        return {}

    def chain_of(self, feature: Feature) -> tuple[Fallback, ...]:
        """The chain of a feature as it is written; without a primary, every target that the file knows."""
        if feature.primary is None:
            return tuple(Fallback(target=target) for target in self.list_targets())
        return (
            Fallback(target=feature.primary),
            *(feature.fallbacks or self.fallbacks_of(feature.primary)),
        )

    def fallbacks_of(self, target: Target) -> tuple[Fallback, ...]:
        """The fallbacks of a target's provider: targets, or providers that stand for their first target."""
        named = self.provider_of(target).fallbacks
        firsts = (name if isinstance(name, Target) else self.first_target_of(name) for name in named)
        return tuple(Fallback(target=found) for found in firsts if found is not None and found != target)

    def first_target_of(self, provider: str) -> Target | None:
        """What a provider's bare name stands for: the first of its models that the file names."""
        return next((target for target in self.list_targets() if target.provider == provider), None)

    def list_targets(self) -> tuple[Target, ...]:
        """Every target that the file knows: those of ``models`` first, then those of the features."""
        chained = (link.target for feature in self.features.values() for link in feature.chain)
        arms = (arm.target for experiment in self.experiments for arm in experiment.arms)
        return tuple(dict.fromkeys((*self.models, *chained, *arms)))

    def with_providers_alone(self, providers: Mapping[str, Provider]) -> Self:
        """The same with other providers, and without what would decide besides them: budgets, rate limits of
        the models, the cache, and stores that outlive the process.
        """
        return replace(
            self,
            store="memory",
            providers=providers,
            models={target: replace(model, limits=RateLimits()) for target, model in self.models.items()},
            budgets=(),
            cache=Cache(enabled=False),
            queue=replace(self.queue, store="disk"),
        )

    def names_target(self, target: Target) -> bool:
        """Whether the file knows it; a caller may name any other."""
        return target in self._named_targets

    @cached_property
    def _named_targets(self) -> frozenset[Target]:
        return frozenset(self.list_targets())


@lru_cache(maxsize=64)
def _identify(source: ConfigSource) -> str:
    return make_digest(source.absolute_path)


def _select_set_values(patch: BreakerPatch) -> Iterator[tuple[str, Any]]:
    values = ((name, getattr(patch, name)) for name in patch.__struct_fields__)
    return ((name, value) for name, value in values if value is not None)
