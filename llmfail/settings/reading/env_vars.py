"""What a configuration takes from the environment: ``${NAME}`` in its texts, and LLMFAIL_ overrides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from llmfail.settings.reading.plain_values import FromEnvironment

OVERRIDE_PREFIX: Final = "LLMFAIL_"
ADMIN_TOKEN_VARIABLE: Final = "LLMFAIL_ADMIN_TOKEN"  # noqa: S105 - its name, not its value
WEBHOOK_VARIABLE: Final = "LLMFAIL_WEBHOOK_SECRET"
"""Signs what goes to the webhook, and is used for nothing where there is none."""
RESERVED_VARIABLES: Final = frozenset(
    {"LLMFAIL_CONFIG", "LLMFAIL_STATE_DIR", "LLMFAIL_VERSION", ADMIN_TOKEN_VARIABLE, WEBHOOK_VARIABLE}
)
REFERENCE_PATTERN: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\$\{[^}]*\}?)")
"""An escape, a reference with its default, or a malformed reference."""


class UnsetVariable(LookupError):
    """A variable without a value and without a default."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with its references replaced, as FromEnvironment when there was one. ``$${`` stands for
    ``${``. Raises UnsetVariable, or ValueError for a malformed reference.
    """
    names: list[str] = []

    def value_of(found: re.Match[str]) -> str:
        name, default, broken = found.groups()
        if broken:
            raise ValueError("a reference is written ${NAME} or ${NAME:-default}; write $${ for a literal ${")
        if name is None:
            return "${"
        names.append(name)
        value = environ.get(name) or default
        if value is None and name not in environ:
            raise UnsetVariable(name)
        return value or ""

    expanded = REFERENCE_PATTERN.sub(value_of, text)
    return FromEnvironment(expanded, f"${{{names[0]}}}") if names else expanded


def find_variables(text: str) -> Iterator[str]:
    """The variables that a text refers to."""
    return (found[1] for found in REFERENCE_PATTERN.finditer(text) if found[1])


def variable_of(text: object) -> str | None:
    """The variable of a text that is one reference, ``${NAME}`` or ``${NAME:-default}``; else None."""
    found = REFERENCE_PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    return found[1] if found else None


def find_overrides(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The (variable, value) pairs that override settings, a section before what is inside it."""
    return sorted(
        (name, value)
        for name, value in environ.items()
        if name.upper().startswith(OVERRIDE_PREFIX) and name.upper() not in RESERVED_VARIABLES
    )


def flatten_name(name: object) -> str:
    """A name as a part of a variable's name."""
    return re.sub(r"[^A-Za-z0-9]", "_", str(name)).upper()
