"""What the receipts of an evaluation say of each target, and of the fallbacks beside the primary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from llmfail.core.evaluation.answer_check import check_answer
from llmfail.core.evaluation.comparison import Comparison, Quality, compare_pairs, count_pairs
from llmfail.core.evaluation.dataset_line import AnswerCheck
from llmfail.core.evaluation.interval import Interval, nearest_rank, wilson_interval
from llmfail.core.evaluation.preference import BothOrders, PlaceBias, is_as_good, measure_place_bias
from llmfail.core.receipt import format_usd
from llmfail.core.request.normalization import normalize_text

Ref = str | int


class EvalAnswer(Struct, frozen=True):
    """What one target made of one line. ``text`` is None without an answer; ``problem`` says why. ``cost`` in
    pico-dollars, None when unknown.
    """

    text: str | None
    problem: str | None = None
    finish_reason: str | None = None
    latency_ms: int = 0
    cost: int | None = None


class EvalLine(Struct, frozen=True):
    """A line with the answers of all targets. ``judged``: the choices of the judge for each other target."""

    ref: Ref
    prompt: str
    check: AnswerCheck
    reference: str | None
    answers: Mapping[str, EvalAnswer]
    judged: Mapping[str, BothOrders] = {}
    to_reference: Mapping[str, float] = {}
    """How similar each answer is to the reference, where they were embedded."""
    to_primary: Mapping[str, float] = {}

    @property
    def is_checked(self) -> bool:
        """Whether it says what an answer must be."""
        return self.check != AnswerCheck() or self.reference is not None


class LineResult(Struct, frozen=True):
    """``passed`` is None where the line expects nothing. ``violation``: why it did not pass."""

    ref: Ref
    passed: bool | None
    violation: str | None = None
    rules: tuple[str, ...] = ()


class TargetReport(Struct, frozen=True):
    """``agreement``: the share of lines on which it says the same as the primary, normalized. ``as_good``: of
    so many judged pairs, those in which the judge did not prefer the primary's answer. Latencies of answers.
    """

    target: str
    asked: int
    answered: int
    results: tuple[LineResult, ...]
    passed: int
    checked: int
    comparison: Comparison | None
    agreement: float | None
    as_good: int
    judged: int
    place_bias: PlaceBias | None
    cost: int | None
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    refusals: int
    cut: int
    rules: Mapping[str, int]
    similarity: float | None = None
    """Mean, of its answers and the references; ``primary_similarity``: and the primary's answers."""
    primary_similarity: float | None = None

    @property
    def pass_rate(self) -> float | None:
        return self.passed / self.checked if self.checked else None

    @property
    def interval(self) -> Interval:
        return wilson_interval(self.passed, self.checked)

    @property
    def quality(self) -> Quality | None:
        """Beside the primary; None for the primary itself."""
        return None if self.comparison is None else self.comparison.quality

    def to_json(self) -> dict[str, Any]:
        compared = self.comparison
        return {
            "asked": self.asked,
            "answered": self.answered,
            "checked": self.checked,
            "passed": self.passed,
            "pass_rate": self.pass_rate,
            "pass_rate_interval": list(self.interval),
            "verdict": self.quality,
            "difference": None if compared is None else compared.difference,
            "difference_interval": None if compared is None else list(compared.interval),
            "p_value": None if compared is None else compared.p_value,
            "agreement": self.agreement,
            "similarity": self.similarity,
            "similarity_to_primary": self.primary_similarity,
            "judge": _judge_to_json(self),
            "cost_usd": None if self.cost is None else format_usd(self.cost),
            "latency_p50_ms": self.latency_p50_ms,
            "latency_p95_ms": self.latency_p95_ms,
            "refusals": self.refusals,
            "cut": self.cut,
            "normalized_by": dict(self.rules),
            "lines": {str(one.ref): one.passed for one in self.results},
        }


def report_target(target: str, primary: str, lines: Sequence[EvalLine], margin: float) -> TargetReport:
    answers = [line.answers[target] for line in lines]
    results = tuple(judge_line(line, target) for line in lines)
    checked = [one for one in results if one.passed is not None]
    answered = [one for one in answers if one.text is not None]
    latencies = sorted(one.latency_ms for one in answered)
    orders = [line.judged[target] for line in lines if target in line.judged]
    verdicts = [found for one in orders if (found := is_as_good(one)) is not None]
    costs = [one.cost for one in answers]
    return TargetReport(
        target=target,
        asked=len(answers),
        answered=len(answered),
        results=results,
        passed=sum(one.passed is True for one in checked),
        checked=len(checked),
        comparison=None if target == primary else _compare(target, results, primary, lines, margin),
        agreement=None if target == primary else _measure_agreement(target, primary, lines),
        as_good=sum(verdicts),
        judged=len(verdicts),
        place_bias=measure_place_bias(orders) if orders else None,
        cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        latency_p50_ms=nearest_rank(latencies, 0.5),
        latency_p95_ms=nearest_rank(latencies, 0.95),
        refusals=sum(one.problem in {"refusal", "content_blocked"} for one in answers),
        cut=sum(one.finish_reason == "length" for one in answers),
        rules=Counter(rule for one in results for rule in one.rules),
        similarity=_mean(line.to_reference[target] for line in lines if target in line.to_reference),
        primary_similarity=_mean(line.to_primary[target] for line in lines if target in line.to_primary),
    )


def judge_line(line: EvalLine, target: str) -> LineResult:
    """A line that expects something is not passed without an answer."""
    answer = line.answers[target]
    if not line.is_checked:
        return LineResult(line.ref, None)
    if answer.text is None:
        return LineResult(line.ref, passed=False, violation=answer.problem or "no answer")
    checked = check_answer(line.check, answer.text)
    violation = checked.violation or _find_reference_difference(line, target, answer.text)
    return LineResult(line.ref, violation is None, violation, checked.rules)


def find_regressions(
    reports: Iterable[TargetReport], baseline: Mapping[str, Mapping[str, bool | None]], margin: float
) -> list[str]:
    """The targets that are worse than in an earlier report, on the lines that both know. ``baseline`` has
    what passed, per target and ref.
    """
    found = []
    for report in reports:
        before = baseline.get(report.target, {})
        pairs = [
            (bool(before[str(one.ref)]), one.passed)
            for one in report.results
            if one.passed is not None and before.get(str(one.ref)) is not None
        ]
        if compare_pairs(count_pairs(pairs), margin).quality is Quality.WORSE:
            found.append(report.target)
    return found


def _compare(
    target: str, results: Sequence[LineResult], primary: str, lines: Sequence[EvalLine], margin: float
) -> Comparison:
    """On the lines that expect something; else on those that were judged, where the primary always passes."""
    pairs = [
        (judge_line(line, primary).passed is True, result.passed is True)
        for line, result in zip(lines, results, strict=True)
        if line.is_checked
    ]
    if not pairs:
        verdicts = (is_as_good(line.judged[target]) for line in lines if target in line.judged)
        pairs = [(True, verdict) for verdict in verdicts if verdict is not None]
    return compare_pairs(count_pairs(pairs), margin)


def _measure_agreement(target: str, primary: str, lines: Sequence[EvalLine]) -> float | None:
    both = [
        (line.answers[primary].text, line.answers[target].text)
        for line in lines
        if line.answers[primary].text is not None and line.answers[target].text is not None
    ]
    same = sum(_is_same(str(first), str(second)) for first, second in both)
    return same / len(both) if both else None


def _find_reference_difference(line: EvalLine, target: str, text: str) -> str | None:
    if line.reference is None:
        return None
    if line.check.similar is None:
        return None if _is_same(line.reference, text) else "not the reference"
    found = line.to_reference.get(target)
    if found is None:
        return "it could not be compared with the reference"
    is_similar = found >= line.check.similar
    return None if is_similar else f"its similarity is {found:.2f}, less than {line.check.similar:g}"


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _is_same(first: str, second: str) -> bool:
    return normalize_text(first).text.casefold() == normalize_text(second).text.casefold()


def _judge_to_json(report: TargetReport) -> dict[str, Any] | None:
    bias = report.place_bias
    if bias is None:
        return None
    return {
        "judged": report.judged,
        "as_good": report.as_good,
        "as_good_interval": list(wilson_interval(report.as_good, report.judged)),
        "place_decides": bias.decides,
        "chose_first_twice": bias.first,
        "chose_second_twice": bias.second,
    }
