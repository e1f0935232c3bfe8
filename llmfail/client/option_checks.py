"""The value of an option as a caller writes it, checked and converted by its kind; what is wrong with it is
told under the option's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

import msgspec

from llmfail.core.conversation import Attachment, GenerationOptions, Opaque, Tool, ToolChoice
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.request.ask_options import OptionKind
from llmfail.core.request.expectation import Expectation
from llmfail.settings.schema.quantity import LONGEST_DURATION_SECONDS, parse_seconds

MAX_ID_LENGTH = 256
"""Characters of the id of a user or a session."""
MAX_COST_USD = 1_000_000
MAX_TEMPERATURE = 2.0
"""As in the configuration."""


def check_option(kind: OptionKind, name: str, value: object) -> Any:  # noqa: ANN401 - of the type that its kind has
    """Raises UsageError for a value that cannot be meant."""
    return _CHECKS[kind](name, value)


def target_of(written: Target | str) -> Target:
    """Raises UsageError for a text that is no target."""
    (target,) = _targets("target", written)
    return target


def to_pico_usd(name: str, usd: object) -> int:
    """Whole pico-dollars; a float is taken for what it prints as. Raises UsageError."""
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MAX_COST_USD:
        raise UsageError(f"{name} is an amount of 0 to {MAX_COST_USD:,} US dollars, got {usd!r}")
    return int(amount * PICO_PER_DOLLAR)


def read_id(name: str, written: str) -> str:
    """Without white space around it, with which one id would be two that look alike."""
    found = written.strip()
    if not 0 < len(found) <= MAX_ID_LENGTH:
        raise UsageError(f"{name} is a text of 1 to {MAX_ID_LENGTH} characters, got {len(found)}")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is a text that UTF-8 can encode") from None
    return found


def read_ref(ref: Any) -> Any:  # noqa: ANN401 - the caller's own
    """What the receipt is to carry, as long as one that has it can be kept: nobody pays for an answer whose
    receipt cannot.
    """
    try:
        msgspec.json.encode(ref)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise UsageError("ref is a text or a number that JSON can carry") from None
    return ref


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise UsageError(f"{name} is a text, got {type(value).__name__}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise UsageError(f"{name} is a text or a list of texts, got {value!r}")


def read_expectation(texts: Iterable[str]) -> Expectation:
    from llmfail.core.request.expectation import merge, parse

    expected = Expectation()
    for one in texts:
        try:
            expected = merge(expected, parse(one))
        except ValueError as error:
            raise UsageError(f"expect: {error}") from None
    return expected


def _targets(name: str, value: object) -> tuple[Target, ...]:
    written = [value] if isinstance(value, str | Target) else value
    if not isinstance(written, Iterable):
        raise UsageError(f"{name} is a target or a list of targets, got {value!r}")
    try:
        return tuple(one if isinstance(one, Target) else Target.parse(_text(name, one)) for one in written)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _pairs(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} is a mapping of names to values, got {value!r}")
    return {_text(f"a name in {name}", key): str(one) for key, one in value.items()}


def _schema(name: str, value: object) -> Mapping[str, Any]:
    """A schema that is none would reject every answer, once it is paid for."""
    from llmfail.core.request.expectation import find_problem

    if not isinstance(value, Mapping):
        raise UsageError(f"{name} is a JSON Schema as a mapping, got {type(value).__name__}")
    if (problem := find_problem(Expectation(schema=value))) is not None:
        raise UsageError(problem)
    return value


def _attachments(name: str, value: object) -> tuple[Attachment, ...]:
    from llmfail.client.attachment_files import load_attachment

    if isinstance(value, str | os.PathLike | Attachment) or not isinstance(value, Iterable):
        raise UsageError(f"{name} is a list of files or Attachments, got {value!r}")
    found = []
    for one in value:
        if not isinstance(one, Attachment | str | os.PathLike):
            raise UsageError(f"one of {name} is a file or an Attachment, got {one!r}")
        found.append(one if isinstance(one, Attachment) else load_attachment(one))
    return tuple(found)


def _count(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LONGEST_DURATION_SECONDS:
        return value
    raise UsageError(
        f"{name} must be a number above 0 and at most {LONGEST_DURATION_SECONDS:.0f}, got {value!r}"
    )


def _number(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_TEMPERATURE:
        return value
    raise UsageError(f"{name} is a number from 0 to {MAX_TEMPERATURE:g}, got {value!r}")


def _duration(name: str, value: object, *, zero: bool = False) -> float:
    try:
        return parse_seconds(value, zero=zero)
    except ValueError as error:
        raise UsageError(f"{name}: {error}, got {value!r}") from None


def _duration_or_zero(name: str, value: object) -> float:
    return _duration(name, value, zero=True)


def _hedge_delay(name: str, value: object) -> float | Literal["p95"]:
    try:
        return "p95" if value == "p95" else _duration(name, value)
    except UsageError as error:
        raise UsageError(f"{error}; or p95") from None


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise UsageError(f"{name} is True or False, got {value!r}")


def _generation_options(name: str, value: object) -> GenerationOptions:
    """Each with the limits that the configuration has; texts are read as there."""
    if isinstance(value, GenerationOptions):
        return value
    from llmfail.client.generation_options import read_generation_options

    return read_generation_options(name, value)


def _tools(_name: str, value: object) -> tuple[Tool | Opaque, ...]:
    from llmfail.providers.dialects.request_document import read_tools

    return read_tools(value)


def _tool_choice(name: str, value: object) -> ToolChoice:
    if isinstance(value, ToolChoice):
        return value
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    return ToolChoice("named", _text(name, value))


_CHECKS: Final[Mapping[OptionKind, Callable[[str, object], Any]]] = {
    "text": _text,
    "texts": _texts,
    "targets": _targets,
    "pairs": _pairs,
    "schema_file": _schema,
    "attached_files": _attachments,
    "count": _count,
    "number": _number,
    "duration": _duration,
    "duration_or_zero": _duration_or_zero,
    "hedge_delay": _hedge_delay,
    "dollars": to_pico_usd,
    "flag": _flag,
    "generation_options": _generation_options,
    "tools_file": _tools,
    "tool_choice": _tool_choice,
}
