"""Where models are served, as a configuration writes it: providers, and what is set for single models."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Struct, field

from llmfail.core.model import Api
from llmfail.core.vendors import BASE_URLS, vertex_host
from llmfail.settings.reading.env_vars import variable_of
from llmfail.settings.schema.scalars import (
    DERIVED,
    Alternatives,
    BackoffFactor,
    Count,
    Flag,
    Fraction,
    HeaderName,
    JsonObject,
    Location,
    Name,
    Penalty,
    Quality,
    Seconds,
    SecondsOrZero,
    TargetOrProvider,
    Text,
    Url,
    UrlPart,
    UsdPerMillion,
    WholeNumber,
    split_url,
)
from llmfail.settings.schema.secret_values import ApiKey, HeaderText


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


class RateLimits(Struct, frozen=True, kw_only=True):
    """What a provider or target takes per minute; ``burst`` is how many requests may come at once."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    burst: Count | None = None


class BreakerPatch(Struct, frozen=True, kw_only=True):
    """The breaker rules that one place sets; ``core.admission.circuit.BreakerRules`` says what they mean."""

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
    ramp: SecondsOrZero | None = None
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
