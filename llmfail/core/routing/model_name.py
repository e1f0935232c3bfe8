"""What the ``model`` of a request over HTTP means: a feature, or a target of the caller's own choice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from msgspec import Struct

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.request.ask_options import DEFAULT_FEATURE

MAX_SUGGESTIONS = 3
_GEMINI_PREFIX = "models/"
"""Gemini's own way to write a model."""


class UnknownModel(UsageError):
    """A name that means nothing here, or nothing to whoever asks."""


class ModelNames(Struct, frozen=True):
    """What names mean in one configuration. ``features`` has names and aliases, each with its feature;
    ``models`` what else a program may say, with ``*`` for anything; ``unknown`` is the feature of any other
    name. ``targets`` are those that the configuration names.
    """

    features: Mapping[str, str]
    providers: frozenset[str] = frozenset()
    targets: tuple[Target, ...] = ()
    models: Mapping[str, Target | str] = {}
    unknown: str | None = None


class NamedModel(Struct, frozen=True):
    """What a name means: a feature with its chain, or one target first, by the rules of a feature."""

    feature: str
    target: Target | None = None


def resolve_model(names: ModelNames, written: str, allowed: frozenset[str] = frozenset()) -> NamedModel:
    """``allowed`` are the only features that the caller may use; empty: all, and every target. Raises
    UnknownModel, which names what is near.
    """
    name = written.removeprefix(_GEMINI_PREFIX)
    found = _find(names, name)
    if found is None or not _may_use(names, name, found, allowed):
        raise UnknownModel(_explain(name, list_models(names, allowed), is_known=found is not None))
    return found


def list_models(names: ModelNames, allowed: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The names that a caller may write: features and aliases, and what the configuration adds by name."""
    added = {name: meant for name, meant in names.models.items() if "*" not in name}
    every = dict.fromkeys((*names.features, *added))
    return tuple(name for name in every if _may_use(names, name, _find(names, name), allowed))


def _find(names: ModelNames, name: str) -> NamedModel | None:
    """The first of the ways in which a name may be meant."""
    if name in names.features:
        return NamedModel(names.features[name])
    provider, slash, _ = name.partition("/")
    if slash and provider in names.providers:
        try:
            return NamedModel(DEFAULT_FEATURE, Target.parse(name))
        except ValueError:
            return None
    meant = names.models.get(name) or next(_match(names.models, name), None)
    if meant is not None:
        return _mean(names, meant)
    served = [target for target in names.targets if target.model == name]
    if len(served) == 1:
        return NamedModel(DEFAULT_FEATURE, served[0])
    return None if names.unknown is None else _mean(names, names.unknown)


def _mean(names: ModelNames, meant: Target | str) -> NamedModel:
    if isinstance(meant, Target):
        return NamedModel(DEFAULT_FEATURE, meant)
    return NamedModel(names.features.get(meant, meant))


def _match(models: Mapping[str, Target | str], name: str) -> Iterator[Target | str]:
    """In the order of the configuration."""
    return (meant for pattern, meant in models.items() if "*" in pattern and _matches(name, pattern))


def _matches(name: str, pattern: str) -> bool:
    """Only ``*`` has a meaning of its own."""
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def _may_use(names: ModelNames, name: str, found: NamedModel | None, allowed: frozenset[str]) -> bool:
    """A caller who is held to some features gets no target past them, unless the configuration gives it."""
    if found is None or not allowed:
        return found is not None
    if found.target is None:
        return found.feature in allowed
    is_given = name in names.models or next(_match(names.models, name), None) is not None
    return is_given and found.feature in allowed


def _explain(name: str, known: Iterable[str], *, is_known: bool) -> str:
    names = tuple(known)
    near = get_close_matches(name, names, MAX_SUGGESTIONS, 0.5)
    shown = name if len(name) <= 80 else f"{name[:80]}…"
    what = f"this key may not use the model {shown!r}" if is_known else f"there is no model {shown!r}"
    if near:
        return f"{what}; did you mean {' or '.join(near)}?"
    return f"{what}; there are: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
