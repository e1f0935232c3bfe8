"""What is valid and yet likely to be a mistake: the warnings of ``config check``.

Nothing here stops a command. The day is an argument, and so is what is known of prices and models; of files,
only those are looked at that the configuration would run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, Protocol

from llmfail.core.model import Target
from llmfail.core.pricing.catalogue import LONG_AGO, ModelFacts
from llmfail.core.pricing.price import RATE_NAMES, Price
from llmfail.core.vendors import OWNER_HOSTS, vendor_at
from llmfail.settings.advice.lost_options import check_lost_options
from llmfail.settings.advice.spelling import check_spelling
from llmfail.settings.reading.find import packaged_config_path
from llmfail.settings.reading.plain_values import Finding, Place
from llmfail.settings.schema.degrade_steps import Cached, CommandStep, DegradeStep, Queue, TextStep
from llmfail.settings.schema.provider_types import CredentialSource, Provider
from llmfail.settings.schema.scalars import split_url
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature

RETIREMENT_NOTICE: Final = timedelta(days=90)
SIMILAR_CONTEXT_RATIO: Final = 0.9
"""Contexts that differ by less than a tenth are alike: what fits one by so little fits none safely."""


class KnownTargets(Protocol):
    """What is known of targets: the configuration and the catalogue together."""

    def find(self, target: Target) -> Price | None: ...

    def facts(self, target: Target) -> ModelFacts: ...


def lint(settings: Settings, today: date, known: KnownTargets) -> tuple[Finding, ...]:
    """The warnings, each with its place."""
    return (
        *_check_no_targets(settings),
        *_check_features(settings, known),
        *_check_degrade_steps(settings),
        *_check_key_owners(settings),
        *_check_targets(settings, known, today),
        *check_spelling(settings),
        *_check_time_zones(settings),
        *check_lost_options(settings),
        *_check_serve_keys(settings, today),
    )


def _check_serve_keys(settings: Settings, today: date) -> Iterator[Finding]:
    """Keys with which no program can ask."""
    for index, key in enumerate(settings.serve.keys):
        place: Place = ("serve", "keys", index)
        if key.has_expired(today):
            yield place, f"the key {key.name} has expired on {key.expires}"
        if key.sha256 is None and key.key is None:
            yield place, f"the key {key.name} lets nobody in: its variable is not set"


def _check_time_zones(settings: Settings) -> Iterator[Finding]:
    """Whoever sets a limit for a day should know when it ends."""
    if settings.timezone is None:
        for index, budget in enumerate(settings.budgets):
            if budget.per != "total" and budget.timezone is None:
                text = f"the {budget.per} of budget {budget.name} begins at midnight UTC; say `timezone:`"
                yield ("budgets", index), text


def _check_no_targets(settings: Settings) -> Iterator[Finding]:
    if not settings.list_targets():
        where: Place = ("features",) if settings.providers else ("providers",)
        yield where, "nothing can answer: no feature has a primary, and there are no models to choose from"


def _check_features(settings: Settings, known: KnownTargets) -> Iterator[Finding]:
    for name, feature in settings.features.items():
        at: Place = ("features", name)
        if len(feature.chain) > 1:
            yield from _check_same_vendor(at, feature, settings)
            yield from _check_smaller_context(at, feature, settings, known)
        elif feature.primary and not settings.provider_of(feature.primary).fallbacks:
            yield (*at, "primary"), f"{feature.primary} has no fallback"


def _check_same_vendor(at: Place, feature: Feature, settings: Settings) -> Iterator[Finding]:
    vendors = {_vendor_of(settings.provider_of(link.target)) for link in feature.chain}
    if len(vendors) == 1:
        yield (*at, "fallbacks"), f"every target is at {vendors.pop()}: when that is down, nothing answers"
    else:
        yield from _check_same_credential(at, feature, settings)


def _check_same_credential(at: Place, feature: Feature, settings: Settings) -> Iterator[Finding]:
    first: dict[object, Target] = {}
    for index, link in enumerate(feature.chain):
        credential = settings.provider_of(link.target).credential_identity
        if credential is not None and credential in first:
            earlier = first[credential]
            yield (
                (*at, "fallbacks", index - 1),
                f"{link.target} uses the same credential as {earlier}: when it is refused, both fail",
            )
        first.setdefault(credential, link.target)


def _vendor_of(provider: Provider) -> str:
    """The host, or what the vendor is called when it has several."""
    host, _ = provider.address
    vendor = vendor_at(host)
    return host if vendor is None else vendor.title or host


def _check_smaller_context(
    at: Place, feature: Feature, settings: Settings, known: KnownTargets
) -> Iterator[Finding]:
    """A chain in which no fallback can take over what fits the primary."""
    contexts = [
        settings.model_of(link.target).context or known.facts(link.target).context for link in feature.chain
    ]
    first, *others = contexts
    if first is None or any(one is None or one >= first * SIMILAR_CONTEXT_RATIO for one in others):
        return
    named = (f"{link.target} ({context:,})" for link, context in zip(feature.chain[1:], others, strict=True))
    yield (
        (*at, "fallbacks"),
        f"no fallback takes the {first:,} tokens that the primary takes: {', '.join(named)}",
    )


def _check_degrade_steps(settings: Settings) -> Iterator[Finding]:
    """What is wrong with ``degrade`` lists."""
    for name, feature in settings.features.items():
        at: Place = ("features", name, "degrade")
        yield from _check_unreachable_steps(at, feature.degrade)
        for index, step in enumerate(feature.degrade):
            if isinstance(step, Cached) and not _is_cache_enabled(feature, settings):
                yield (*at, index), "nothing is ever stored here: the cache of this feature is off"
            if isinstance(step, CommandStep):
                yield from _check_program((*at, index), step, settings)


def _check_unreachable_steps(at: Place, steps: tuple[DegradeStep, ...]) -> Iterator[Finding]:
    """What stands behind a text, which always answers, or behind the queue, which is always the end."""
    last = next((index for index, step in enumerate(steps[:-1]) if isinstance(step, TextStep | Queue)), None)
    if last is None:
        return
    if isinstance(steps[last], Queue):
        message = "is never reached: `queue` before it ends the list"
    elif isinstance(steps[last + 1], Queue):
        message = "is reached with --strict only: `text` before it always answers"
    else:
        message = "is never reached: `text` before it always answers"
    yield (*at, last + 1), message


def _is_cache_enabled(feature: Feature, settings: Settings) -> bool:
    own = feature.cache.enabled
    return settings.cache.enabled if own is None else own


def _check_program(at: Place, step: CommandStep, settings: Settings) -> Iterator[Finding]:
    """A program named by its path that could not be run. What ships in the package names one to replace."""
    name = next(iter(step.command), "")
    if "/" not in name or settings.source is None or settings.source.path == packaged_config_path():
        return
    path = settings.source.path.parent / name
    if "\0" in name or not os.access(path, os.F_OK):
        yield at, f"{name!r} is not there (a program named by its path is relative to the configuration)"
    elif not path.is_file() or not os.access(path, os.X_OK):
        yield at, f"{name!r} is not an executable file"


def _check_key_owners(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        owner = OWNER_HOSTS.get(provider.key_variable or "")
        parts = split_url(provider.base_url or "")
        if owner is not None and parts is not None and parts[1] != owner:
            place = ("providers", name, "base_url")
            yield place, f"{provider.key_variable} goes to {parts[1]}; its owner is {owner}"


def _check_targets(settings: Settings, known: KnownTargets, today: date) -> Iterator[Finding]:
    for target in settings.list_targets():
        place = _place_of(target, settings)
        lack = _describe_missing_price(target, settings, known)
        if lack is not None:
            yield place, f"{target} {lack}, so what it costs is unknown"
        ending = _describe_retirement(known.facts(target), today)
        if ending is not None:
            yield place, f"{target} {ending}"


def _describe_missing_price(target: Target, settings: Settings, known: KnownTargets) -> str | None:
    """What is missing of a price. A server that wants no key may be nobody's who charges for it."""
    if known.find(target) is not None:
        return None
    price = settings.price_of(target)
    written = [] if price is None else [name for name in RATE_NAMES if getattr(price, name) is not None]
    if written:
        missing = " and ".join(name for name in ("input", "output") if name not in written)
        return f"has a price for {' and '.join(written)}, but none for {missing}"
    free = settings.provider_of(target).credential is CredentialSource.NONE
    return None if free else "has no price here or in the catalogue"


def _describe_retirement(facts: ModelFacts, today: date) -> str | None:
    on = facts.retires
    then = f"; {facts.then}" if facts.then else ""
    if on is None or on - today > RETIREMENT_NOTICE:
        return None
    if on == LONG_AGO:
        return f"is retired{then}"
    return f"{'was retired' if today >= on else 'retires'} on {on}{then}"


def _place_of(target: Target, settings: Settings) -> Place:
    """Where a target is first named."""
    if target in settings.models:
        return "models", str(target)
    for name, feature in settings.features.items():
        for index, link in enumerate(feature.chain):
            if link.target == target:
                return ("features", name, "fallbacks", index - 1) if index else ("features", name, "primary")
    return ()
