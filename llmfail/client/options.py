"""An Ask from what a caller writes: each option is checked by its kind in the table of options, and what is
wrong is told in the caller's terms.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeVar, Unpack

from llmfail.core.conversation import (
    NO_OPTIONS,
    OPTION_NAMES,
    Attachment,
    GenerationOptions,
    Message,
    Opaque,
    Tool,
    ToolChoice,
    merge_options,
)
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.ask_options import (
    ASK_OPTIONS,
    OptionKind,
    Options,
    explain_contradiction,
)
from llmfail.core.request.expectation import Expectation
from llmfail.settings.schema.scalars import LONGEST_DURATION_SECONDS, parse_seconds

MAX_USER_LENGTH = 256
"""Characters of a user's id."""
MAX_COST_USD = 1_000_000
MAX_TEMPERATURE = 2.0
"""As in the configuration."""
Prompt = str | Sequence[Message | Mapping[str, Any]] | Mapping[str, Any]
"""A text, or a conversation, whose messages may be written as the APIs of OpenAI and Anthropic have them, or
a whole request to one of these.
"""
KINDS: Final[Mapping[str, OptionKind]] = {
    option.keyword or option.name: option.kind for option in ASK_OPTIONS if option.scope != "command line"
}
_F = TypeVar("_F", bound=Callable[..., Any])


def ask_of(prompt: Prompt, **options: Unpack[Options]) -> Ask:
    """Raises UsageError for a value that cannot be meant, TypeError for an option that does not exist."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    ref = given.pop("ref", None)
    for name in given:
        if name not in KINDS:
            raise TypeError(_explain_unknown(name))
    values = {name: _CHECKS[KINDS[name]](name, value) for name, value in given.items()}
    if contradiction := explain_contradiction(values, str):
        raise UsageError(contradiction)
    messages, document = _read_prompt(prompt, values.pop("attachments", ()))
    if "system" in values and document.get("system"):
        raise UsageError("say the system prompt as an option or as a message, not both")
    if "user" in values:
        values["user"] = _read_user(values["user"])
    if "expect" in values:
        values["expect"] = _read_expectation(values["expect"])
    renamed = {_ASK_FIELDS.get(name, name): value for name, value in values.items()}
    renamed = {**document, **renamed}
    if "options" in renamed:
        renamed["options"] = merge_options(document.get("options", NO_OPTIONS), renamed["options"])
    no_cache, refresh = renamed.pop("no_cache", False), renamed.pop("refresh", False)
    return Ask(
        messages,
        ref=ref,
        cache="off" if no_cache else "refresh" if refresh else "use",
        fallback=not renamed.pop("no_fallback", False),
        **renamed,
    )


def embed_ask_of(texts: Sequence[str], options: Options) -> Ask:
    """One message for each text, of which vectors are wanted. Raises UsageError."""
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"what is embedded is a text, got {type(text).__name__}")
    return ask_of([Message("user", text) for text in texts], **options)


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


def show_options(command: str) -> Callable[[_F], _F]:
    """Put the options that this command has into the docstring of its method, where ``help`` shows them."""

    def show(method: _F) -> _F:
        rows = [
            f"{' ' * 12}{option.keyword or option.name}: {option.help}"
            for option in ASK_OPTIONS
            if command in option.commands and option.scope != "command line"
        ]
        if method.__doc__:
            # Indented as a docstring within a class is, so that its indentation can be taken away.
            head = f"\n\n{' ' * 8}Options, as the command line has them:\n"
            method.__doc__ = method.__doc__.rstrip() + head + "\n".join(rows)
        return method

    return show


_ASK_FIELDS: Final = {"model": "targets", "params": "parameters"}
"""What an option is called in an Ask, where that is another name."""


def _explain_unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, KINDS, 1)
    return f"there is no option {name!r}" + (f"; did you mean {near[0]}?" if near else "")


def _read_prompt(
    prompt: Prompt, attachments: tuple[Attachment, ...]
) -> tuple[tuple[Message, ...], Mapping[str, Any]]:
    """The messages, and what a whole request says besides."""
    if isinstance(prompt, str):
        return to_messages(prompt, *attachments), {}
    from llmfail.providers.dialects.request_document import read_request

    read = read_request(prompt)
    fields = {name: _check_field(name, value) for name, value in read.fields.items() if value is not None}
    if not attachments:
        return read.messages, fields
    if not read.messages or read.messages[-1].role != "user":
        raise UsageError("attachments go with what the user says last")
    *earlier, last = read.messages
    return (*earlier, Message("user", (*attachments, *last.parts))), fields


def _check_field(name: str, value: Any) -> object:  # noqa: ANN401 - whatever a request says
    """A field of a whole request, held against the same rules as an option."""
    if name == "options":
        said = {key: one for key in OPTION_NAMES if (one := getattr(value, key)) is not None}
        return _generation_options(name, said) if said else NO_OPTIONS
    is_judged = name in KINDS and name != "system"
    return _CHECKS[KINDS[name]](name, value) if is_judged else value


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


def _read_expectation(texts: Iterable[str]) -> Expectation:
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


def _read_user(user: str) -> str:
    """Without white space around it, with which one user would be two that look alike."""
    found = user.strip()
    if not 0 < len(found) <= MAX_USER_LENGTH:
        raise UsageError(f"user is a text of 1 to {MAX_USER_LENGTH} characters, got {len(found)}")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise UsageError("user is a text that UTF-8 can encode") from None
    return found
