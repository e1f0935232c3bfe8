"""``llmfail keys``: keys with which programs ask ``serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import emit, emit_json, say
from llmfail.core.errors import UsageError

KEY_PREFIX = "llmf_"
KEY_BYTES = 24

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Make keys for programs that ask `serve`."""


@app.command()
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is called in logs and budgets.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print a new key, once, and the entry for it under `serve: keys:` of the configuration, which has only
    its SHA-256. Nothing is stored: the key is in force when the entry is there and `serve` has been reloaded.

    Examples:

      llmfail keys new my-app

      llmfail keys new my-app --json | jq -r .key
    """
    import hashlib
    import secrets

    from llmfail.settings.schema.scalars import require_name

    options: GlobalOptions = ctx.obj
    try:
        require_name(name)
    except ValueError as error:
        raise UsageError(f"NAME: {error}, got {name!r}") from None
    key = KEY_PREFIX + secrets.token_hex(KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    if as_json:
        emit_json({"name": name, "key": key, "sha256": digest})
        return
    emit(key)
    say(f"under `serve: keys:` - {{name: {name}, sha256: {digest}}}", quiet=options.quiet)
