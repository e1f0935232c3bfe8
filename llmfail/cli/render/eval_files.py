"""An evaluation as files: JUnit XML for machines, and a page with the disagreements for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from xml.sax.saxutils import quoteattr

from llmfail.core.evaluation.eval_report import EvalLine, TargetReport, judge_line

_NOT_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse;width:100%;table-layout:fixed}"
    "td,th{border:1px solid #ccc;padding:.5rem;vertical-align:top;text-align:left}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:13px/1.4 ui-monospace,monospace}"
    ".bad{color:#a40000}@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}"
    ".bad{color:#ff8a80}td,th{border-color:#444}}"
)


def format_junit(reports: Sequence[TargetReport]) -> str:
    """A suite for each target, a case for each line; a line that expects nothing is skipped."""
    suites = "".join(_format_suite(report) for report in reports)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{suites}</testsuites>\n'


def format_html(lines: Sequence[EvalLine], reports: Sequence[TargetReport]) -> str:
    """The lines on which the targets differ, in what they passed or, where nothing is expected, in what they
    say.
    """
    targets = [report.target for report in reports]
    rows = "".join(_format_row(line, targets) for line in lines if _is_disagreement(line, targets))
    head = "".join(f"<th scope=col>{escape(target)}</th>" for target in targets)
    table = (
        f"<table><tr><th scope=col>line</th>{head}</tr>{rows}</table>" if rows else "<p>There are none.</p>"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Disagreements</title>"
        f"<style>{STYLE}</style><h1>Disagreements</h1>{table}</html>\n"
    )


def _format_suite(report: TargetReport) -> str:
    skipped = len(report.results) - report.checked
    failures = report.checked - report.passed
    name = quoteattr(report.target)
    cases = "".join(_iter_cases(report))
    counts = f'tests="{len(report.results)}" failures="{failures}" skipped="{skipped}"'
    return f"<testsuite name={name} {counts}>\n{cases}</testsuite>\n"


def _iter_cases(report: TargetReport) -> Iterator[str]:
    for one in report.results:
        case = f"<testcase classname={quoteattr(report.target)} name={_attribute(str(one.ref))}"
        if one.passed is None:
            yield f"{case}><skipped/></testcase>\n"
        elif one.passed:
            yield f"{case}/>\n"
        else:
            yield f"{case}><failure message={_attribute(one.violation or '')}/></testcase>\n"


def _attribute(text: str) -> str:
    """Without what XML has no characters for."""
    return quoteattr(_NOT_XML.sub("\ufffd", text))


def _is_disagreement(line: EvalLine, targets: Sequence[str]) -> bool:
    if line.is_checked:
        return len({judge_line(line, target).passed for target in targets}) > 1
    return len({line.answers[target].text for target in targets}) > 1


def _format_row(line: EvalLine, targets: Sequence[str]) -> str:
    cells = "".join(_format_cell(line, target) for target in targets)
    return f"<tr><th scope=row>{escape(str(line.ref))}<pre>{escape(line.prompt)}</pre></th>{cells}</tr>"


def _format_cell(line: EvalLine, target: str) -> str:
    result, answer = judge_line(line, target), line.answers[target]
    shown = f"<pre>{escape(answer.text or '')}</pre>"
    if result.violation is None:
        return f"<td>{shown}</td>"
    return f"<td><p class=bad>{escape(result.violation)}</p>{shown}</td>"
