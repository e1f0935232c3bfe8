"""The options of an ask as parameters of Typer, made from their one table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from llmfail.cli.arguments.shell_completion import ASK_OPTION_COMPLETIONS
from llmfail.core.request.ask_options import ASK_OPTIONS, AskOption, OptionKind

Command = TypeVar("Command", bound=Callable[..., None])

Prompt = Annotated[
    str | None, typer.Argument(help="The prompt; '-' reads standard input.", show_default=False)
]
_TYPES: dict[OptionKind, Any] = {
    "texts": list[str],
    "targets": list[str],
    "pairs": list[str],
    "file": Path,
    "schema_file": Path,
    "tools_file": Path,
    "generation_options": list[str],
    "attached_files": list[str],
    "count": int,
    "number": float,
    "flag": bool,
}
"""What is not named here is a text, which is read later."""


def with_ask_options(name: str) -> Callable[[Command], Command]:
    """Give the command of this name, behind its own parameters, the options that the table has for it. They
    are declared in the place of its ``**_typed``, and read from ``ctx.params``.
    """

    def declare(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        options = [_to_parameter(option) for option in ASK_OPTIONS if name in option.commands]
        vars(command)["__signature__"] = signature.replace(parameters=[*own, *options])
        return command

    return declare


def _to_parameter(option: AskOption) -> inspect.Parameter:
    is_plain_flag = option.is_flag and not option.negation
    read_as = _TYPES.get(option.kind, str)
    *short, long = option.flags
    declared = typer.Option(
        *short,
        f"{long}/{option.negation}" if option.negation else long,
        metavar=option.metavar,
        help=option.help,
        show_default=not option.negation,
        min=1 if option.kind == "count" else None,
        autocompletion=ASK_OPTION_COMPLETIONS.get(option.name),
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if is_plain_flag else option.default,
        annotation=Annotated[read_as if is_plain_flag else read_as | None, declared],
    )
