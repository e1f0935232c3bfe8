"""Options that several commands have, declared once. What is said otherwise by one of them stands there."""

from __future__ import annotations

from typing import Annotated

import typer

Prompt = Annotated[
    str | None, typer.Argument(help="The prompt; '-' reads standard input.", show_default=False)
]
Models = Annotated[
    list[str] | None,
    typer.Option("-m", "--model", metavar="TARGET", help="Instead of the chain; repeatable."),
]
System = Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="System prompt.")]
Template = Annotated[
    str | None,
    typer.Option("-t", "--template", metavar="NAME", help="A prompt template of the configuration."),
]
Params = Annotated[
    list[str] | None,
    typer.Option("-p", "--param", metavar="K=V", help="What $K in the template is; repeatable."),
]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", metavar="N", min=1)]
Temperature = Annotated[float | None, typer.Option("--temperature", metavar="X")]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="DURATION", help="How long one attempt may take: 30, 30s, 2m."),
]
User = Annotated[str | None, typer.Option("--user", metavar="ID", help="Whose budget it goes on.")]
Refresh = Annotated[
    bool,
    typer.Option("--refresh", help="Ask a model although an answer is stored, and store the new one."),
]
NoFallback = Annotated[bool, typer.Option("--no-fallback", help="Ask the first target only.")]
Wait = Annotated[
    str | None,
    typer.Option("--wait", metavar="DURATION", help="When every circuit is open, wait for the first trial."),
]
