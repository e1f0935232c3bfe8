"""What is valid and yet likely to be a mistake: the warnings of ``config check``. Reads one data file.

Nothing here stops a command. The day is an argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from llmfail.core.model import Target
from llmfail.settings.kinds import url_parts
from llmfail.settings.objections import OWNERS
from llmfail.settings.plain import Finding, Place, dotted
from llmfail.settings.settings import Settings
from llmfail.settings.types import Credential, Feature, Provider

SOON: Final = timedelta(days=90)
ALIKE: Final = 0.9
"""Contexts that differ by less than a tenth are alike: what fits one by so little fits none safely."""
NOT_YET: Final[tuple[Place, ...]] = (
    ("timezone",),
    ("budgets",),
    ("on_unknown_price",),
    ("on_store_error",),
    ("defaults", "first_token_timeout"),
    ("defaults", "stall_timeout"),
    ("alerts", "cost_per_day"),
    ("cache",),
    ("queue",),
    ("templates",),
    ("rules",),
    ("providers", "*", "limits"),
    ("models", "*", "limits"),
    ("features", "*", "cache"),
    ("features", "*", "degrade"),
    ("features", "*", "expect"),
    ("features", "*", "first_token_timeout"),
    ("features", "*", "stall_timeout"),
    ("features", "*", "hedge"),
    ("features", "*", "template"),
)
"""Settings that are validated but that no command of this version goes by yet."""


def lint(settings: Settings, tree: object, today: date) -> tuple[Finding, ...]:
    """The warnings, each with its place."""
    return (
        *_nobody(settings),
        *_features(settings),
        *_owners(settings),
        *_targets(settings, retirements(), today),
        *_not_yet(tree),
        *_store(settings),
    )


def retirements() -> dict[str, Any]:
    """By model: ``on``, the day from which it is gone (None: it is), and ``then``, what comes instead."""
    path = Path(__file__).parent.parent / "data" / "retirements.json"
    models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["models"]
    return models


def _nobody(settings: Settings) -> Iterator[Finding]:
    if not settings.targets():
        where: Place = ("features",) if settings.providers else ("providers",)
        yield where, "nothing can answer: no feature has a primary, and there are no models to choose from"


def _features(settings: Settings) -> Iterator[Finding]:
    for name, feature in settings.features.items():
        at: Place = ("features", name)
        if len(feature.chain) > 1:
            yield from _same_vendor(at, feature, settings)
            yield from _smaller_context(at, feature, settings)
        elif feature.primary and not settings.provider_of(feature.primary).fallbacks:
            yield (*at, "primary"), f"{feature.primary} has no fallback"


def _same_vendor(at: Place, feature: Feature, settings: Settings) -> Iterator[Finding]:
    vendors = {_vendor(settings.provider_of(link.target)) for link in feature.chain}
    if len(vendors) == 1:
        yield (*at, "fallbacks"), f"every target is at {vendors.pop()}: when that is down, nothing answers"
    else:
        yield from _same_credential(at, feature, settings)


def _same_credential(at: Place, feature: Feature, settings: Settings) -> Iterator[Finding]:
    first: dict[object, Target] = {}
    for index, link in enumerate(feature.chain):
        credential = settings.provider_of(link.target).account
        if credential is not None and credential in first:
            earlier = first[credential]
            yield (
                (*at, "fallbacks", index - 1),
                f"{link.target} uses the same credential as {earlier}: when it is refused, both fail",
            )
        first.setdefault(credential, link.target)


def _vendor(provider: Provider) -> str:
    """The host, or the vendor's domain where it is the same for several hosts."""
    host, _ = provider.address
    return "Google" if host.endswith(".googleapis.com") else host


def _smaller_context(at: Place, feature: Feature, settings: Settings) -> Iterator[Finding]:
    """Fallbacks that cannot take over what fits the primary, or whatever else precedes them."""
    largest, smaller = 0, []
    for link in feature.chain:
        context = settings.model(link.target).context
        if context is not None and context < largest * ALIKE:
            smaller.append(f"{link.target} ({context:,})")
        largest = max(largest, context or 0)
    if smaller:
        yield (
            (*at, "fallbacks"),
            f"smaller context than the {largest:,} tokens of what precedes: {', '.join(smaller)}",
        )


def _owners(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        owner = OWNERS.get(provider.key_variable or "")
        parts = url_parts(provider.base_url or "")
        if owner is not None and parts is not None and parts[1] != owner:
            place = ("providers", name, "base_url")
            yield place, f"{provider.key_variable} goes to {parts[1]}; its owner is {owner}"


def _targets(settings: Settings, ends: Mapping[str, Any], today: date) -> Iterator[Finding]:
    for target in settings.targets():
        place = _place_of(target, settings)
        if settings.price(target) is None and settings.provider_of(target).credential is not Credential.NONE:
            yield place, f"{target} has no price here, so what it costs is unknown"
        end = ends.get(target.model.rpartition("/")[2].partition("@")[0])
        warning = end and _ending(end, today)
        if warning:
            yield place, f"{target} {warning}"


def _ending(end: Mapping[str, Any], today: date) -> str | None:
    then = f"; {end['then']}" if "then" in end else ""
    if end["on"] is None:
        return f"is retired{then}"
    on = date.fromisoformat(end["on"])
    if today >= on:
        return f"was retired on {on}{then}"
    return f"retires on {on}{then}" if on - today <= SOON else None


def _place_of(target: Target, settings: Settings) -> Place:
    """Where a target is first named."""
    if target in settings.models:
        return "models", str(target)
    for name, feature in settings.features.items():
        for index, link in enumerate(feature.chain):
            if link.target == target:
                return ("features", name, "fallbacks", index - 1) if index else ("features", name, "primary")
    return ()


def _store(settings: Settings) -> Iterator[Finding]:
    if settings.store.startswith("redis"):
        yield (
            ("store",),
            "redis is not supported by this version yet: every command that needs it refuses",
        )


def _not_yet(tree: object) -> Iterator[Finding]:
    used = [path for path in NOT_YET if any(_found(tree, path))]
    if used:
        names = ", ".join(dotted(path) for path in used)
        yield (), f"valid, but not used by this version yet: {names}"


def _found(tree: object, path: Place) -> Iterator[bool]:
    """True for each place on the path that says anything."""
    if not path:
        yield tree not in (None, [], {})
        return
    if isinstance(tree, dict):
        keys = list(tree) if path[0] == "*" else [path[0]]
        for key in keys:
            yield from (found for found in _found(tree.get(key), path[1:]) if found)
