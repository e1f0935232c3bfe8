"""Texts with parameters: ``$name`` or ``${name}``; ``$$`` is a dollar sign.

A template is filled in one pass: a value is put in as it is, whatever it contains. A dollar sign that begins
no parameter stays; the configuration refuses templates with one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from llmfail.core.errors import UsageError

PARAMETER_PATTERN = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
"""The escape, a parameter, a parameter in braces."""
TEMPLATE_FILE_MARK = "@"
"""What begins the name of a file in the place of a template's."""
BUILT_IN_PARAMETERS = ("prompt", "feature")
"""Parameters that the caller does not pass, because llmfail knows them."""


class MissingParameter(Exception):
    """Parameters without a value: ``names``, each once, in the order of the template."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"without a value: {', '.join(self.names)}")


def parameter_names(template: str) -> frozenset[str]:
    """The parameters that a template uses."""
    return frozenset(_list_parameters(template))


def fill(template: str, parameters: Mapping[str, str]) -> str:
    """The text. Raises MissingParameter."""
    missing = [name for name in _list_parameters(template) if name not in parameters]
    if missing:
        raise MissingParameter(missing)
    return PARAMETER_PATTERN.sub(
        lambda found: "$" if found[1] else parameters[found[2] or found[3]], template
    )


def build_prompt(
    name: str,
    template: str,
    built_in: Mapping[str, str],
    parameters: Mapping[str, str],
    known: Collection[str],
) -> str:
    """The prompt of a filled template. ``built_in`` has the ``BUILT_IN_PARAMETERS``; ``$prompt`` is the
    caller's prompt, which follows after a blank line when the template does not use it. ``known`` are
    parameters that other texts of the feature use. Raises UsageError for a missing or an unknown parameter.
    """
    wanted, prompt = parameter_names(template), built_in["prompt"]
    for parameter in parameters:
        check_parameter(parameter, f"template {name}", wanted, known)
    if "prompt" in wanted and not prompt.strip():
        raise UsageError(f"template {name} needs a prompt: the argument, or standard input")
    try:
        text = fill(template, {**parameters, **built_in})
    except MissingParameter as missing:
        needs = " and ".join(f"-p {parameter}=…" for parameter in missing.names)
        raise UsageError(f"template {name} needs {needs}") from None
    if "prompt" not in wanted:
        text = "\n\n".join(part for part in (text.rstrip("\n"), prompt) if part.strip())
    if not text.strip():
        raise UsageError(f"template {name} comes to an empty prompt")
    return text


def check_parameter(parameter: str, place: str, wanted: Collection[str], known: Collection[str]) -> None:
    """Raises UsageError for a parameter that no text uses; ``place`` is where it might have been used."""
    if parameter in BUILT_IN_PARAMETERS:
        raise UsageError(f"-p {parameter}=…: ${parameter} is built in and cannot be set")
    if parameter in wanted or parameter in known:
        return
    from difflib import get_close_matches

    own = [other for other in (*sorted(wanted), *sorted(known)) if other not in BUILT_IN_PARAMETERS]
    near = get_close_matches(parameter, own, n=1)
    hint = f"did you mean {near[0]}?" if near else f"its parameters: {', '.join(own) or 'none'}"
    verb = "has" if place.startswith("template") else "have"
    raise UsageError(f"{place} {verb} no parameter {parameter!r}; {hint}")


def _list_parameters(template: str) -> dict[str, None]:
    """The parameters in their order, each once."""
    found = (each[2] or each[3] for each in PARAMETER_PATTERN.finditer(template) if not each[1])
    return dict.fromkeys(found)
