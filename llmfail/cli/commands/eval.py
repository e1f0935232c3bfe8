"""``llmfail eval``: a golden data set on every target of a chain, and how good the fallbacks are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfail.cli.arguments.ask_values import parse_dollars
from llmfail.cli.io.output import emit_json, say
from llmfail.cli.run.dataset_reading import find_shipped_dataset
from llmfail.cli.run.run_eval import EvalArgs, Evaluation, run_eval
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.evaluation.eval_report import TargetReport, find_regressions, report_target
from llmfail.core.evaluation.preference import DEFAULT_RUBRIC

if TYPE_CHECKING:
    from llmfail.cli.arguments.global_options import GlobalOptions


def command(
    ctx: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA.jsonl]", help="The golden data set; else the feature's shipped one."),
    ] = None,
    feature: Annotated[
        str, typer.Option("-f", "--feature", metavar="NAME", help="Whose chain is evaluated.")
    ] = "default",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m", "--model", metavar="TARGET", help="Instead of the chain; the first is the primary."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="TARGET", help="Compares answers, in both orders.")
    ] = None,
    rubric: Annotated[
        str, typer.Option("--rubric", metavar="TEXT", help="What the judge prefers.")
    ] = DEFAULT_RUBRIC,
    embed: Annotated[
        str | None,
        typer.Option("--embed", metavar="NAME", help="The feature whose vectors compare answers."),
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, max=1.0, help="Less than this much worse is as good.")
    ] = 0.1,
    min_pass: Annotated[
        float | None,
        typer.Option("--min-pass", metavar="SHARE", min=0.0, max=1.0, help="Exit 1 below this pass rate."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Exit 1 where it is worse than in this --json."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where the receipts go.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with FILE; pays nothing twice.")] = False,
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", metavar="USD", help="Of the whole evaluation; also of the judge."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, max=1000, help="So many asks at once.")
    ] = 16,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the disagreements side by side.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
) -> None:
    """Ask every target of a chain the lines of a golden data set, and judge the answers.

    A line is a batch line with `expect` or `reference`: {"prompt": "2 + 2?", "expect": {"number": 4}}. To
    expect there are equals, contains, regex, json, schema, number (with tolerance). Texts are compared
    without thoughts, a fence around them, white space and the like. Each target is asked alone. `similar`
    is how similar to the reference an answer must be, by vectors of the feature that --embed names.

    A fallback is as good as the primary when the interval of the difference (95 %) excludes that it is worse
    by the margin, and worse when it excludes that it is equal.

    Exits 0; 1 below --min-pass or worse than --baseline; 3 when no target answered a line; 130 after Ctrl-C,
    when --resume goes on.

    Examples:

      llmfail eval -f pii_detection --json

      llmfail eval golden.jsonl -f pii_detection -o receipts.jsonl

      llmfail eval golden.jsonl -m openai/gpt-6-luna -m anthropic/claude-haiku-5-5 --judge google/gemini-3-pro

      llmfail eval golden.jsonl --json --min-pass 0.9 --baseline main.json > now.json
    """
    options: GlobalOptions = ctx.obj
    if resume and output is None:
        raise UsageError("--resume needs -o FILE: the receipts of the evaluation that goes on")
    earlier = {} if baseline is None else _read_baseline(baseline)
    args = EvalArgs(
        source=source or find_shipped_dataset(feature),
        feature=feature,
        targets=tuple(model or ()),
        judge=judge,
        rubric=rubric,
        embed_feature=embed,
        output=output,
        resume=resume,
        max_cost=None if max_cost is None else parse_dollars("--max-cost", max_cost),
        concurrency=concurrency,
        ask_options={},
    )
    found = run_eval(options, args)
    reports = [report_target(target, found.targets[0], found.lines, margin) for target in found.targets]
    _show(found, reports, as_json=as_json)
    _write_files(found, reports, junit, html)
    if found.code > ExitCode.INCOMPLETE or not any(report.answered for report in reports):
        raise typer.Exit(found.code)
    problems = [*_find_low(reports, min_pass), *_find_worse(reports, earlier, margin)]
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(ExitCode.NOT_GOOD)


def _show(found: Evaluation, reports: Sequence[TargetReport], *, as_json: bool) -> None:
    if as_json:
        emit_json({"lines": len(found.lines), "targets": {one.target: one.to_json() for one in reports}})
        return
    from llmfail.cli.render.eval_view import render
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, render(screen, reports))


def _write_files(
    found: Evaluation, reports: Sequence[TargetReport], junit: Path | None, html: Path | None
) -> None:
    from llmfail.cli.render import eval_files

    try:
        if junit is not None:
            junit.write_text(eval_files.format_junit(reports), encoding="utf-8")
        if html is not None:
            html.write_text(eval_files.format_html(found.lines, reports), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None


def _find_low(reports: Sequence[TargetReport], min_pass: float | None) -> list[str]:
    if min_pass is None:
        return []
    return [
        f"{one.target} passed {one.passed} of {one.checked}, less than --min-pass {min_pass:g}"
        for one in reports
        if one.pass_rate is None or one.pass_rate < min_pass
    ]


def _find_worse(
    reports: Sequence[TargetReport], earlier: Mapping[str, Mapping[str, bool | None]], margin: float
) -> list[str]:
    worse = find_regressions(reports, earlier, margin) if earlier else []
    return [f"{target} is worse than in the baseline" for target in worse]


def _read_baseline(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
        return {target: report["lines"] for target, report in document["targets"].items()}
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{file} is not what eval --json prints") from None
