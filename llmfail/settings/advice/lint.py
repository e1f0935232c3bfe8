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
from llmfail.core.pricing.catalogue import LONG_AGO, Facts
from llmfail.core.pricing.price import KEYS, Price
from llmfail.settings.reading.find import packaged
from llmfail.settings.reading.plain_values import Finding, Place
from llmfail.settings.schema.scalars import url_parts
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import (
    Cached,
    Command,
    Credential,
    Feature,
    Fixed,
    Provider,
    Queue,
    Step,
)
from llmfail.settings.trust.trust_rules import OWNERS

SOON: Final = timedelta(days=90)
ALIKE: Final = 0.9
"""Contexts that differ by less than a tenth are alike: what fits one by so little fits none safely."""


class Known(Protocol):
    """What is known of targets: the configuration and the catalogue together."""

    def of(self, target: Target) -> Price | None: ...

    def facts(self, target: Target) -> Facts: ...


def lint(settings: Settings, today: date, known: Known) -> tuple[Finding, ...]:
    """The warnings, each with its place."""
    return (
        *_nobody(settings),
        *_features(settings, known),
        *_ladders(settings),
        *_owners(settings),
        *_targets(settings, known, today),
        *_store(settings),
    )


def _nobody(settings: Settings) -> Iterator[Finding]:
    if not settings.targets():
        where: Place = ("features",) if settings.providers else ("providers",)
        yield where, "nothing can answer: no feature has a primary, and there are no models to choose from"


def _features(settings: Settings, known: Known) -> Iterator[Finding]:
    for name, feature in settings.features.items():
        at: Place = ("features", name)
        if len(feature.chain) > 1:
            yield from _same_vendor(at, feature, settings)
            yield from _smaller_context(at, feature, settings, known)
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


def _smaller_context(at: Place, feature: Feature, settings: Settings, known: Known) -> Iterator[Finding]:
    """Fallbacks that cannot take over what fits the primary, or whatever else precedes them."""
    largest, smaller = 0, []
    for link in feature.chain:
        context = settings.model(link.target).context or known.facts(link.target).context
        if context is not None and context < largest * ALIKE:
            smaller.append(f"{link.target} ({context:,})")
        largest = max(largest, context or 0)
    if smaller:
        yield (
            (*at, "fallbacks"),
            f"smaller context than the {largest:,} tokens of what precedes: {', '.join(smaller)}",
        )


def _ladders(settings: Settings) -> Iterator[Finding]:
    """What is wrong with ``degrade`` lists."""
    for name, feature in settings.features.items():
        at: Place = ("features", name, "degrade")
        yield from _unreachable(at, feature.degrade)
        for index, step in enumerate(feature.degrade):
            if isinstance(step, Cached) and not _stores(feature, settings):
                yield (*at, index), "nothing is ever stored here: the cache of this feature is off"
            if isinstance(step, Command):
                yield from _program((*at, index), step, settings)


def _unreachable(at: Place, steps: tuple[Step, ...]) -> Iterator[Finding]:
    """What stands behind a text, which always answers, or behind the queue, which is always the end."""
    last = next((index for index, step in enumerate(steps[:-1]) if isinstance(step, Fixed | Queue)), None)
    if last is None:
        return
    if isinstance(steps[last], Queue):
        message = "is never reached: `queue` before it ends the list"
    elif isinstance(steps[last + 1], Queue):
        message = "is reached with --strict only: `text` before it always answers"
    else:
        message = "is never reached: `text` before it always answers"
    yield (*at, last + 1), message


def _stores(feature: Feature, settings: Settings) -> bool:
    own = feature.cache.enabled
    return settings.cache.enabled if own is None else own


def _program(at: Place, step: Command, settings: Settings) -> Iterator[Finding]:
    """A program named by its path that could not be run. What ships in the package names one to replace."""
    name = next(iter(step.command), "")
    if "/" not in name or settings.source is None or settings.source.path == packaged():
        return
    path = settings.source.path.parent / name
    if "\0" in name or not os.access(path, os.F_OK):
        yield at, f"{name!r} is not there (a program named by its path is relative to the configuration)"
    elif not path.is_file() or not os.access(path, os.X_OK):
        yield at, f"{name!r} is not an executable file"


def _owners(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        owner = OWNERS.get(provider.key_variable or "")
        parts = url_parts(provider.base_url or "")
        if owner is not None and parts is not None and parts[1] != owner:
            place = ("providers", name, "base_url")
            yield place, f"{provider.key_variable} goes to {parts[1]}; its owner is {owner}"


def _targets(settings: Settings, known: Known, today: date) -> Iterator[Finding]:
    for target in settings.targets():
        place = _place_of(target, settings)
        lack = _lack(target, settings, known)
        if lack is not None:
            yield place, f"{target} {lack}, so what it costs is unknown"
        ending = _ending(known.facts(target), today)
        if ending is not None:
            yield place, f"{target} {ending}"


def _lack(target: Target, settings: Settings, known: Known) -> str | None:
    """What is missing of a price. A server that wants no key may be nobody's who charges for it."""
    if known.of(target) is not None:
        return None
    price = settings.price(target)
    written = [] if price is None else [name for name in KEYS if getattr(price, name) is not None]
    if written:
        missing = " and ".join(name for name in ("input", "output") if name not in written)
        return f"has a price for {' and '.join(written)}, but none for {missing}"
    free = settings.provider_of(target).credential is Credential.NONE
    return None if free else "has no price here or in the catalogue"


def _ending(facts: Facts, today: date) -> str | None:
    on = facts.retires
    then = f"; {facts.then}" if facts.then else ""
    if on is None or on - today > SOON:
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


def _store(settings: Settings) -> Iterator[Finding]:
    if settings.store.startswith("redis"):
        yield (
            ("store",),
            "redis is not supported by this version yet: every command that needs it refuses",
        )
