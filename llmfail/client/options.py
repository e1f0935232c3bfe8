"""An Ask from what a caller writes: each option is checked by its kind in the table of options, and what is
wrong is told in the caller's terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, Unpack

from llmfail.client.option_checks import check_option, read_expectation, read_id, read_ref
from llmfail.core.conversation import (
    NO_OPTIONS,
    OPTION_NAMES,
    Attachment,
    Message,
    merge_options,
)
from llmfail.core.errors import UsageError
from llmfail.core.request.ask import Ask, RequestDocument, to_messages
from llmfail.core.request.ask_options import (
    ASK_OPTIONS,
    OptionKind,
    Options,
    explain_contradiction,
)

Prompt: TypeAlias = str | Sequence[Message | Mapping[str, Any]] | Mapping[str, Any] | RequestDocument
"""A text, or a conversation, whose messages may be written as the APIs of OpenAI and Anthropic have them, or
a whole request to one of these, which may have been read already.
"""
KINDS: Final[Mapping[str, OptionKind]] = {
    option.keyword or option.name: option.kind for option in ASK_OPTIONS if option.scope != "command line"
}
_F = TypeVar("_F", bound=Callable[..., Any])


def ask_of(prompt: Prompt, **options: Unpack[Options]) -> Ask:
    """Raises UsageError for a value that cannot be meant, TypeError for an option that does not exist."""
    said = _check_options({name: value for name, value in options.items() if value is not None})
    messages, document = _read_prompt(prompt, said.pop("attachments", ()))
    if "system" in said and document.get("system"):
        raise UsageError("say the system prompt as an option or as a message, not both")
    if "options" in said and "options" in document:
        said["options"] = merge_options(document["options"], said["options"])
    no_cache, refresh = said.pop("no_cache", False), said.pop("refresh", False)
    fallback = not said.pop("no_fallback", False)
    cache: Literal["use", "refresh", "off"] = "off" if no_cache else "refresh" if refresh else "use"
    return Ask(messages, cache=cache, fallback=fallback, **{**document, **said})


def _check_options(given: dict[str, Any]) -> dict[str, Any]:
    """Each as its kind has it, and by its name in an Ask, where it is a field there."""
    ref = read_ref(given.pop("ref")) if "ref" in given else None
    for name in given:
        if name not in KINDS:
            raise TypeError(_explain_unknown(name))
    said = {name: check_option(KINDS[name], name, value) for name, value in given.items()}
    if contradiction := explain_contradiction(said, str):
        raise UsageError(contradiction)
    for name in ("user", "session"):
        if name in said:
            said[name] = read_id(name, said[name])
    if "expect" in said:
        said["expect"] = read_expectation(said["expect"])
    for name, field in _ASK_FIELDS.items():
        if name in said:
            said[field] = said.pop(name)
    if ref is not None:
        said["ref"] = ref
    return said


def embed_ask_of(texts: Sequence[str], options: Options) -> Ask:
    """One message for each text, of which vectors are wanted. Raises UsageError."""
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"what is embedded is a text, got {type(text).__name__}")
    return ask_of([Message("user", text) for text in texts], **options)


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
    read = prompt if isinstance(prompt, RequestDocument) else _read_request(prompt)
    fields = {name: _check_field(name, value) for name, value in read.fields.items() if value is not None}
    if not attachments:
        return read.messages, fields
    if not read.messages or read.messages[-1].role != "user":
        raise UsageError("attachments go with what the user says last")
    *earlier, last = read.messages
    return (*earlier, Message("user", (*attachments, *last.parts))), fields


def _read_request(prompt: Sequence[Message | Mapping[str, Any]] | Mapping[str, Any]) -> RequestDocument:
    from llmfail.providers.dialects.request_document import read_request

    return read_request(prompt)


def _check_field(name: str, value: Any) -> object:  # noqa: ANN401 - whatever a request says
    """A field of a whole request, held against the same rules as an option."""
    if name == "options":
        if value is NO_OPTIONS:
            return value
        said = {key: one for key in OPTION_NAMES if (one := getattr(value, key)) is not None}
        return check_option("generation_options", name, said) if said else NO_OPTIONS
    is_judged = name in KINDS and name != "system"
    return check_option(KINDS[name], name, value) if is_judged else value
