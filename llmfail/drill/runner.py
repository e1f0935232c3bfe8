"""The whole drill: which features, which scenes, in which order. Yields what each scene showed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask, question
from llmfail.drill.scenario_run import (
    PROMPT,
    Cast,
    Play,
    Theatre,
    even,
    theatre,
)
from llmfail.drill.scenarios import SCENES, Scene
from llmfail.engine.engine import Engine
from llmfail.engine.planning.targets import targets_of
from llmfail.engine.ports import ports
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature, Provider
from llmfail.store.memory import Memory

HEALTHY = "healthy"
"""The scene without which there are no others."""


def features_of(settings: Settings, names: Iterable[str]) -> tuple[Feature, ...]:
    """The features by name or alias, each once; all of them without names. Raises UnknownName."""
    chosen = [settings.feature(name) for name in names] or settings.features.values()
    return tuple({feature.name: feature for feature in chosen}.values())


def scenes_of(names: Sequence[str]) -> tuple[str, ...]:
    """The scenes by name, in the order of the story; all of them without names. Raises UsageError."""
    for name in names:
        if name not in SCENES:
            from difflib import get_close_matches

            near = get_close_matches(name, SCENES, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"there is no scenario {name!r}{meant} (there are: {', '.join(SCENES)})")
    return tuple(name for name in SCENES if name in names or not names)


def perform(settings: Settings, features: Iterable[Feature], scenes: Sequence[str]) -> Iterator[Scene]:
    """Every scene of every feature."""
    with theatre(settings) as house:
        for feature in features:
            try:
                cast = cast_of(settings, house, feature)
            except UsageError as error:
                yield _uncast(feature, scenes, str(error))
            else:
                yield from _scenes(house, cast, scenes)


def cast_of(settings: Settings, house: Theatre, feature: Feature) -> Cast:
    """``settings`` are the user's own, with the real addresses. Raises UsageError for a feature without any
    target.
    """
    idle = replace(ports.blocking(house.wire, ports.Stores(Memory(time.time)), house.catalogue), draw=even)
    ask = Ask(question(PROMPT), feature=feature.name)
    steps = ports.drive(Engine(house.settings, idle).plan(ask)).steps
    chain = tuple(step.target for step in steps)
    outage = _alike(settings, chain[0], lambda provider: provider.address)
    same_key = _alike(settings, chain[0], lambda provider: provider.account or provider.name)
    return Cast(feature, chain, outage, same_key, settings.breaker_rules(chain[0]))


def missing_keys(settings: Settings, features: Iterable[Feature]) -> tuple[str, ...]:
    """What the providers of these features lack, and the simulator does not ask for."""
    chains = (targets_of(settings, feature) for feature in features)
    providers = dict.fromkeys(settings.provider_of(link.target).name for chain in chains for link in chain)
    found = (settings.providers[name].missing_key for name in providers)
    return tuple(dict.fromkeys(lack.removeprefix("set ") for lack in found if lack is not None))


def _scenes(house: Theatre, cast: Cast, scenes: Sequence[str]) -> Iterator[Scene]:
    """A feature that does not work on a healthy day shows that first, and nothing else."""
    feature = cast.feature.name
    for name in dict.fromkeys((HEALTHY, *scenes)):
        play = Play(house, cast)
        scene = replace(SCENES[name](play), feature=feature, requests={cast.primary: 0, **play.requests})
        if name == HEALTHY and not scene.ok:
            yield replace(scene, name=scenes[0])
            return
        if name in scenes:
            yield replace(scene, name=name)


def _uncast(feature: Feature, scenes: Sequence[str], why: str) -> Scene:
    return Scene(ok=False, expected="a target", saw="none", words=why, feature=feature.name, name=scenes[0])


def _alike(settings: Settings, target: Target, what: Callable[[Provider], object]) -> tuple[str, ...]:
    """The provider of a target, and every other that has the same of something."""
    own = what(settings.provider_of(target))
    return tuple(name for name, provider in settings.providers.items() if what(provider) == own)
