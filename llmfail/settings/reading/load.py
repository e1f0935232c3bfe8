"""From a file and the environment to Settings: the module that puts the parts together.

``load`` is for every command and uses the stored tree when there is one; ``examine`` is for the ``config``
commands and gives lines, overrides and findings as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.errors import Problem, SettingsError
from llmfail.settings.reading import cross_checks, env_override, parsed_cache
from llmfail.settings.reading.env_vars import OVERRIDE_PREFIX
from llmfail.settings.reading.find import ConfigSource, Origin, find, read_text
from llmfail.settings.reading.plain_values import Finding, Place, format_place
from llmfail.settings.reading.validate import ValidationNotes, validate
from llmfail.settings.schema.secret_values import KeySource
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import shape_of
from llmfail.settings.trust import trust
from llmfail.settings.trust.trust_rules import TrustFinding, check_trust_rules


class LoadResult(Struct, frozen=True, kw_only=True):
    """The result for a tree and an environment. ``settings`` is partial when there are findings,
    ``overriding_variables`` has the variable that overrides a place, ``original_texts`` the text of each
    value with references.
    """

    settings: Settings | None
    findings: tuple[Finding, ...]
    overriding_variables: Mapping[Place, str]
    original_texts: Mapping[Place, str]


class ExaminedConfig(Struct, frozen=True, kw_only=True):
    """Everything about a configuration file. ``trust_findings`` are the reasons why it needs trust."""

    source: ConfigSource
    text: str
    tree: object
    lines: Mapping[Place, int]
    result: LoadResult
    trust_findings: tuple[TrustFinding, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.locate(self.result.findings)

    def locate(self, findings: Iterable[Finding]) -> tuple[Problem, ...]:
        """The findings with file and line, in the order of the file; those from the environment come last."""
        problems = (self._locate(place, message) for place, message in findings)
        return tuple(sorted(problems, key=lambda problem: problem.line or len(self.text)))

    def _locate(self, place: Place, message: str) -> Problem:
        above = [place[:length] for length in range(len(place), -1, -1)]
        variable = next(
            (
                self.result.overriding_variables[each]
                for each in above
                if each in self.result.overriding_variables
            ),
            None,
        )
        if variable is not None:
            return Problem(format_place(place), message, f"environment variable {variable}")
        line = next((self.lines[each] for each in above if each in self.lines), 1)
        return Problem(format_place(place), message, str(self.source.path), line)


def load(config: Path | None, environ: Mapping[str, str], cwd: Path, state_dir: Path) -> Settings:
    """The configuration in force. Raises SettingsError with every problem, or UsageError when the file was
    found in the current directory and needs the user's trust.
    """
    source = find(config, environ, cwd)
    text = read_text(source)
    tree = parsed_cache.load_tree(state_dir, source.path, text)
    if tree is not None:
        result = validate_tree(tree, _add_env_file(tree, environ, source), source)
        if result.settings is not None and not result.findings:
            findings = check_trust_rules(source, tree, result.overriding_variables)
            return _mark_trusted(result.settings, source, text, findings, state_dir)
    examined = _examine_source(source, text, environ)
    settings = examined.result.settings or Settings()
    settings = _mark_trusted(settings, source, text, examined.trust_findings, state_dir)
    if examined.problems or examined.result.settings is None:
        raise SettingsError(examined.problems)
    parsed_cache.save_tree(state_dir, source.path, text, examined.tree)
    return settings


def _mark_trusted(
    settings: Settings,
    source: ConfigSource,
    text: str,
    findings: tuple[TrustFinding, ...],
    state_dir: Path,
) -> Settings:
    """Raises UsageError where the file needs trust that it has not got."""
    if source.origin is not Origin.DIRECTORY:
        return settings
    is_trusted = trust.require_trust(source, text, findings, state_dir)
    return replace(settings, source=replace(source, is_trusted=is_trusted))


def examine(config: Path | None, environ: Mapping[str, str], cwd: Path) -> ExaminedConfig:
    """Raises SettingsError only when nothing can be read at all."""
    source = find(config, environ, cwd)
    return _examine_source(source, read_text(source), environ)


def validate_tree(tree: object, environ: Mapping[str, str], source: ConfigSource) -> LoadResult:
    """The settings of a tree in this environment. Reads no file except the schemas that the tree names."""
    notes = ValidationNotes(environ)
    shape = shape_of(Settings)
    overridden = env_override.apply_overrides(shape, tree, notes)
    settings = validate(shape, overridden.tree, (), notes)
    if not isinstance(settings, Settings):
        return _make_result(None, notes, overridden.variables)
    settings = _bind_key_sources(replace(settings, source=source), source)
    notes.problems += cross_checks.check(
        settings, cross_checks.collect_names(overridden.tree), source.path.parent
    )
    return _make_result(settings, notes, overridden.variables)


def _bind_key_sources(settings: Settings, source: ConfigSource) -> Settings:
    keys = (key for one in settings.providers.values() for key in (one.api_key, one.token))
    own = (settings.serve.admin_token, *(one.key for one in settings.serve.keys))
    if not any(isinstance(key, KeySource) for key in (*keys, *own)):
        return settings
    from llmfail.settings.reading.key_sources import bind_key_sources

    return bind_key_sources(settings, source.path.parent)


def _add_env_file(tree: object, environ: Mapping[str, str], source: ConfigSource) -> Mapping[str, str]:
    """The environment, with the variables of the file that the configuration names behind its own. Those that
    would override a configuration are not taken from there. Raises UsageError.
    """
    name = tree.get("env_file") if isinstance(tree, dict) else None
    if not isinstance(name, str) or not name:
        return environ
    from llmfail.settings.reading.key_sources import read_env_file

    found = read_env_file(source.path.parent / Path(name).expanduser())
    return {**{key: one for key, one in found.items() if not key.startswith(OVERRIDE_PREFIX)}, **environ}


def _make_result(
    settings: Settings | None, notes: ValidationNotes, overriding_variables: Mapping[Place, str]
) -> LoadResult:
    return LoadResult(
        settings=settings,
        findings=tuple(notes.problems),
        overriding_variables=overriding_variables,
        original_texts=notes.original_texts,
    )


def _examine_source(source: ConfigSource, text: str, environ: Mapping[str, str]) -> ExaminedConfig:
    from llmfail.settings.reading import yaml_tree

    try:
        document = yaml_tree.parse(text)
    except yaml_tree.UnreadableYaml as error:
        raise SettingsError((Problem("", str(error), str(source.path), error.line),)) from None
    if document.tree is None:
        hint = "is empty; `llmfail config init` writes an example"
        raise SettingsError((Problem("", hint, str(source.path), 1),))
    result = validate_tree(document.tree, _add_env_file(document.tree, environ, source), source)
    result = replace(result, findings=(*document.problems, *result.findings))
    if result.settings is not None and not result.findings:
        result = replace(
            result,
            findings=tuple(cross_checks.check_patterns_and_schemas(result.settings, source.path.parent)),
        )
    return ExaminedConfig(
        source=source,
        text=text,
        tree=document.tree,
        lines=document.lines,
        result=result,
        trust_findings=check_trust_rules(source, document.tree, result.overriding_variables),
    )
