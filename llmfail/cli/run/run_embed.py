"""``llmfail embed`` as it was typed: one text, or the lines of a file; receipts to where they go.

A text is a request of its own. Providers would take several in one, but tell tokens only for all of them,
take different numbers (some one), and refuse all of them for one that is too long: receipts would be guesses.
Several requests at once make up for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from llmfail.cli.arguments.global_options import Globals, path_from, seconds_from
from llmfail.cli.arguments.prompt import prompt_of, text_of
from llmfail.cli.io.files import destination, lines_of, lines_to
from llmfail.cli.io.output import say, spinner
from llmfail.cli.io.stdout_lines import quietly_ended
from llmfail.cli.run.open_client import client_of
from llmfail.cli.run.run_ask import dollars_from, report
from llmfail.client.options import ask_of
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import Failure, Receipt, usd
from llmfail.core.request.ask import DEFAULT_FEATURE, Ask, question
from llmfail.core.request.batch_line import Raw
from llmfail.core.request.embed_line import Row, row_of
from llmfail.engine.ports.ports import new_id

if TYPE_CHECKING:
    from llmfail.client.blocking import Client

AT_ONCE = 8


class Said(Struct, frozen=True, kw_only=True):
    """The options, with the names and defaults that the command has; files by their names."""

    text: str | None = None
    feature: str = DEFAULT_FEATURE
    model: tuple[str, ...] = ()
    lines: str | None = None
    at_once: int = AT_ONCE
    timeout: str | None = None
    deadline: str | None = None
    max_cost: str | None = None
    user: str | None = None
    as_json: bool = False
    output: str | None = None
    no_fallback: bool = False
    wait: str | None = None


def embedded(options: Globals, said: Said) -> int:
    """Embed, tell, and the exit code. Raises UsageError."""
    if said.lines is None:
        text = prompt_of(said.text, quiet=options.quiet) or ""
        return _one(options, said, _ask(said, text))
    if said.text is not None:
        raise UsageError("say a TEXT or --input, not both")
    return _many(options, said, Path(said.lines))


def _one(options: Globals, said: Said, ask: Ask) -> int:
    with destination(path_from("--output", said.output)) as write:
        with (
            spinner("embedding …", quiet=options.quiet) as spinning,
            client_of(options, spinning.pause) as client,
        ):
            receipt = client.embedded(ask)
        report(options, receipt)
        if said.as_json or receipt.error is None:
            write(_line(receipt, as_json=said.as_json))
    return receipt.exit_code


def _many(options: Globals, said: Said, path: Path) -> int:
    from llmfail.cli.run.ordered_pool import in_order

    blank, lines = _ask(said, ""), lines_of(path)
    summary = _Summary(options)
    with (
        quietly_ended(),
        client_of(options) as client,
        lines_to(path_from("--output", said.output), path) as write,
    ):
        for row, receipt in in_order(partial(_answered, client, blank), _rows(lines), said.at_once):
            write(_line(receipt, as_json=said.as_json))
            summary.add(row, receipt, alone=not said.as_json)
        summary.tell()
    return ExitCode.UNAVAILABLE if summary.failed else ExitCode.ANSWERED


def _ask(said: Said, text: str) -> Ask:
    return ask_of(
        text,
        feature=said.feature,
        model=said.model,
        timeout=seconds_from("--timeout", said.timeout),
        deadline=seconds_from("--deadline", said.deadline),
        fallback=not said.no_fallback,
        max_cost=dollars_from(said.max_cost),
        user=None if said.user is None else text_of("--user", said.user),
        wait=seconds_from("--wait", said.wait, zero=True) or 0.0,
    )


def _rows(lines: Iterator[Raw]) -> Iterator[Row]:
    """Lines with nothing in them are left out."""
    for number, line in lines:
        if line is None or line.strip():
            yield row_of(number, line)


def _answered(client: Client, blank: Ask, row: Row) -> tuple[Row, Receipt]:
    if row.flaw:
        failure = Failure(ExitCode.USAGE, "usage", f"line {row.number}: {row.flaw}")
        return row, Receipt(new_id(), blank.feature, ref=row.ref, error=failure)
    return row, client.embedded(replace(blank, messages=question(row.text), ref=row.ref))


def _line(receipt: Receipt, *, as_json: bool) -> str:
    answer = receipt.embedding
    vector = None if answer is None else answer.vectors[0]
    if not as_json:
        return json.dumps(vector)
    told: dict[str, Any] = {
        **receipt.to_json(),
        "embedding": vector,
        "dimensions": None if answer is None else answer.dimensions,
    }
    return json.dumps(told, ensure_ascii=False)


class _Summary:
    """What the lines of one run came to, for people."""

    def __init__(self, options: Globals) -> None:
        self._quiet = options.quiet
        self._told: set[str] = set()
        self._embedded = self._elsewhere = 0
        self._cost: int | None = 0
        self.failed = 0

    def add(self, row: Row, receipt: Receipt, *, alone: bool) -> None:
        """``alone``: the line that is printed does not say what went wrong. A warning is told once."""
        known = self._cost is not None and receipt.cost is not None
        self._cost = (self._cost or 0) + (receipt.cost or 0) if known else None
        if receipt.error is None:
            self._embedded += 1
            self._elsewhere += receipt.tier != 0
        else:
            self.failed += 1
            if alone:
                say(receipt.error.message if row.flaw else f"line {row.number}: {receipt.error.message}")
        for warning in dict.fromkeys(receipt.warnings):
            if warning not in self._told:
                self._told.add(warning)
                say(f"warning: {warning}", quiet=self._quiet)

    def tell(self) -> None:
        elsewhere = f" ({self._elsewhere} by a fallback)" if self._elsewhere else ""
        cost = usd(self._cost)
        spent = "cost unknown" if cost is None else f"${cost}"
        say(f"{self._embedded} embedded{elsewhere}, {self.failed} failed, {spent}", quiet=self._quiet)
