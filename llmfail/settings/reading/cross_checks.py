"""How the parts of a configuration fit together: names that must exist, chains that make sense, patterns that
compile, files that exist.

Works on validated values, some of which may be missing, and on ``ConfiguredNames``: the names in the file, so
that an invalid provider does not make every chain with it invalid too.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from llmfail.core.degrade.template import PARAMETER_PATTERN, TEMPLATE_FILE_MARK
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.settings.reading.plain_values import Place
from llmfail.settings.reading.validate import describe_unknown
from llmfail.settings.schema.degrade_steps import CommandStep, RulesStep, TemplateStep
from llmfail.settings.schema.experiment_settings import Experiment
from llmfail.settings.schema.provider_types import Provider
from llmfail.settings.schema.settings import DEFAULT_FEATURE, Settings
from llmfail.settings.schema.types import Expect, Feature

Findings = Iterator[tuple[Place, str]]


class ConfiguredNames(NamedTuple):
    """The names that a file defines."""

    providers: tuple[str, ...]
    features: tuple[str, ...]
    templates: tuple[str, ...]
    rules: tuple[str, ...]


def collect_names(tree: object) -> ConfiguredNames:
    def names(section: str) -> tuple[str, ...]:
        found = tree.get(section) if isinstance(tree, dict) else None
        return tuple(found) if isinstance(found, dict) else ()

    return ConfiguredNames(names("providers"), names("features"), names("templates"), names("rules"))


def check(settings: Settings, names: ConfiguredNames, directory: Path) -> Findings:
    """Every problem, with its place. File names are relative to ``directory``."""
    for name, provider in settings.providers.items():
        yield from _check_provider(("providers", name), provider, names)
    for target in settings.models:
        yield from _check_target(("models", str(target)), target, names)
    for name, feature in settings.features.items():
        yield from _check_feature(("features", name), feature, names, directory)
    yield from _check_aliases(settings.features, names)
    for name, text in settings.templates.items():
        yield from _check_template(("templates", name), text, directory)
    for name, patterns in settings.rules.items():
        for kind, pattern in patterns.items():
            yield from _check_pattern(("rules", name, kind), pattern)
    yield from _check_budgets(settings)
    yield from _check_experiments(settings, names)
    yield from _check_serve(settings, names)
    if settings.timezone is not None:
        yield from _check_timezone(("timezone",), settings.timezone)


def check_patterns_and_schemas(settings: Settings, directory: Path) -> Findings:
    """Check with the libraries that judge answers, for a configuration without a problem: that takes 20 ms,
    too long for every command.
    """
    from llmfail.settings.reading import schema_files

    expected = {name: one.expect for name, one in settings.features.items() if one.expect is not None}
    for name, expect in expected.items():
        try:
            schema_files.load_expectation(expect, directory)
        except UsageError as problem:
            yield ("features", name, "expect"), str(problem)
    for name, patterns in settings.rules.items():
        for kind, pattern in patterns.items():
            yield from _check_regex_limit(("rules", name, kind), pattern)


def _check_provider(at: Place, provider: Provider, names: ConfiguredNames) -> Findings:
    if provider.name in {"all", "none"}:
        yield at, f"a provider cannot be called {provider.name}: the command line has its own meaning for it"
    yield from _check_credentials(at, provider)
    for index, fallback in enumerate(provider.fallbacks):
        place = (*at, "fallbacks", index)
        if isinstance(fallback, Target):
            yield from _check_target(place, fallback, names)
        elif fallback == provider.name:
            yield place, "a provider cannot be its own fallback"
        elif fallback not in names.providers:
            yield place, f"{fallback!r}: {describe_unknown('provider', fallback, names.providers)}"


def _check_credentials(at: Place, provider: Provider) -> Findings:
    if provider.api != "vertex":
        for key in ("token", "project", "location"):
            if getattr(provider, key) is not None:
                yield (*at, key), f"belongs to api: vertex only, and this is {provider.api}"
    if provider.api == "vertex" and provider.api_key is not None:
        yield (*at, "api_key"), "vertex takes `token`, or Google's own credentials; a key is not supported"


def _check_target(at: Place, target: Target, names: ConfiguredNames) -> Findings:
    if target.provider not in names.providers:
        reason = describe_unknown("provider", target.provider, names.providers)
        yield at, f"{str(target)!r}: {reason}"


def _check_feature(at: Place, feature: Feature, names: ConfiguredNames, directory: Path) -> Findings:
    yield from _check_chain(at, feature, names)
    template, place = feature.template, (*at, "template")
    if template is not None and template.startswith(TEMPLATE_FILE_MARK):
        yield from _check_template(place, template, directory)
    elif template is not None and template not in names.templates:
        yield place, f"{template!r}: {describe_unknown('template', template, names.templates)}"
    for index, step in enumerate(feature.degrade):
        place = (*at, "degrade", index)
        if isinstance(step, TemplateStep) and step.template not in names.templates:
            yield place, f"{step.template!r}: {describe_unknown('template', step.template, names.templates)}"
        if isinstance(step, RulesStep) and step.rules not in names.rules:
            yield place, f"{step.rules!r}: {describe_unknown('set of rules', step.rules, names.rules)}"
        if isinstance(step, CommandStep):
            yield from _check_command(place, step)
    if feature.expect is not None:
        yield from _check_expect((*at, "expect"), feature.expect, directory)


def _check_command(at: Place, step: CommandStep) -> Findings:
    if not step.command or not step.command[0]:
        yield at, "a command begins with the name of a program"
    if any("\0" in part for part in step.command):
        yield at, "an argument cannot have a NUL character"


def _check_chain(at: Place, feature: Feature, names: ConfiguredNames) -> Findings:
    if feature.primary is None:
        if feature.fallbacks:
            yield (*at, "fallbacks"), "there is no primary; without both, every usable target may answer"
        return
    yield from _check_target((*at, "primary"), feature.primary, names)
    seen = {feature.primary: "is the primary itself"}
    for index, fallback in enumerate(feature.fallbacks):
        place = (*at, "fallbacks", index)
        yield from _check_target(place, fallback.target, names)
        if fallback.target in seen:
            yield place, f"{fallback.target} {seen[fallback.target]}"
        seen.setdefault(fallback.target, "is listed twice")


def _check_aliases(features: Mapping[str, Feature], names: ConfiguredNames) -> Findings:
    owner = dict.fromkeys(names.features, "the name of a feature")
    for name, feature in features.items():
        for index, alias in enumerate(feature.aliases):
            if alias in owner:
                yield ("features", name, "aliases", index), f"{alias!r} is already {owner[alias]}"
            owner.setdefault(alias, f"an alias of {name}")


def _check_expect(at: Place, expect: Expect, directory: Path) -> Findings:
    if expect.regex is not None:
        yield from _check_pattern((*at, "regex"), expect.regex)
    if expect.schema is not None:
        yield from _check_schema_file((*at, "schema"), expect.schema, directory)


def _check_schema_file(at: Place, name: str, directory: Path) -> Findings:
    from llmfail.settings.reading import schema_files

    try:
        schema_files.read_schema(directory / name)
    except schema_files.InvalidSchemaFile as problem:
        yield at, f"{name!r} {problem}"


def _check_template(at: Place, text: str, directory: Path) -> Findings:
    """The text itself, or that the file that it names is there."""
    if text.startswith(TEMPLATE_FILE_MARK):
        if not (directory / text[1:]).is_file():
            yield at, f"{text[1:]} is no file (names are relative to this one)"
        return
    rest = PARAMETER_PATTERN.sub("", text)
    if "$" in rest:
        after = rest[rest.index("$") + 1 :][:1]
        yield at, f"'$' before {after!r} names no parameter; write $$ for a dollar sign"


def _check_pattern(at: Place, pattern: str) -> Findings:
    try:
        with warnings.catch_warnings(action="ignore"):  # about syntax that a later Python may change
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        from llmfail.core.one_line import one_line

        yield at, f"is not a regular expression: {one_line(str(error))}"


def _check_regex_limit(at: Place, pattern: str) -> Findings:
    from llmfail.core.request.regex_limit import check_pattern

    try:
        check_pattern(pattern)
    except ValueError as error:
        yield at, str(error)


def _check_budgets(settings: Settings) -> Findings:
    names = Counter(budget.name for budget in settings.budgets)
    for index, budget in enumerate(settings.budgets):
        if names[budget.name] > 1:
            yield ("budgets", index, "name"), f"{names[budget.name]} budgets are called {budget.name!r}"
        if budget.unit != "usd" and budget.limit != int(budget.limit):
            yield ("budgets", index, "limit"), f"a number of {budget.unit} is whole: {budget.limit}"
        if budget.timezone is not None:
            yield from _check_timezone(("budgets", index, "timezone"), budget.timezone)


def _check_experiments(settings: Settings, names: ConfiguredNames) -> Findings:
    seen = Counter(one.name for one in settings.experiments)
    endless: dict[str, str] = {}
    for index, experiment in enumerate(settings.experiments):
        at: Place = ("experiments", index)
        if seen[experiment.name] > 1:
            yield (*at, "name"), f"{seen[experiment.name]} experiments are called {experiment.name!r}"
        if experiment.feature not in {*names.features, DEFAULT_FEATURE}:
            reason = describe_unknown("feature", experiment.feature, names.features)
            yield (*at, "feature"), f"{experiment.feature!r}: {reason}"
        if experiment.feature in endless:
            earlier = endless[experiment.feature]
            yield at, f"never begins: {earlier} of the same feature is never over; give it `until`"
        if experiment.until is None:
            endless.setdefault(experiment.feature, experiment.name)
        yield from _check_arms((*at, "arms"), experiment, names)


def _check_arms(at: Place, experiment: Experiment, names: ConfiguredNames) -> Findings:
    for index, arm in enumerate(experiment.arms):
        yield from _check_target((*at, index), arm.target, names)
    if len(experiment.weights) < len(experiment.arms):
        yield at, "a target is listed twice"
    if sum(weight > 0 for weight in experiment.weights.values()) < 2:
        yield at, "there is nothing to compare: at least two arms have a weight above 0"


def _check_timezone(at: Place, name: str) -> Findings:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        yield at, f"{name!r} is no time zone such as Europe/Berlin or UTC"


def _check_serve(settings: Settings, names: ConfiguredNames) -> Findings:
    """What a program's ``model`` may mean, and with which keys it may ask."""
    serve = settings.serve
    aliases = (alias for one in settings.features.values() for alias in one.aliases)
    known = tuple(dict.fromkeys((*names.features, *settings.features, *aliases)))
    for pattern, meant in serve.models.items():
        at: Place = ("serve", "models", pattern)
        if isinstance(meant, Target):
            yield from _check_target(at, meant, names)
        elif meant not in known:
            yield at, f"{meant!r}: {describe_unknown('feature', meant, known)}"
    if serve.unknown_model != "refuse" and serve.unknown_model not in known:
        reason = describe_unknown("feature", serve.unknown_model, known)
        yield ("serve", "unknown_model"), f"{serve.unknown_model!r}: {reason} (or refuse)"
    counts = Counter(key.name for key in serve.keys)
    for index, key in enumerate(serve.keys):
        place: Place = ("serve", "keys", index)
        if counts[key.name] > 1:
            yield (*place, "name"), f"{counts[key.name]} keys are called {key.name!r}"
        if key.written != 1:
            yield place, "a key has `key` or `sha256`, and not both"
        for number, feature in enumerate(key.features):
            if feature not in known:
                yield (
                    (*place, "features", number),
                    f"{feature!r}: {describe_unknown('feature', feature, known)}",
                )
