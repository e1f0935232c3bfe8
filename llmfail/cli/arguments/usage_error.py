"""What Typer finds wrong with a command line, in the words and the form of every other error of llmfail: one
line that says where, what, and what to do.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from typer._click.exceptions import (
    BadOptionUsage,
    BadParameter,
    ClickException,
    MissingParameter,
    NoSuchOption,
)
from typer._click.exceptions import UsageError as TyperUsageError

MIN_LIKENESS = 0.75
"""From which likeness on an option may have been meant by what was typed."""


def describe_usage_error(error: ClickException) -> str:
    """One line, without a line end."""
    ctx = error.ctx if isinstance(error, TyperUsageError) else None
    path = ctx.command_path if ctx is not None else ""
    command = path.removeprefix("llmfail ")
    match error:
        case NoSuchOption():
            text = f"{command} has no option {error.option_name}{_suggest_option(error, command)}"
        case BadOptionUsage():
            verb = "takes no" if "does not take" in error.message else "needs a"
            text = f"{error.option_name} {verb} value"
        case MissingParameter():
            text = f"{command} needs {_name_parameter(error.param)}"
        case BadParameter():
            text = _describe_bad_value(error)
        case _:
            text = f"{command}: {_describe_rest(error.format_message())}"
    hint = f" (`{path} -h` shows how)" if path else ""
    return f"{text}{hint}".replace("\n", " ")


def _suggest_option(error: NoSuchOption, command: str) -> str:
    near = get_close_matches(error.option_name, error.possibilities or (), 1, MIN_LIKENESS)
    if near:
        return f"; did you mean {near[0]}?"
    return "; the options of a command stand behind its name" if command == "llmfail" else ""


def _name_parameter(param: Any) -> str:  # noqa: ANN401 - an option or an argument of Typer
    if param is None:
        return "another argument"
    if param.param_type_name == "option":
        return str(param.opts[-1])
    return str(param.metavar or param.human_readable_name.upper()).strip("[].")


def _describe_bad_value(error: BadParameter) -> str:
    """What the parameter takes, and what it got, where Typer says so."""
    name = _name_parameter(error.param)
    found = re.match(r"('.*'|-?[0-9.e+-]+|nan|inf) is not ", error.message, re.DOTALL)
    expected = _describe_type(getattr(error.param, "type", None))
    if not found or expected is None:
        return f"{name}: {error.message.rstrip('.')}"
    return f"{name} takes {expected}, got {found[1]}"


def _describe_type(kind: Any) -> str | None:  # noqa: ANN401 - a type of Typer's parameters
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if kind.name.startswith("int"):
        noun = "a whole number"
    elif kind.name.startswith("float"):
        noun = "a number"
    else:
        return None
    parts = [noun, f"from {low}" if low is not None else "", f"to {high}" if high is not None else ""]
    return " ".join(part for part in parts if part)


def _describe_rest(message: str) -> str:
    """What is wrong in another way."""
    if found := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message, re.DOTALL):
        return f"there is no place for {found[1]!r}; a text of several words stands in quotes"
    return message[:1].lower() + message[1:].rstrip(".")
