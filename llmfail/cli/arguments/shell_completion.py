"""What a shell offers behind an option or a command: names of the configuration, and ids of what is stored.

A shell asks while somebody types, so only what is needed is imported, and whatever goes wrong offers nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from llmfail.cli.arguments.global_options import GlobalOptions
    from llmfail.client.blocking import Client
    from llmfail.settings.schema.settings import Settings

    Names = Iterable[str | tuple[str, str]]


class TypedLine(Protocol):
    """Typer's context of a line that is being typed."""

    params: dict[str, Any]
    meta: dict[str, Any]

    def find_root(self) -> TypedLine: ...


Offers = list[str | tuple[str, str]]
"""What a shell is offered: names, some with a word about them."""
Complete = Callable[..., Offers]

TYPED_OPTIONS_KEY = "llmfail.typed_options"
"""Where the options of the program that stand behind the command are found in ``ctx.meta``."""
MAX_IDS = 50
"""How many ids are offered, the newest first."""
EXPECTATIONS = ("json", "nonempty", "complete", "regex:")


def complete_features(ctx: TypedLine) -> Offers:
    def find(settings: Settings) -> Names:
        for name, feature in settings.features.items():
            yield name, "" if feature.primary is None else str(feature.primary)
            yield from ((alias, f"alias of {name}") for alias in feature.aliases)

    return _from_settings(ctx, find)


def complete_targets(ctx: TypedLine) -> Offers:
    return _from_settings(ctx, lambda settings: map(str, settings.list_targets()))


def complete_providers_and_targets(ctx: TypedLine) -> Offers:
    return _from_settings(ctx, lambda settings: [*settings.providers, *map(str, settings.list_targets())])


def complete_templates(ctx: TypedLine) -> Offers:
    return _from_settings(ctx, lambda settings: settings.templates)


def complete_estimate_scenarios(ctx: TypedLine) -> Offers:
    from llmfail.core.reports.scenario import DEFAULT_SCENARIOS

    outages = _from_settings(ctx, lambda settings: [f"outage:{name}" for name in settings.providers])
    return [*DEFAULT_SCENARIOS, "actual", *outages]


def complete_drill_scenarios() -> Offers:
    from llmfail.drill.scenarios import SCENARIOS

    return list(SCENARIOS)


def complete_groupings() -> Offers:
    from llmfail.core.pricing.usage_report import GROUPINGS

    return list(GROUPINGS)


def complete_expectations() -> Offers:
    return list(EXPECTATIONS)


def complete_log_ids(ctx: TypedLine) -> Offers:
    def find(client: Client) -> Names:
        for entry in client.log(MAX_IDS):
            outcome = "answered" if entry.get("ok") else "failed"
            yield str(entry["id"]), f"{entry.get('at')} {entry.get('feature')} {outcome}"

    return _from_client(ctx, find)


def complete_queue_ids(ctx: TypedLine) -> Offers:
    return _from_client(ctx, lambda client: [(item.id, item.feature) for item in client.queue.items()])


ASK_OPTION_COMPLETIONS: dict[str, Complete] = {
    "feature": complete_features,
    "model": complete_targets,
    "template": complete_templates,
    "expect": complete_expectations,
}
"""For the options of an ask, by their names."""


def _from_settings(ctx: TypedLine, find: Callable[[Settings], Names]) -> Offers:
    def load_and_find(options: GlobalOptions) -> Names:
        from llmfail.cli.arguments.global_options import current_directory
        from llmfail.settings import load

        return find(load(options.config, os.environ, current_directory(), options.state_dir))

    return _offer(ctx, load_and_find)


def _from_client(ctx: TypedLine, find: Callable[[Client], Names]) -> Offers:
    def open_and_find(options: GlobalOptions) -> Names:
        from llmfail.client.blocking import Client

        with Client(options.config, state_dir=options.state_dir, warn=lambda _text: None) as client:
            return list(find(client))

    return _offer(ctx, open_and_find)


def _offer(ctx: TypedLine, find: Callable[[GlobalOptions], Names]) -> Offers:
    try:
        return list(find(_parse_options(ctx)))
    except Exception:  # noqa: BLE001 - a shell has no place for an error; there is nothing to offer
        return []


def _parse_options(ctx: TypedLine) -> GlobalOptions:
    """The options of the program as far as the line has them: no command has run yet."""
    from llmfail.cli.arguments.global_options import parse_global_options

    typed: dict[str, Any] = {**ctx.find_root().params, **ctx.meta.get(TYPED_OPTIONS_KEY, {})}
    return parse_global_options(typed.get("config"), typed.get("state_dir"), 0, quiet=True)


def find_typed_words(environ: Mapping[str, str]) -> Sequence[str]:
    """The words of the line that a shell wants to complete."""
    return (environ.get("COMP_WORDS") or environ.get("_TYPER_COMPLETE_ARGS") or "").split()
