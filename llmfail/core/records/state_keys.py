"""The keys of the records in the store: to what each of them belongs.

What is learnt about a server belongs to its address, and what is learnt about an account to an address and a
credential. Names of providers and targets are for people: any configuration may give any name to any address,
so no record is kept by them. What belongs to a feature is kept by configuration, because another one may have
a feature of that name. Budgets alone are shared by name.

A ``namespace`` keeps the records of a configuration that nobody has trusted apart from all others; it is
empty for the rest.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from llmfail.core.model import Address

DIGEST_CHARS = 16
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def make_digest(*parts: str) -> str:
    """Sixteen hexadecimal digits for these texts, in this order."""
    text = "\0".join(parts)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]


@lru_cache(maxsize=1024)
def digest_of(address: Address) -> str:
    """One text for an address, however its host and port are written."""
    parts = (address.api, _normalize_url(address.base_url), address.model)
    return make_digest(*parts, address.project or "", address.location or "")


def circuit_key(address: Address, namespace: str = "") -> str:
    return f"circuit{_suffix(namespace)}/{digest_of(address)}"


def pause_key(address: Address, identity: str, namespace: str = "") -> str:
    """Of one target with one credential: two accounts at a host do not share a rate limit."""
    return f"pause{_suffix(namespace)}/{digest_of(address)}/{identity}"


def dropped_parameters_key(address: Address, namespace: str = "") -> str:
    return f"quirks{_suffix(namespace)}/{digest_of(address)}"


def calibration_key(address: Address) -> str:
    return f"tokens/{digest_of(address)}"


def call_counters_key(address: Address, hour: int) -> str:
    return f"tally/{digest_of(address)}/{hour}"


def known_targets_key(address: Address) -> str:
    """The names of all targets that were called at a provider's address."""
    return f"targets/{digest_of(address.of_provider)}"


def provider_override_key(address: Address) -> str:
    return f"hold/{digest_of(address.of_provider)}"


def credential_key(address: Address, identity: str, namespace: str = "") -> str:
    return f"credential{_suffix(namespace)}/{digest_of(address.of_provider)}/{identity}"


def rate_limit_key(address: Address, identity: str, unit: str, namespace: str = "") -> str:
    """The limit of a target or, for an address without a model, of a provider; with one credential."""
    return f"rate{_suffix(namespace)}/{digest_of(address)}/{identity}/{unit}"


def program_limit_key(name: str, unit: str, namespace: str = "") -> str:
    """The limit of a key with which programs ask; ``name`` is what the configuration calls it."""
    return f"rate{_suffix(namespace)}/key/{name}/{unit}"


def budget_key(name: str, period: str, bucket: str | None, namespace: str = "") -> str:
    """``bucket`` is None for a budget that is not divided."""
    share = "" if bucket is None else f"/{bucket}"
    return f"budget{_suffix(namespace)}/{name}/{period}{share}"


def bucket_index_key(name: str, period: str, namespace: str = "") -> str:
    return f"budget{_suffix(namespace)}/{name}/{period}#"


def turn_key(configuration: str, feature: str) -> str:
    return f"turn/{configuration}/{feature}"


def hedge_key(configuration: str, feature: str) -> str:
    return f"hedge/{configuration}/{feature}"


def dimensions_key(configuration: str, feature: str, model: str) -> str:
    return f"dimensions/{configuration}/{feature}/{model}"


def ask_counters_key(configuration: str, hour: int) -> str:
    return f"routing/{configuration}/{hour}"


def arm_key(configuration: str, experiment: str, target: str) -> str:
    return f"experiment/{configuration}/{experiment}/{target}"


def feedback_key(bucket: int) -> str:
    return f"feedback/{bucket}"


def alert_key(configuration: str, minute: int) -> str:
    """The asks of one minute that say something of the service."""
    return f"alerts/{configuration}/{minute}"


def alert_book_key(configuration: str) -> str:
    """The alerts that are raised, and who is telling of them."""
    return f"raised/{configuration}"


def probes_key(configuration: str) -> str:
    """When each target was last asked by a watch."""
    return f"probes/{configuration}"


def ask_metrics_key(configuration: str) -> str:
    return f"metrics/{configuration}/asks"


def use_metrics_key(configuration: str) -> str:
    return f"metrics/{configuration}/use"


def _suffix(namespace: str) -> str:
    """No name contains this sign, so that no key of one namespace is a key of another."""
    return f"@{namespace}" if namespace else ""


def _normalize_url(url: str) -> str:
    """Scheme and host in lower case, without the port that the scheme has anyway."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    scheme, host = scheme.lower(), host.lower()
    return f"{scheme}{mark}{host.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}{slash}{path}".rstrip("/")
