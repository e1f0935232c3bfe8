"""Which target a text means that somebody typed: its whole name, or the name of its model alone."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.settings.schema.settings import Settings

MAX_SUGGESTIONS = 3


def find_target(settings: Settings, text: str) -> Target:
    """A bare model name stands for the only target of the configuration that has it. Raises UsageError, with
    the nearest names, for what is no target.
    """
    if "/" in text:
        try:
            return Target.parse(text)
        except ValueError as error:
            raise UsageError(str(error)) from None
    targets = settings.list_targets()
    found = [target for target in targets if target.model == text]
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"{text!r} is no target, which is written provider/model{_suggest(settings, text, found)}"
    )


def suggest_targets(settings: Settings, text: str) -> str:
    """The nearest target of the configuration as the end of a sentence, or nothing."""
    names = {name: str(target) for target in settings.list_targets() for name in (target.model, str(target))}
    near = get_close_matches(text, names, 1) or get_close_matches(text.partition("/")[2], names, 1)
    return f"; did you mean {names[near[0]]}?" if near else ""


def _suggest(settings: Settings, text: str, found: Iterable[Target]) -> str:
    if found:
        return f"; it is at several: {', '.join(map(str, found))}"
    if text in settings.providers:
        own = [str(target) for target in settings.list_targets() if target.provider == text]
        return f": {', '.join(own[:MAX_SUGGESTIONS])}" if own else f": {text}/MODEL"
    return suggest_targets(settings, text) or "; `llmfail models` lists those of the configuration"
