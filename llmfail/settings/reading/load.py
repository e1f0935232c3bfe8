"""From a file and the environment to Settings: the one place that puts the parts together.

``load`` is for every command and takes the short way when the parsed tree is known; ``examine`` is for the
``config`` commands and has lines, overrides and everything else a person may ask about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.errors import Problem, SettingsError
from llmfail.settings.reading import cross_checks, env_override, parsed_cache
from llmfail.settings.reading.find import Source, find, text_of
from llmfail.settings.reading.plain_values import Finding, Place, dotted
from llmfail.settings.reading.validate import Notes, read
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import shape_of
from llmfail.settings.trust import trust
from llmfail.settings.trust.trust_rules import objections


class Reading(Struct, frozen=True, kw_only=True):
    """What a tree and the environment come to. ``settings`` is partial when there are findings, ``by`` has
    the variable that overrides a place, ``written`` the text of each value that had references.
    """

    settings: Settings | None
    findings: tuple[Finding, ...]
    by: Mapping[Place, str]
    written: Mapping[Place, str]


class Examination(Struct, frozen=True, kw_only=True):
    """Everything about a configuration file. ``objections`` are what trust is needed for."""

    source: Source
    text: str
    tree: object
    lines: Mapping[Place, int]
    reading: Reading
    objections: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.located(self.reading.findings)

    def located(self, findings: Iterable[Finding]) -> tuple[Problem, ...]:
        """The findings with file and line, in the order of the file; what the environment set comes last."""
        problems = (self._located(place, message) for place, message in findings)
        return tuple(sorted(problems, key=lambda problem: problem.line or len(self.text)))

    def _located(self, place: Place, message: str) -> Problem:
        above = [place[:length] for length in range(len(place), -1, -1)]
        variable = next((self.reading.by[each] for each in above if each in self.reading.by), None)
        if variable is not None:
            return Problem(dotted(place), message, f"environment variable {variable}")
        line = next((self.lines[each] for each in above if each in self.lines), 1)
        return Problem(dotted(place), message, str(self.source.path), line)


def load(config: Path | None, environ: Mapping[str, str], cwd: Path, state_dir: Path) -> Settings:
    """The configuration in force. Raises SettingsError with every problem, or UsageError when the file was
    found in the current directory and needs trust that it has not got.
    """
    source = find(config, environ, cwd)
    text = text_of(source)
    tree = parsed_cache.recall(state_dir, source.path, text)
    if tree is not None:
        reading = build(tree, environ, source)
        if reading.settings is not None and not reading.findings:
            trust.require(source, text, objections(source, tree, reading.by), state_dir)
            return reading.settings
    examination = _examine(source, text, environ)
    trust.require(source, text, examination.objections, state_dir)
    if examination.problems or examination.reading.settings is None:
        raise SettingsError(examination.problems)
    parsed_cache.remember(state_dir, source.path, text, examination.tree)
    return examination.reading.settings


def examine(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Examination:
    """Raises SettingsError only when nothing at all can be read."""
    source = find(config, environ, cwd)
    return _examine(source, text_of(source), environ)


def build(tree: object, environ: Mapping[str, str], source: Source) -> Reading:
    """What a tree means under this environment. Reads no file but the schemas that the tree names."""
    notes = Notes(environ)
    shape = shape_of(Settings)
    overridden = env_override.apply(shape, tree, notes)
    settings = read(shape, overridden.tree, (), notes)
    if not isinstance(settings, Settings):
        return _reading(None, notes, overridden.by)
    settings = replace(settings, source=source)
    notes.problems += cross_checks.check(settings, cross_checks.known(overridden.tree), source.path.parent)
    return _reading(settings, notes, overridden.by)


def _reading(settings: Settings | None, notes: Notes, by: Mapping[Place, str]) -> Reading:
    return Reading(settings=settings, findings=tuple(notes.problems), by=by, written=notes.written)


def _examine(source: Source, text: str, environ: Mapping[str, str]) -> Examination:
    from llmfail.settings.reading import yaml_tree

    try:
        document = yaml_tree.parse(text)
    except yaml_tree.Unreadable as error:
        raise SettingsError((Problem("", str(error), str(source.path), error.line),)) from None
    if document.tree is None:
        hint = "is empty; `llmfail config init` writes an example"
        raise SettingsError((Problem("", hint, str(source.path), 1),))
    reading = build(document.tree, environ, source)
    reading = replace(reading, findings=(*document.problems, *reading.findings))
    if reading.settings is not None and not reading.findings:
        reading = replace(reading, findings=tuple(cross_checks.closely(reading.settings, source.path.parent)))
    return Examination(
        source=source,
        text=text,
        tree=document.tree,
        lines=document.lines,
        reading=reading,
        objections=objections(source, document.tree, reading.by),
    )
