"""The prompt of a command line: the argument, standard input when it is piped, or both."""

from __future__ import annotations

import sys

from llmfail.core.errors import UsageError


def prompt_of(argument: str | None) -> str | None:
    """Standard input first, a blank line, then the argument; ``-`` is standard input. None when there is
    nothing in either. Raises UsageError for what is no text.
    """
    piped = _standard_input(asked_for=argument == "-")
    parts = [piped, text_of("the prompt", argument) if argument and argument != "-" else None]
    return "\n\n".join(part for part in parts if part and part.strip()) or None


def text_of(name: str, argument: str) -> str:
    """An argument as text. Python keeps bytes that are no UTF-8 as surrogates, which nobody could be sent."""
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} is not UTF-8 text") from error
    return argument


def _standard_input(*, asked_for: bool) -> str | None:
    if sys.stdin is None or (sys.stdin.isatty() and not asked_for):
        return None
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8 text (byte {error.start})") from error
    except OSError:
        return None
