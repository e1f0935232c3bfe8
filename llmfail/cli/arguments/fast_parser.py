"""The command line of an ask, or of a gateway, read at once: importing Typer takes a fifth of the time of an
ask, and half of that of a stored answer; a gateway would keep two megabytes of it for good.

Only what is plain is read here. Whatever is not, for whatever reason (help, a slip, an option of another
command), is Typer's to read and to explain. A test holds what both read against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmfail.core.request.ask_options import ASK_OPTIONS, AskOption, OptionKind


class CommandOptions:
    """The options of a command by their flags; ``argument`` is the name of what stands without one."""

    def __init__(self, options: Iterable[AskOption], argument: str | None = None) -> None:
        self.argument = argument
        self.values: dict[str, AskOption] = {}
        self.repeatable: dict[str, AskOption] = {}
        self.flags: dict[str, str] = {}
        self.negations: dict[str, str] = {}
        for option in options:
            for flag in option.flags:
                if option.is_flag:
                    self.flags[flag] = option.name
                else:
                    (self.repeatable if option.is_repeatable else self.values)[flag] = option
            if option.negation:
                self.negations[option.negation] = option.name


COMMANDS: Final[Mapping[str, CommandOptions]] = {
    "ask": CommandOptions(ASK_OPTIONS, "prompt"),
    "serve": CommandOptions(
        [
            AskOption("listen", ("--listen",), "text"),
            AskOption("workers", ("--workers",), "count"),
            AskOption("drill", ("--drill",), "text"),
        ]
    ),
}
GLOBAL_OPTIONS: Final[Mapping[str, str]] = {"--config": "config", "--state-dir": "state_dir"}
"""The options of the program that have a value; like its flags they stand before the command or behind it."""
_VERBOSITY_LEVELS: Final = {"-v": 1, "--verbose": 1, "-vv": 2}
_QUIET_OPTIONS: Final = frozenset({"-q", "--quiet"})
_COUNT_PATTERN: Final = re.compile("[1-9][0-9]{0,8}")
_NUMBER_PATTERN: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")


class ParsedCommand(NamedTuple):
    """What was typed: the command, the options of the program, and its own."""

    command: str
    config: str | None
    state_dir: str | None
    verbose: int
    quiet: bool
    options: dict[str, Any]


class _NeedsTyper(Exception):
    """Somebody else is to read this."""


def parse(arguments: Sequence[str]) -> ParsedCommand | None:
    """None for what is not plainly one of these commands."""
    words = iter(arguments)
    shared: dict[str, Any] = {"config": None, "state_dir": None, "verbose": 0, "quiet": False}
    try:
        command = _find_command(words, shared)
        return ParsedCommand(command, options=_parse_options(words, COMMANDS[command], shared), **shared)
    except _NeedsTyper:
        return None


def _find_command(words: Iterator[str], shared: dict[str, Any]) -> str:
    for word in words:
        if word in COMMANDS:
            return word
        if not _add_global_option(word, words, shared):
            raise _NeedsTyper
    raise _NeedsTyper


def _add_global_option(word: str, words: Iterator[str], shared: dict[str, Any]) -> bool:
    """Whether the word is an option of the program, which is in ``shared`` then."""
    if word in _VERBOSITY_LEVELS:
        shared["verbose"] += _VERBOSITY_LEVELS[word]
    elif word in _QUIET_OPTIONS:
        shared["quiet"] = True
    elif word in GLOBAL_OPTIONS and shared[GLOBAL_OPTIONS[word]] is None:
        shared[GLOBAL_OPTIONS[word]] = _take_value(words)
    else:
        return False
    return True


def _parse_options(words: Iterator[str], known: CommandOptions, shared: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for word in words:
        if _add_global_option(word, words, shared):
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in known.flags and not equals:
            said[known.flags[option]] = True
        elif option in known.negations and not equals:
            said[known.negations[option]] = False
        elif option in known.repeatable:
            name = known.repeatable[option].name
            said[name] = (*said.get(name, ()), value if equals else _take_value(words))
        elif option in known.values and known.values[option].name not in said:
            declared = known.values[option]
            said[declared.name] = _convert(declared.kind, value if equals else _take_value(words))
        elif (word == "-" or not word.startswith("-")) and known.argument not in {None, *said}:
            said[str(known.argument)] = word
        else:
            raise _NeedsTyper
    return said


def _take_value(words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None or (value.startswith("-") and value != "-"):
        raise _NeedsTyper
    return value


def _convert(kind: OptionKind, value: str) -> str | int | float:
    if kind == "count":
        if not _COUNT_PATTERN.fullmatch(value):
            raise _NeedsTyper
        return int(value)
    if kind == "number":
        if not _NUMBER_PATTERN.fullmatch(value):
            raise _NeedsTyper
        return float(value)
    return value
