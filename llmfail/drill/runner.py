"""The whole drill: which features, which scenes, in which order. Yields what each scene showed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.drill.scenario_run import (
    DRILL_PROMPT,
    DrillContext,
    ScenarioRun,
    ScenarioSubject,
    draw_middle,
    open_context,
)
from llmfail.drill.scenarios import SCENARIOS, ScenarioResult
from llmfail.engine.engine import Engine
from llmfail.engine.ports.blocking import build_blocking_ports
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.protocols import Stores
from llmfail.settings.schema.provider_types import Provider
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature
from llmfail.store.memory import MemoryStore

HEALTHY_SCENARIO = "healthy"
"""The scene without which there are no others."""


def select_features(settings: Settings, names: Iterable[str]) -> tuple[Feature, ...]:
    """The features by name or alias, each once; all of them without names. Raises UnknownName."""
    chosen = [settings.find_feature(name) for name in names] or settings.features.values()
    return tuple({feature.name: feature for feature in chosen}.values())


def select_scenarios(names: Sequence[str]) -> tuple[str, ...]:
    """The scenes by name, in the order of the story; all of them without names. Raises UsageError."""
    for name in names:
        if name not in SCENARIOS:
            from difflib import get_close_matches

            near = get_close_matches(name, SCENARIOS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"there is no scenario {name!r}{meant} (there are: {', '.join(SCENARIOS)})")
    return tuple(name for name in SCENARIOS if name in names or not names)


def run_scenarios(
    settings: Settings, features: Iterable[Feature], scenarios: Sequence[str]
) -> Iterator[ScenarioResult]:
    """Every scene of every feature."""
    with open_context(settings) as house:
        for feature in features:
            try:
                cast = build_subject(settings, house, feature)
            except UsageError as error:
                yield _report_no_target(feature, scenarios, str(error))
            else:
                yield from _run_feature(house, cast, scenarios)


def build_subject(settings: Settings, context: DrillContext, feature: Feature) -> ScenarioSubject:
    """``settings`` are the user's own, with the real addresses. Raises UsageError for a feature without any
    target.
    """
    idle = replace(
        build_blocking_ports(context.wire, Stores(MemoryStore(time.time)), context.catalogue),
        random=draw_middle,
    )
    ask = Ask(to_messages(DRILL_PROMPT), feature=feature.name)
    steps = run_sync(Engine(context.settings, idle).plan(ask)).steps
    chain = tuple(step.target for step in steps)
    outage = _list_similar_providers(settings, chain[0], lambda provider: provider.address)
    same_key = _list_similar_providers(
        settings, chain[0], lambda provider: provider.credential_identity or provider.name
    )
    return ScenarioSubject(feature, chain, outage, same_key, settings.breaker_rules_of(chain[0]))


def find_missing_keys(settings: Settings, features: Iterable[Feature]) -> tuple[str, ...]:
    """What the providers of these features lack, and the simulator does not ask for."""
    chains = (settings.chain_of(feature) for feature in features)
    providers = dict.fromkeys(settings.provider_of(link.target).name for chain in chains for link in chain)
    found = (settings.providers[name].missing_credential_hint for name in providers)
    return tuple(dict.fromkeys(lack.removeprefix("set ") for lack in found if lack is not None))


def _run_feature(
    context: DrillContext, subject: ScenarioSubject, scenarios: Sequence[str]
) -> Iterator[ScenarioResult]:
    """A feature that does not work on a healthy day shows that first, and nothing else."""
    feature = subject.feature.name
    for name in dict.fromkeys((HEALTHY_SCENARIO, *scenarios)):
        play = ScenarioRun(context, subject)
        scene = replace(
            SCENARIOS[name](play), feature=feature, requests={subject.primary: 0, **play.requests}
        )
        if name == HEALTHY_SCENARIO and not scene.ok:
            yield replace(scene, name=scenarios[0])
            return
        if name in scenarios:
            yield replace(scene, name=name)


def _report_no_target(feature: Feature, scenarios: Sequence[str], reason: str) -> ScenarioResult:
    return ScenarioResult(
        ok=False,
        expected="a target",
        observed="none",
        summary=reason,
        feature=feature.name,
        name=scenarios[0],
    )


def _list_similar_providers(
    settings: Settings, target: Target, trait_of: Callable[[Provider], object]
) -> tuple[str, ...]:
    """The provider of a target, and every other that has the same of something."""
    own = trait_of(settings.provider_of(target))
    return tuple(name for name, provider in settings.providers.items() if trait_of(provider) == own)
