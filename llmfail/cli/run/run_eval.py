"""An evaluation: every line of a data set to every target, as one batch; then the judge, as a second one.

The receipts are those of a batch, so a stopped evaluation goes on with ``--resume``, and nothing is paid
twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.run.answer_similarity import add_similarities
from llmfail.cli.run.batch_lines import BatchArgs
from llmfail.cli.run.dataset_reading import GoldenLine, read_golden_lines
from llmfail.cli.run.open_client import load_settings
from llmfail.cli.run.run_batch import run_batch
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.evaluation.eval_report import EvalAnswer, EvalLine, Ref
from llmfail.core.evaluation.preference import BothOrders, read_choice, write_question
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.request.ask_options import Options
from llmfail.core.request.batch_line import MALFORMED_LINE_KIND
from llmfail.engine.bulk.batch import BatchLimits
from llmfail.settings.reading.target_lookup import find_target
from llmfail.settings.schema.settings import Settings

JUDGE_TOKENS = 200
"""Tokens that a judge's reply may have."""
JUDGE_SUFFIX = ".judge"
"""What the receipts of the judge have behind the name of those of the targets."""


class EvalArgs(Struct, frozen=True, kw_only=True):
    """``targets`` and ``judge`` are names as they are typed. ``targets`` is empty for those of the feature's
    chain; the first one is the primary. Without ``output`` the receipts are forgotten.
    """

    source: Path
    feature: str
    targets: tuple[str, ...] = ()
    judge: str | None = None
    rubric: str
    embed_feature: str | None = None
    """The feature that embeds answers and references."""
    output: Path | None = None
    resume: bool = False
    max_cost: Decimal | None = None
    concurrency: int
    ask_options: Options


class Evaluation(Struct, frozen=True):
    """The targets, the primary first, and every line that has a receipt of each. ``code`` is the exit code of
    the batch.
    """

    targets: tuple[str, ...]
    lines: tuple[EvalLine, ...]
    code: int


def run_eval(options: GlobalOptions, args: EvalArgs) -> Evaluation:
    """Raises UsageError. What is stopped by a signal has the lines that were answered everywhere."""
    settings = load_settings(options)
    targets = _choose_targets(settings, args)
    if args.judge is not None:
        args = msgspec.structs.replace(args, judge=_find_name(settings, args.judge))
    golden = read_golden_lines(args.source)
    if args.embed_feature is not None:
        settings.find_feature(args.embed_feature)
    elif any(line.golden.check.similar is not None for line in golden):
        raise UsageError(
            "lines expect `similar` answers: name the feature that embeds them with --embed NAME"
        )
    with tempfile.TemporaryDirectory() as directory:
        room = Path(directory)
        receipts = args.output or room / "receipts.jsonl"
        asked = room / "lines.jsonl"
        _write_lines(asked, _expand_lines(golden, targets))
        code = run_batch(options, _batch_args(args, asked, receipts))
        lines = list(_collect_lines(golden, targets, _read_receipts(receipts)))
        if code in {ExitCode.ANSWERED, ExitCode.UNAVAILABLE}:
            lines = add_similarities(options, args.embed_feature, lines, targets[0])
        if args.judge is not None and code in {ExitCode.ANSWERED, ExitCode.UNAVAILABLE}:
            lines = _judge_lines(options, args, lines, targets, room, receipts)
    return Evaluation(targets, tuple(lines), code)


def _choose_targets(settings: Settings, args: EvalArgs) -> tuple[str, ...]:
    if args.targets:
        return tuple(dict.fromkeys(_find_name(settings, name) for name in args.targets))
    chain = settings.chain_of(settings.find_feature(args.feature))
    return tuple(dict.fromkeys(str(link.target) for link in chain))


def _find_name(settings: Settings, typed: str) -> str:
    """The whole name of a target. Raises UsageError, before anything is paid, for what nobody can ask."""
    target = find_target(settings, typed)
    settings.provider_of(target)
    return str(target)


def _expand_lines(golden: Sequence[GoldenLine], targets: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in golden:
        for target in targets:
            ref = _receipt_ref(line.ref, target)
            yield {**line.fields, "id": ref, "model": [target], "no_fallback": True}


def _receipt_ref(ref: Ref, target: str) -> str:
    return f"{ref} {target}"


def _write_lines(file: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def _batch_args(args: EvalArgs, asked: Path, receipts: Path) -> BatchArgs:
    return BatchArgs(
        source=asked,
        output=receipts,
        limits=BatchLimits(args.concurrency),
        resume=args.resume and receipts.exists(),
        retry_failed=args.resume,
        max_cost=args.max_cost,
        ask_options={**args.ask_options, "feature": args.feature},
    )


def _read_receipts(file: Path) -> dict[str, dict[str, Any]]:
    """The last receipt of each ref. A line that is none, as one written by halves, is passed over."""
    found: dict[str, dict[str, Any]] = {}
    for text in file.read_bytes().splitlines() if file.exists() else ():
        try:
            receipt = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(receipt, dict):
            found[str(receipt.get("ref"))] = receipt
    return found


def _collect_lines(
    golden: Iterable[GoldenLine], targets: Sequence[str], receipts: Mapping[str, Mapping[str, Any]]
) -> Iterator[EvalLine]:
    for line in golden:
        found = {target: receipts.get(_receipt_ref(line.ref, target)) for target in targets}
        if None in found.values():
            continue
        _require_asked(found.values())
        answers = {target: _answer_of(receipt) for target, receipt in found.items() if receipt is not None}
        prompt = str(line.fields.get("prompt", ""))
        yield EvalLine(line.ref, prompt, line.golden.check, line.golden.reference, answers)


def _require_asked(receipts: Iterable[Mapping[str, Any] | None]) -> None:
    """Raises UsageError for a line that is no batch line."""
    for receipt in receipts:
        error = receipt and receipt.get("error")
        if error and error.get("kind") in {MALFORMED_LINE_KIND, "usage"}:
            raise UsageError(f"{receipt and receipt.get('ref')}: {error.get('message')}")


def _answer_of(receipt: Mapping[str, Any]) -> EvalAnswer:
    cost, error = receipt.get("cost_usd"), receipt.get("error")
    return EvalAnswer(
        text=receipt.get("answer"),
        problem=None if error is None else str(error.get("kind")),
        finish_reason=receipt.get("finish_reason"),
        latency_ms=int(receipt.get("latency_ms") or 0),
        cost=None if cost is None else int(Decimal(cost) * PICO_PER_DOLLAR),
    )


def _judge_lines(
    options: GlobalOptions,
    args: EvalArgs,
    lines: Sequence[EvalLine],
    targets: Sequence[str],
    room: Path,
    receipts: Path,
) -> list[EvalLine]:
    """The lines with what the judge chose, where the primary and another target both have an answer."""
    asked, replies = room / "judge.jsonl", receipts.with_name(receipts.name + JUDGE_SUFFIX)
    _write_lines(asked, _write_questions(args, lines, targets))
    run_batch(options, _batch_args(args, asked, replies))
    choices = {ref: read_choice(str(one.get("answer") or "")) for ref, one in _read_receipts(replies).items()}
    return [
        msgspec.structs.replace(
            line,
            judged={
                target: BothOrders(
                    choices.get(_judge_ref(line.ref, target, 1)), choices.get(_judge_ref(line.ref, target, 2))
                )
                for target in targets[1:]
                if _are_both_answered(line, targets[0], target)
            },
        )
        for line in lines
    ]


def _write_questions(
    args: EvalArgs, lines: Iterable[EvalLine], targets: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Each pair in both orders."""
    for line in lines:
        for target in targets[1:]:
            if not _are_both_answered(line, targets[0], target):
                continue
            primary, other = str(line.answers[targets[0]].text), str(line.answers[target].text)
            for order, (first, second) in enumerate(((primary, other), (other, primary)), 1):
                yield {
                    "id": _judge_ref(line.ref, target, order),
                    "prompt": write_question(line.prompt, first, second, args.rubric),
                    "model": [args.judge],
                    "no_fallback": True,
                    "max_tokens": JUDGE_TOKENS,
                }


def _are_both_answered(line: EvalLine, primary: str, target: str) -> bool:
    return line.answers[primary].text is not None and line.answers[target].text is not None


def _judge_ref(ref: Ref, target: str, order: int) -> str:
    return f"{ref} {target} {order}"
