"""The command line of an ask, read at once: importing Typer takes a fifth of the time of an ask, and half of
that of a stored answer.

Only what is plain is read here. Whatever is not, for whatever reason (help, a slip, an option of another
command), is Typer's to read and to explain. A test holds what both read against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmfail.core.request.ask_options import ASK_OPTIONS, AskOption, OptionKind

VALUE_OPTIONS: Final[dict[str, AskOption]] = {}
REPEATABLE_OPTIONS: Final[dict[str, AskOption]] = {}
FLAGS: Final[dict[str, str]] = {}
NEGATIONS: Final[dict[str, str]] = {}
for _option in ASK_OPTIONS:
    for _flag in _option.flags:
        if _option.is_flag:
            FLAGS[_flag] = _option.name
        else:
            (REPEATABLE_OPTIONS if _option.is_repeatable else VALUE_OPTIONS)[_flag] = _option
    if _option.negation:
        NEGATIONS[_option.negation] = _option.name
GLOBAL_OPTIONS: Final[Mapping[str, str]] = {"--config": "config", "--state-dir": "state_dir"}
"""The options of the program that have a value; like its flags they stand before the command or behind it."""
_VERBOSITY_LEVELS: Final = {"-v": 1, "--verbose": 1, "-vv": 2}
_QUIET_OPTIONS: Final = frozenset({"-q", "--quiet"})
_COUNT_PATTERN: Final = re.compile("[1-9][0-9]{0,8}")
_NUMBER_PATTERN: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")


class ParsedAsk(NamedTuple):
    """What was typed: the options of the program, and those of the ask."""

    config: str | None
    state_dir: str | None
    verbose: int
    quiet: bool
    ask_options: dict[str, Any]


class _NeedsTyper(Exception):
    """Somebody else is to read this."""


def parse(arguments: Sequence[str]) -> ParsedAsk | None:
    """None for what is not plainly an ask."""
    words = iter(arguments)
    shared: dict[str, Any] = {"config": None, "state_dir": None, "verbose": 0, "quiet": False}
    try:
        _skip_to_command(words, shared)
        return ParsedAsk(ask_options=_parse_ask_options(words, shared), **shared)
    except _NeedsTyper:
        return None


def _skip_to_command(words: Iterator[str], shared: dict[str, Any]) -> None:
    for word in words:
        if word == "ask":
            return
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


def _parse_ask_options(words: Iterator[str], shared: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for word in words:
        if _add_global_option(word, words, shared):
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in FLAGS and not equals:
            said[FLAGS[option]] = True
        elif option in NEGATIONS and not equals:
            said[NEGATIONS[option]] = False
        elif option in REPEATABLE_OPTIONS:
            name = REPEATABLE_OPTIONS[option].name
            said[name] = (*said.get(name, ()), value if equals else _take_value(words))
        elif option in VALUE_OPTIONS and VALUE_OPTIONS[option].name not in said:
            declared = VALUE_OPTIONS[option]
            said[declared.name] = _convert(declared.kind, value if equals else _take_value(words))
        elif (word == "-" or not word.startswith("-")) and "prompt" not in said:
            said["prompt"] = word
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
