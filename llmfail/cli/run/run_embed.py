"""``llmfail embed TEXT``: one text, and its vector to where it goes. Lines of texts are a batch."""

from __future__ import annotations

from pathlib import Path

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.prompt import read_prompt
from llmfail.cli.io.files import open_text_writer
from llmfail.cli.io.output import show_spinner
from llmfail.cli.render.embedding_line import format_array, format_embedding_receipt
from llmfail.cli.run.open_client import open_client
from llmfail.cli.run.run_ask import report_receipt
from llmfail.client.options import ask_of
from llmfail.core.request.ask_options import Options


def run_embed(
    options: GlobalOptions, text: str | None, ask_options: Options, output: Path | None, *, as_json: bool
) -> int:
    """Embed, tell, and the exit code. Raises UsageError."""
    ask = ask_of(read_prompt(text, quiet=options.quiet) or "", **ask_options)
    with open_text_writer(output) as write:
        with (
            show_spinner("embedding …", quiet=options.quiet) as spinning,
            open_client(options, spinning.pause) as client,
        ):
            receipt = client.embed_ask(ask)
        report_receipt(options, receipt)
        if as_json or receipt.error is None:
            write(format_embedding_receipt(receipt) if as_json else format_array(receipt))
    return receipt.exit_code
