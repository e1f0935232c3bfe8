"""The configuration as values: frozen Structs whose names and fields are the keys of llmfail.yaml.

Durations are float seconds, money is Decimal US dollars (prices per million tokens). None means "not set
here": the methods of ``Settings`` say what holds then. The annotations are what the reader, the overrides and
the JSON Schema go by, so they are evaluated here, unlike elsewhere.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Struct, field

from llmfail.core.model import Api
from llmfail.core.vendors import BASE_URLS, vertex_host
from llmfail.settings.reading.env_vars import variable_of
from llmfail.settings.schema.scalars import (
    DERIVED,
    SHORTHAND,
    AlertWindow,
    Alternatives,
    ApiKey,
    BackoffFactor,
    Bytes,
    Count,
    Flag,
    Fraction,
    HeaderName,
    HeaderText,
    HedgeDelay,
    JsonObject,
    Location,
    Name,
    Penalty,
    Quality,
    RetryCount,
    Seconds,
    SecondsOrZero,
    TargetName,
    TargetOrProvider,
    Temperature,
    TemplateName,
    Text,
    Url,
    UrlPart,
    Usd,
    UsdPerMillion,
    WebhookUrl,
    Weight,
    WholeNumber,
    split_url,
)

Priority = Literal["strategic", "template", "validation"]
Order = Literal["listed", "cost", "quality", "latency", "round_robin", "weighted"]


class CredentialSource(StrEnum):
    """Where a provider's credential comes from."""

    KEY = "key"
    """``api_key`` or ``token``, without which the provider is skipped."""
    NONE = "none"
    """The server wants none."""
    GOOGLE = "google"
    """Found when it is needed: gcloud, application default credentials, or the metadata server."""


class OptionsPatch(Struct, frozen=True, kw_only=True):
    """How a model is to work, as far as one place says so; ``core.conversation.GenerationOptions`` says what
    the options mean.
    """

    effort: Literal["none", "low", "medium", "high", "max"] | None = None
    top_p: Fraction | None = None
    top_k: Count | None = None
    seed: WholeNumber | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: Alternatives | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: Name | None = None


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


class RateLimits(Struct, frozen=True, kw_only=True):
    """What a provider or target takes per minute; ``burst`` is how many requests may come at once."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    burst: Count | None = None


class BreakerPatch(Struct, frozen=True, kw_only=True):
    """The breaker rules that one place sets; ``core.admission.breaker.BreakerRules`` says what they mean."""

    failure_threshold: Count | None = None
    failure_rate: Fraction | None = None
    volume_threshold: Count | None = None
    window: Seconds | None = None
    recovery_timeout: SecondsOrZero | None = None
    rate_limit_timeout: SecondsOrZero | None = None
    backoff: BackoffFactor | None = None
    max_recovery_timeout: SecondsOrZero | None = None
    half_open_limit: Count | None = None
    success_threshold: Count | None = None
    max_pause: SecondsOrZero | None = None
    enabled: Flag | None = None


class Provider(Struct, frozen=True, kw_only=True):
    """A place where models are served. ``key_variable`` is the environment variable of its key."""

    api: Api
    base_url: Url | None = None
    api_key: ApiKey | None = None
    token: ApiKey | None = None
    api_version: UrlPart | None = None
    project: UrlPart | None = None
    location: Location | None = None
    timeout: Seconds | None = None
    limits: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerPatch = field(default_factory=BreakerPatch)
    fallbacks: tuple[TargetOrProvider, ...] = ()
    endpoint: Literal["chat", "responses"] | None = None
    options: OptionsPatch = field(default_factory=OptionsPatch)
    body: JsonObject | None = None
    headers: Mapping[HeaderName, HeaderText] = field(default_factory=dict)
    query: Mapping[Name, Text] = field(default_factory=dict)
    name: Annotated[str, DERIVED] = ""
    key_variable: Annotated[str | None, DERIVED] = None
    credential: Annotated[CredentialSource, DERIVED] = CredentialSource.KEY

    @staticmethod
    def derive(name: str, written: Mapping[str, object]) -> dict[str, object]:
        """What follows from the entry as written; its own values win."""
        api, key = written.get("api"), written.get("api_key", written.get("token"))
        credential = CredentialSource.KEY
        if key == "none":
            credential = CredentialSource.NONE
        elif api == "vertex" and not key:
            credential = CredentialSource.GOOGLE
        vertex = {"location": "global"} if api == "vertex" else {}
        return {
            "name": name,
            "key_variable": variable_of(key),
            "credential": credential,
            "base_url": BASE_URLS.get(str(api)),
            **vertex,
        }

    @property
    def needs_key(self) -> bool:
        return self.credential is CredentialSource.KEY

    @property
    def credential_identity(self) -> object:
        """What two providers may have in common and lose together; None when there is nothing to lose."""
        if self.credential is CredentialSource.NONE:
            return None
        return self.key_variable or self.api_key or self.token or self.name

    @property
    def address(self) -> tuple[str, str]:
        """Host and port, however they are written."""
        parts = split_url(self.base_url or f"https://{vertex_host('global')}")
        assert parts is not None, "a base_url is checked when it is read"
        scheme, host, port, _ = parts
        return host, port or {"https": "443", "http": "80"}[scheme]

    @property
    def missing_credential_hint(self) -> str | None:
        """What to do before this provider can be asked; None when nothing is missing."""
        if self.needs_key and self.api_key is None and self.token is None:
            return f"set {self.key_variable or f'api_key of provider {self.name}'}"
        if self.api == "vertex" and self.project is None:
            return f"set project of provider {self.name} (GOOGLE_CLOUD_PROJECT)"
        return None


class ConfiguredPrice(Struct, frozen=True, kw_only=True):
    """US dollars per million tokens. What is not set here is as the catalogue has it."""

    input: UsdPerMillion | None = None
    output: UsdPerMillion | None = None
    cached_input: UsdPerMillion | None = None
    cache_write: UsdPerMillion | None = None
    cache_write_1h: UsdPerMillion | None = None


class Model(Struct, frozen=True, kw_only=True):
    """What is known about one target, and what is set for it alone. ``quality`` orders, best first."""

    context: Count | None = None
    max_output: Count | None = None
    quality: Quality | None = None
    price: ConfiguredPrice | None = None
    timeout: Seconds | None = None
    limits: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerPatch = field(default_factory=BreakerPatch)
    endpoint: Literal["chat", "responses"] | None = None
    options: OptionsPatch = field(default_factory=OptionsPatch)
    body: JsonObject | None = None
    headers: Mapping[HeaderName, HeaderText] = field(default_factory=dict)
    query: Mapping[Name, Text] = field(default_factory=dict)


class Fallback(Struct, frozen=True, kw_only=True):
    """One target of a chain after the first."""

    target: TargetName
    note: Text = ""
    weight: Weight = 1.0


class Cached(Struct, frozen=True, kw_only=True):
    """Degrade: a stored answer to the same request."""


class Queue(Struct, frozen=True, kw_only=True):
    """Degrade: keep the request for later."""


class ShortenOptions(Struct, frozen=True, kw_only=True):
    """How a prompt is made smaller. ``keep_chars`` counts characters, None keeps all."""

    keep_chars: Count | None = None
    max_tokens: Count | None = None
    prefix: Text = ""


class ShortenStep(Struct, frozen=True, kw_only=True):
    """Degrade: a smaller prompt through the chain once more."""

    simplify: ShortenOptions


class TemplateStep(Struct, frozen=True, kw_only=True):
    """Degrade: a text with parameters, by the name of the template."""

    template: Name


class RulesStep(Struct, frozen=True, kw_only=True):
    """Degrade: what regular expressions find, by the name of the set; texts to answer with instead."""

    rules: Name
    on_match: Text | None = None
    on_none: Text | None = None


class CommandStep(Struct, frozen=True, kw_only=True):
    """Degrade: what a program makes of the prompt; an argv, never a shell."""

    command: tuple[Text, ...]
    timeout: Seconds = 10.0


class TextStep(Struct, frozen=True, kw_only=True):
    """Degrade: always the same text."""

    text: Text


DegradeStep = Cached | ShortenStep | TemplateStep | RulesStep | CommandStep | TextStep | Queue


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
    """A limit in USD per period, for everything or for each user, feature, provider or target."""

    name: Name
    limit: Usd
    per: Literal["day", "week", "month", "total"]
    each: Literal["user", "feature", "provider", "target"] | None = None
    alert_at: Fraction | None = None
    downgrade_at: Fraction | None = None
    timezone: Text | None = None


class Cache(Struct, frozen=True, kw_only=True):
    """Stored answers: fresh for ``ttl``, good for hard times up to ``stale``; ``max_size`` in bytes.
    ``agents``: also those to requests with tools or thoughts.
    """

    enabled: Flag = True
    ttl: SecondsOrZero = 3600.0
    stale: SecondsOrZero = 7 * 86400.0
    max_size: Bytes = 500_000_000
    agents: Flag = False


class QueueLimits(Struct, frozen=True, kw_only=True):
    """The requests kept for later."""

    max_items: Count = 10_000
    max_age: Seconds = 7 * 86400.0


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
