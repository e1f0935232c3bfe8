"""An ask as it was typed: options to an Ask, a receipt to standard output and standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from llmfail.cli.arguments.ask_values import read_options
from llmfail.cli.arguments.conversation_file import read_conversation, with_system_file
from llmfail.cli.arguments.global_options import GlobalOptions, parse_path, parse_seconds
from llmfail.cli.io.files import STANDARD_OUTPUT, open_text_writer
from llmfail.cli.io.live_answer import TerminalAnswer
from llmfail.cli.io.output import NoSpinner, Spinner, emit_json, say, say_line, show_spinner
from llmfail.cli.run.input_deadline import InputTooLate, build_late_receipt, read_in_time
from llmfail.cli.run.open_client import load_settings, open_client, with_whole_targets
from llmfail.client.options import ask_of
from llmfail.core.errors import AskError
from llmfail.core.receipt import (
    DEGRADED_TIER,
    Receipt,
    TrailEntry,
    call_to_json,
    format_usd,
    to_json_line,
)
from llmfail.core.request.ask import Ask
from llmfail.core.request.ask_options import DEFAULT_FEATURE
from llmfail.core.request.expectation import Expectation, extract_block, merge

if TYPE_CHECKING:
    from llmfail.client.receipts import ReceiptClient
    from llmfail.client.streams import AnswerStream
    from llmfail.core.reports.watch_event import OnEvent, WatchEvent
    from llmfail.core.request.ask import Ask
    from llmfail.settings.schema.settings import Settings


def run_ask(options: GlobalOptions, typed: Mapping[str, Any]) -> int:
    """Ask what was typed, tell, and the exit code. Raises UsageError."""
    output = parse_path("--output", typed.get("output"))
    is_live = _is_shown_live(typed, output)
    try:
        ask = _read_ask(options, typed)
    except InputTooLate as late:
        receipt = build_late_receipt(late, typed.get("feature") or DEFAULT_FEATURE)
        with open_text_writer(output) as write:
            _tell(options, typed, receipt, write)
        return receipt.exit_code
    with open_text_writer(output) as write:
        on_event = _tell_event if typed.get("events") else None
        with _open_ask_client(options, ask, typed.get("drill"), on_event) as (client, spinner):
            receipt = _show_live(client.stream_ask(ask), spinner) if is_live else client.ask_receipt(ask)
        _tell(options, typed, receipt, None if is_live else write)
    return receipt.exit_code


def _read_ask(options: GlobalOptions, typed: Mapping[str, Any]) -> Ask:
    """Its deadline is what reading has left of it. Raises UsageError, InputTooLate."""

    def read() -> Ask:
        ask = ask_of(
            read_conversation(typed, quiet=options.quiet),
            **read_options(with_whole_targets(options, with_system_file(typed))),
        )
        return replace(ask, expect=merge(ask.expect, _expected_block(typed)))

    ask, left = read_in_time(read, parse_seconds("--deadline", typed.get("deadline")))
    return ask if left is None else replace(ask, deadline=left)


def _tell(
    options: GlobalOptions, typed: Mapping[str, Any], receipt: Receipt, write: Callable[[str], None] | None
) -> None:
    """What became of it; without ``write`` a terminal has shown the answer already."""
    report_receipt(options, receipt)
    if write is None:
        for call in receipt.tool_calls:
            emit_json(call_to_json(call))
    elif typed.get("as_json"):
        write(to_json_line(receipt))
    elif receipt.tool_calls:
        say(receipt.answer or "", quiet=options.quiet or not receipt.answer)
        calls = (json.dumps(call_to_json(call), ensure_ascii=False) for call in receipt.tool_calls)
        write("\n".join(calls))
    elif receipt.answer is not None:
        expected = _expected_block(typed)
        block = None if expected.block is None else extract_block(expected, receipt.answer)
        write(receipt.answer if block is None else block)


def _expected_block(typed: Mapping[str, Any]) -> Expectation:
    """What --extract expects of an answer."""
    if not typed.get("extract") and typed.get("extract_lang") is None:
        return Expectation()
    return Expectation(block=typed.get("extract_lang") or "")


def _is_shown_live(typed: Mapping[str, Any], output: Path | None) -> bool:
    """Whether a terminal shows the answer as it comes."""
    if typed.get("as_json") or typed.get("stream") is False or _expected_block(typed).block is not None:
        return False
    return output in {None, STANDARD_OUTPUT} and sys.stdout.isatty()


def _show_live(answer: AnswerStream, spinner: Spinner | NoSpinner) -> Receipt:
    """Its answer is on the terminal by then, or what there was of it."""
    screen = TerminalAnswer()
    try:
        with answer, suppress(AskError):
            for piece in answer:
                spinner.stop()
                screen.show(piece)
    except BaseException:
        screen.end_if_writable()
        raise
    screen.end()
    assert answer.receipt is not None, "the loop is over"
    return answer.receipt


@contextmanager
def _open_ask_client(
    options: GlobalOptions, ask: Ask, drill: str | None, on_event: OnEvent | None
) -> Iterator[tuple[ReceiptClient, Spinner | NoSpinner]]:
    if drill is None:
        with (
            show_spinner("asking …", quiet=options.quiet) as spinning,
            open_client(options, spinning.pause, on_event) as client,
        ):
            spinning.show(f"asking {_name_first_target(client.settings, ask)} …")
            yield client, spinning
        return
    from llmfail.drill import open_simulated_client

    with (
        open_simulated_client(load_settings(options), drill, on_event) as stage,
        show_spinner("asking the simulator …", quiet=options.quiet) as spinning,
    ):
        yield stage.client, spinning


def _name_first_target(settings: Settings, ask: Ask) -> str:
    """The target that is likely to be asked first, as the configuration has it."""
    if ask.targets:
        return str(ask.targets[0])
    chain = [link.target for link in settings.chain_of(settings.find_feature(ask.feature))]
    usable = (one for one in chain if settings.provider_of(one).missing_credential_hint is None)
    return str(next(usable, ask.feature))


def _tell_event(event: WatchEvent) -> None:
    import json

    from llmfail.core.reports.watch_event import event_to_json

    say_line(json.dumps(event_to_json(event), ensure_ascii=False))


def report_receipt(options: GlobalOptions, receipt: Receipt) -> None:
    """Who failed, who answered, what to know. A primary that answers is worth a line only to a person."""
    if receipt.error is not None:
        again = "; `llmfail queue run` asks it again" if receipt.queued else ""
        say(f"{receipt.error.message}{again}", is_error=True)
    else:
        _report_trail(options, receipt)
    for warning in receipt.warnings:
        say(f"warning: {warning}", quiet=options.quiet)


def _report_trail(options: GlobalOptions, receipt: Receipt) -> None:
    curious = options.verbose > 0 or (sys.stderr is not None and sys.stderr.isatty())
    if curious or receipt.tier != 0:
        for entry in receipt.trail:
            if entry.outcome != "ok":
                say(_describe_entry(entry), quiet=options.quiet)
        say(_describe_answer(receipt), quiet=options.quiet)
    if options.verbose:
        say(_describe_details(receipt), quiet=options.quiet)


def _describe_entry(entry: TrailEntry) -> str:
    verb = "failed" if entry.action == "called" else "skipped"
    status = f" {entry.status}" if entry.status else ""
    note = f": {entry.note}" if entry.note else ""
    return f"{entry.target} {verb} ({entry.shown_outcome}{status}){note}"


def _describe_answer(receipt: Receipt) -> str:
    cost = format_usd(receipt.cost_pico_usd)
    spent = "cost unknown" if cost is None else f"${cost}"
    return f"{_describe_answerer(receipt)} (tier {receipt.tier}, {receipt.latency_ms} ms, {spent})"


def _describe_details(receipt: Receipt) -> str:
    """What only somebody who wants to know more is told."""
    usage = receipt.usage
    parts = (
        f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens" if usage else "",
        f"ended by {receipt.finish_reason}" if receipt.finish_reason else "",
        f"model {receipt.response_model}" if receipt.response_model else "",
        f"request {receipt.request_id}" if receipt.request_id else "",
        f"id {receipt.id}",
    )
    return ", ".join(part for part in parts if part)


def _describe_answerer(receipt: Receipt) -> str:
    match receipt.source:
        case "model" if receipt.tier == DEGRADED_TIER:
            return f"{receipt.target} answered a simplified prompt"
        case "model":
            return f"{receipt.target} answered"
        case "cache":
            return f"{receipt.target} answered this before"
        case "stale_cache":
            return f"no model answered; this is what {receipt.target} said before"
        case source:
            return f"no model answered; this is the feature's {source}"
