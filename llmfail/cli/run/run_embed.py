"""``llmfail embed TEXT``: one text, and its vector to where it goes. Lines of texts are a batch."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.prompt import read_prompt
from llmfail.cli.io.files import open_text_writer
from llmfail.cli.io.output import show_spinner
from llmfail.cli.render.embedding_line import format_array, format_embedding_receipt
from llmfail.cli.run.input_deadline import InputTooLate, build_late_receipt, read_in_time
from llmfail.cli.run.open_client import open_client
from llmfail.cli.run.run_ask import report_receipt
from llmfail.client.options import ask_of
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.ask_options import Options


def run_embed(
    options: GlobalOptions, text: str | None, ask_options: Options, output: Path | None, *, as_json: bool
) -> int:
    """Embed, tell, and the exit code. Raises UsageError."""
    ask: Ask | None
    try:
        ask = _read_ask(options, text, ask_of("", **ask_options))
    except InputTooLate as error:
        ask, late = None, build_late_receipt(error, ask_of("", **ask_options).feature)
    with open_text_writer(output) as write:
        receipt = late if ask is None else _embed(options, ask)
        report_receipt(options, receipt)
        if as_json or receipt.error is None:
            write(format_embedding_receipt(receipt) if as_json else format_array(receipt))
    return receipt.exit_code


def _read_ask(options: GlobalOptions, text: str | None, blank: Ask) -> Ask:
    """Its deadline is what reading has left of it. Raises UsageError, InputTooLate."""
    prompt, left = read_in_time(lambda: read_prompt(text, quiet=options.quiet), blank.deadline)
    return replace(blank, messages=to_messages(prompt or ""), deadline=left)


def _embed(options: GlobalOptions, ask: Ask) -> Receipt:
    with (
        show_spinner("embedding …", quiet=options.quiet) as spinning,
        open_client(options, spinning.pause) as client,
    ):
        return client.embed_ask(ask)
