"""Commands with commands of their own, as Typer runs them, with help for who types a name that is none."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from llmfail._version import __version__
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import TYPED_OPTIONS_KEY
from llmfail.cli.io.output import emit
from llmfail.core.errors import UsageError

if TYPE_CHECKING:
    from typer._click.core import Context, Parameter

GLOBAL_OPTIONS_NOTE = (
    "The options of llmfail itself (--config, --state-dir, -q, -v) are taken here too: `llmfail -h`."
)


class CommandGroup(TyperGroup):
    """Says what was meant by a name that it does not know, and knows ``help`` and ``version``."""

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing:
            if name == "help":
                return self._resolve_help(ctx, args[1:])
            if name == "version" and ctx.parent is None:
                show_version()
            if not name.startswith("-"):
                raise UsageError(self._describe_unknown(ctx, name))
        return super().resolve_command(ctx, args)

    def _resolve_help(self, ctx: Context, rest: list[str]) -> tuple[str | None, Any, list[str]]:
        if not rest:
            emit(ctx.get_help())
            raise typer.Exit
        return self.resolve_command(ctx, [*rest, "--help"])

    def _describe_unknown(self, ctx: Context, name: str) -> str:
        path = ctx.command_path
        group = path.removeprefix("llmfail ")
        near = get_close_matches(name.lower(), self.commands, 1)
        if near:
            return f"{group} has no command {name!r}; did you mean `{path} {near[0]}`?"
        if ctx.parent is None:
            return f'llmfail has no command {name!r}; a prompt stands behind ask: llmfail ask "…"'
        return f"{group} has no command {name!r}; there are {', '.join(self.commands)}"


def show_version() -> None:
    """Print the version, and end."""
    emit(f"llmfail {__version__}")
    raise typer.Exit


def accept_global_options(command: TyperCommand | TyperGroup, options: Sequence[TyperOption]) -> None:
    """From now on the command, and every command below it, takes these options of the program too. They are
    not shown in its help: one line says that they are taken.
    """
    for option in options:
        own = copy.copy(option)
        own.hidden, own.expose_value = True, False
        if not own.is_eager:
            own.callback = _add_global_option
        command.params.append(own)
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            accept_global_options(cast("TyperCommand", inner), options)
    command.epilog = GLOBAL_OPTIONS_NOTE


def _add_global_option(ctx: Context, option: Parameter, value: Any) -> None:  # noqa: ANN401 - as typed
    """What stands behind the command adds to what stands before it, and wins over it."""
    if value is None or value is False or value == 0:
        return
    if isinstance(ctx.obj, GlobalOptions):
        ctx.obj = ctx.obj.add(str(option.name), value)
    else:  # a shell asks for completions, and no command runs
        ctx.meta.setdefault(TYPED_OPTIONS_KEY, {})[option.name] = value
