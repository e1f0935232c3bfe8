"""The configuration as values: frozen Structs whose names and fields are the keys of llmfail.yaml.

Durations are float seconds, money is Decimal US dollars (prices per million tokens). None means "not set
here": the methods of ``Settings`` say what holds then. The annotations are what the reader, the overrides and
the JSON Schema go by, so they are evaluated here, unlike elsewhere.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Struct, field

from llmfail.core.admission.budget_unit import BudgetUnit
from llmfail.settings.schema.degrade_steps import DegradeStep
from llmfail.settings.schema.provider_types import OptionsPatch
from llmfail.settings.schema.scalars import (
    DERIVED,
    SHORTHAND,
    AlertWindow,
    BudgetLimit,
    Bytes,
    Count,
    Flag,
    Fraction,
    HedgeDelay,
    Name,
    OwnStoreUrl,
    RetryCount,
    Seconds,
    SecondsOrZero,
    TargetName,
    Temperature,
    TemplateName,
    Text,
    Usd,
    Weight,
)
from llmfail.settings.schema.secret_values import ApiKey, WebhookUrl

Priority = Literal["strategic", "template", "validation"]
Order = Literal["listed", "cost", "quality", "latency", "round_robin", "weighted"]


class Defaults(Struct, frozen=True, kw_only=True):
    """What holds for a feature that does not say otherwise."""

    max_tokens: Count = 2000
    timeout: Seconds = 60.0
    first_token_timeout: Seconds | None = None
    stall_timeout: Seconds = 30.0
    deadline: Seconds = 120.0
    retries: RetryCount = 1
    target_retries: RetryCount = 0
    temperature: Temperature | None = None
    fallback: Flag = True
    options: OptionsPatch = field(default_factory=OptionsPatch)


class Fallback(Struct, frozen=True, kw_only=True):
    """One target of a chain after the first."""

    target: TargetName
    note: Text = ""
    weight: Weight = 1.0


class Expect(Struct, frozen=True, kw_only=True):
    """What an answer must be. ``schema`` is a file, relative to the configuration."""

    schema: Text | None = None
    regex: Text | None = None
    json: Flag = False
    nonempty: Flag = True
    complete: Flag = False


class FeatureCache(Struct, frozen=True, kw_only=True):
    """Where a feature's answers are cached otherwise than ``cache`` says."""

    enabled: Flag | None = None
    ttl: SecondsOrZero | None = None
    stale: SecondsOrZero | None = None
    agents: Flag | None = None


class Feature(Struct, frozen=True, kw_only=True):
    """One use of models: its chain, its limits, and what is left when the chain is down."""

    aliases: tuple[Name, ...] = ()
    priority: Priority = "strategic"
    order: Order | None = None
    primary: TargetName | None = None
    fallbacks: tuple[Annotated[Fallback, SHORTHAND], ...] = ()
    degrade: tuple[DegradeStep, ...] = ()
    timeout: Seconds | None = None
    deadline: Seconds | None = None
    retries: RetryCount | None = None
    target_retries: RetryCount | None = None
    max_tokens: Count | None = None
    temperature: Temperature | None = None
    fallback: Flag | None = None
    options: OptionsPatch = field(default_factory=OptionsPatch)
    first_token_timeout: Seconds | None = None
    stall_timeout: Seconds | None = None
    system: Text | None = None
    template: TemplateName | None = None
    expect: Expect | None = None
    cache: FeatureCache = field(default_factory=FeatureCache)
    on_refusal: Literal["next", "stop"] = "stop"
    hedge: HedgeDelay | None = None
    allow_other_models: Flag = False
    name: Annotated[str, DERIVED] = ""

    @staticmethod
    def derive(name: str, _written: Mapping[str, object]) -> dict[str, object]:
        return {"name": name}

    @property
    def chain(self) -> tuple[Fallback, ...]:
        """The primary and its fallbacks; empty when every usable target may answer."""
        return () if self.primary is None else (Fallback(target=self.primary), *self.fallbacks)


class Budget(Struct, frozen=True, kw_only=True):
    """A limit in USD, calls or tokens per period, for everything or for each user, feature, provider, target
    or key.
    """

    name: Name
    limit: BudgetLimit
    unit: BudgetUnit = "usd"
    per: Literal["day", "week", "month", "total"]
    each: Literal["user", "feature", "provider", "target", "key"] | None = None
    alert_at: Fraction | None = None
    downgrade_at: Fraction | None = None
    timezone: Text | None = None


class Cache(Struct, frozen=True, kw_only=True):
    """Stored answers: fresh for ``ttl``, good for hard times up to ``stale``; ``max_size`` in bytes, of those
    on the disk. ``agents``: also those to requests with tools or thoughts.
    """

    enabled: Flag = True
    ttl: SecondsOrZero = 3600.0
    stale: SecondsOrZero = 7 * 86400.0
    max_size: Bytes = 500_000_000
    agents: Flag = False
    store: OwnStoreUrl = "disk"


class QueueLimits(Struct, frozen=True, kw_only=True):
    """The requests kept for later."""

    max_items: Count = 10_000
    max_age: Seconds = 7 * 86400.0
    store: OwnStoreUrl = "disk"


class Webhook(Struct, frozen=True, kw_only=True):
    """Where alerts are posted: as JSON, or as a text for Slack; those of at least this level. Its URL is a
    secret; one whose variable is not set is left out.
    """

    url: WebhookUrl | None
    format: Literal["json", "slack"] = "json"
    on: Literal["warning", "critical"] = "warning"


class Alerts(Struct, frozen=True, kw_only=True):
    """Thresholds of ``status``; ``latency_p95`` in seconds, ``cost_per_day`` in USD. All but the cost are
    judged over ``window`` seconds, once at least ``min_requests`` asks ended in them. ``webhooks`` and
    ``command`` (an argv, never a shell) are told by ``watch``; ``webhook_secret`` signs the bodies.
    """

    window: AlertWindow = 900.0
    min_requests: Count = 20
    circuit_open_rate: Fraction = 0.05
    fallback_rate: Fraction = 0.20
    latency_p95: Seconds = 30.0
    error_rate: Fraction = 0.01
    cost_per_day: Usd = Decimal(2000)
    webhooks: tuple[Webhook, ...] = ()
    webhook_secret: ApiKey | None = None
    command: tuple[Text, ...] = ()


class ProbeRules(Struct, frozen=True, kw_only=True):
    """What ``watch`` asks by itself: ``open`` targets once their wait is over, ``idle`` ones as well when no
    call came to them for ``every`` seconds, or ``all`` that often.
    """

    every: Seconds = 300.0
    targets: Literal["open", "idle", "all"] = "open"


class Privacy(Struct, frozen=True, kw_only=True):
    """What may be kept of what people ask."""

    log_prompts: Flag = False
