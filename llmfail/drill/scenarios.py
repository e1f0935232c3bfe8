"""The scenes of an outage: what the configuration promises, and what was seen.

A scene is a function of a Play. It brings about its own beginnings, so each can be played alone. What was
sent is counted where it arrives, at the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission.circuit import CircuitState
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.drill.scenario_run import ScenarioRun, ScenarioSubject
from llmfail.settings.schema.degrade_steps import (
    Cached,
    CommandStep,
    DegradeStep,
    Queue,
    RulesStep,
    TemplateStep,
    TextStep,
)

ANSWERING_STEPS: tuple[type[DegradeStep], ...] = (TemplateStep, RulesStep, CommandStep, TextStep)
"""The degrade steps that answer when every model is down."""
UNDRILLED_STEPS: Mapping[type[DegradeStep], str] = {
    Cached: "a stored answer serves where there is one",
    Queue: "the request is queued",
}
"""What other steps do in earnest. A drill stores and keeps nothing."""
OUTAGE_FAULT = "503"
RETRY_AFTER_SECONDS = 30.0
"""What the rate-limited provider asks for, in seconds."""


class ScenarioResult(Struct, frozen=True):
    """What a scene showed. ``summary`` is its part of the verdict; ``has_warning``: nothing that was promised
    is broken, but the user should know. ``receipt`` is that of the ask that was judged, ``requests`` are
    those of the part that was judged.
    """

    ok: bool
    expected: str
    observed: str
    receipt: Receipt | None = None
    summary: str = ""
    has_warning: bool = False
    requests: Mapping[Target, int] = field(default_factory=dict)
    failover: float | None = None
    """Seconds that the fault cost the first ask that met it; None without a fault or an answer."""
    feature: str = ""
    name: str = ""


def check_healthy(run: ScenarioRun) -> ScenarioResult:
    primary = run.subject.primary
    receipt = run.ask()
    ok = receipt.target == primary
    words = f"{primary} does not answer even on a healthy day: {_describe_obstacle(receipt, primary)}"
    return ScenarioResult(ok, f"{primary} answers", _describe_answer(receipt), receipt, "" if ok else words)


def check_primary_down(run: ScenarioRun) -> ScenarioResult:
    primary = run.subject.primary
    run.set_fault(OUTAGE_FAULT, run.subject.outage_providers)
    receipt, failover = run.ask_timed()
    failures = run.view(primary).failures
    counted = failures > 0 or not run.subject.breaker_rules.enabled
    saw = f"{_describe_answer(receipt)}; the circuit of {primary} counts {_format_count(failures, 'failure')}"
    words = f"survives an outage of {primary.provider} ({_describe_answerer(receipt)})"
    return _judge_fallback(
        run,
        receipt,
        "an outage of",
        ScenarioResult(counted, "the circuit counts", saw, summary=words, failover=failover),
    )


def check_circuit_opens(run: ScenarioRun) -> ScenarioResult:
    primary, threshold = run.subject.primary, run.subject.breaker_rules.failure_threshold
    if not run.has_circuit(primary):
        return _report_no_circuit(primary)
    run.set_fault(OUTAGE_FAULT, run.subject.outage_providers)
    opened = _ask_until_open(run, [primary])
    failures = run.requests[primary]
    receipt = run.ask()
    more = run.requests[primary] - failures
    ok = opened and failures <= threshold and more == 0
    expected = (
        f"it opens after at most {_format_count(threshold, 'failure')}, then nothing is sent to {primary}"
    )
    saw = f"{'open' if opened else 'not open'} after {_format_count(failures, 'request')}, then {more} more"
    return ScenarioResult(ok, expected, saw, receipt, "" if ok else f"the circuit of {primary} is {saw}")


def check_fallback_serves(run: ScenarioRun) -> ScenarioResult:
    primary = run.subject.primary
    if not run.has_circuit(primary):
        return _report_no_circuit(primary)
    run.set_fault(OUTAGE_FAULT, run.subject.outage_providers)
    _ask_until_open(run, [primary])
    run.reset_counts()
    receipt = run.ask()
    sent = run.requests[primary]
    saw = f"{_describe_answer(receipt)}; {_format_count(sent, 'request')} to {primary}"
    scene = ScenarioResult(sent == 0, f"nothing is sent to {primary}", saw)
    return _judge_fallback(run, receipt, "an open circuit of", scene)


def check_recovery(run: ScenarioRun) -> ScenarioResult:
    primary, needed = run.subject.primary, run.subject.breaker_rules.success_threshold
    if not run.has_circuit(primary):
        return _report_no_circuit(primary)
    run.set_fault(OUTAGE_FAULT, run.subject.outage_providers)
    _ask_until_open(run, [primary])
    wait = run.seconds_until_retry(primary)
    run.set_fault("none")
    run.clock.advance(wait)
    run.reset_counts()
    receipts = [run.ask() for _ in range(needed)]
    closed, sent = run.view(primary).state == CircuitState.CLOSED, run.requests[primary]
    ok = closed and sent == needed and all(receipt.target == primary for receipt in receipts)
    expected = f"{_format_count(needed, 'trial')} after {_format_seconds(wait)} close the circuit"
    saw = f"{'closed' if closed else 'not closed'} by {_format_count(sent, 'trial')}"
    words = f"recovers after {_format_seconds(wait)} by {_format_count(needed, 'trial')}"
    return ScenarioResult(ok, expected, saw, receipts[-1], words if ok else f"does not recover: {saw}")


def check_rate_limit(run: ScenarioRun) -> ScenarioResult:
    primary = run.subject.primary
    run.set_fault(f"429:{RETRY_AFTER_SECONDS:g}", [primary.provider])
    _, failover = run.ask_timed()
    first, wait = run.requests[primary], run.seconds_until_retry(primary)
    receipt = run.ask()
    more = run.requests[primary] - first
    rules = run.subject.breaker_rules
    pause = min(RETRY_AFTER_SECONDS, rules.max_pause)
    kept = (more == 0 and abs(wait - pause) < 1e-3) or pause == 0 or not rules.enabled
    counts = f"{_format_count(first, 'request')}, then {more} more"
    saw = f"{_describe_answer(receipt)}; {counts}; left alone for {_format_seconds(wait)}"
    expected = f"{primary} is left alone for {_format_seconds(pause)}"
    scene = ScenarioResult(kept, expected, saw, failover=failover)
    return _judge_fallback(run, receipt, "a rate limit at", scene)


def check_hang(run: ScenarioRun) -> ScenarioResult:
    run.set_fault("hang", run.subject.outage_providers)
    started = run.clock.now
    receipt, failover = run.ask_timed()
    took = _format_seconds(run.clock.now - started)
    scene = ScenarioResult(
        ok=run.clock.now - started <= run.deadline + 0.1,
        expected="within the deadline",
        observed=f"{_describe_answer(receipt)} after {took}",
        summary=f"a hang costs {took}",
        failover=failover,
    )
    return _judge_fallback(run, receipt, "a hang of", scene)


def check_bad_key(run: ScenarioRun) -> ScenarioResult:
    provider = run.subject.primary.provider
    run.set_fault("auth", run.subject.same_key_providers)
    _, failover = run.ask_timed()
    first = run.count_requests(provider)
    receipt = run.ask()
    more = run.count_requests(provider) - first
    saw = f"{_describe_answer(receipt)}; {_format_count(first, 'request')} with the key, then {more} more"
    return _judge_fallback(
        run,
        receipt,
        "a bad key for",
        ScenarioResult(more == 0, "the key is not sent again", saw, failover=failover),
    )


def check_everything_down(run: ScenarioRun) -> ScenarioResult:
    guarded = [target for target in run.subject.chain if run.has_circuit(target)]
    run.set_fault(OUTAGE_FAULT)
    _ask_until_open(run, guarded)
    run.reset_counts()
    receipt = run.ask()
    told = _describe_answer(receipt)
    if _has_answering_step(run.subject):
        ok = receipt.ok and receipt.tier == 4
        return ScenarioResult(ok, "a degraded answer", told, receipt, f"everything down: {told}")
    code = receipt.exit_code
    ok = code == ExitCode.UNAVAILABLE and (receipt.retry_at is not None or not guarded)
    when = "cannot tell when to retry"
    if receipt.retry_at is not None:
        when = "tells when to retry"
        told = f"{told}, retry in {_format_seconds(receipt.retry_at - run.clock.wall())}"
    words = [
        UNDRILLED_STEPS[type(step)] for step in run.subject.feature.degrade if type(step) in UNDRILLED_STEPS
    ]
    earnest = f" (in earnest {', else '.join(words)})" if words else ""
    return ScenarioResult(
        ok, "exit 3, and when to retry", told, receipt, f"everything down: exit {code}, {when}{earnest}"
    )


SCENARIOS: Mapping[str, Callable[[ScenarioRun], ScenarioResult]] = {
    "healthy": check_healthy,
    "primary-down": check_primary_down,
    "circuit-opens": check_circuit_opens,
    "fallback-serves": check_fallback_serves,
    "recovery": check_recovery,
    "rate-limit": check_rate_limit,
    "hang": check_hang,
    "bad-key": check_bad_key,
    "everything-down": check_everything_down,
}
"""In the order of the story."""


def _judge_fallback(
    run: ScenarioRun, receipt: Receipt, trouble: str, result: ScenarioResult
) -> ScenarioResult:
    """With a fallback somebody has to answer, whatever else the scene expects; without one nobody has to."""
    cast = run.subject
    provider = cast.primary.provider
    if cast.has_no_fallback and not _has_answering_step(cast):
        words = f"no fallback: an outage of {provider} is an outage of this feature"
        expected = f"no answer, for want of a fallback; {result.expected}"
        return replace(
            result, expected=expected, receipt=receipt, summary=words, has_warning=True, failover=None
        )
    words = result.summary if result.ok else f"{trouble} {provider}: {result.observed}"
    if cast.is_outage_total and not receipt.ok:
        words = f"does not survive an outage of {provider}: every fallback is at {cast.shared_address} too"
    elif receipt.error is not None:
        words = f"does not survive {trouble} {provider}: exit {receipt.error.code} ({receipt.error.kind})"
    return replace(
        result,
        ok=result.ok and receipt.ok,
        expected=f"a fallback answers; {result.expected}",
        receipt=receipt,
        summary=words,
        failover=result.failover if receipt.ok else None,
    )


def _report_no_circuit(primary: Target) -> ScenarioResult:
    words = f"no circuit guards {primary}: its breaker is disabled, or its recovery_timeout is 0"
    return ScenarioResult(
        ok=True, expected="no circuit", observed="no circuit", summary=words, has_warning=True
    )


def _ask_until_open(run: ScenarioRun, targets: Sequence[Target]) -> bool:
    """Ask until these circuits are open, but no more often than it may take."""
    most = max((run.breaker_rules(target).failure_threshold for target in targets), default=0)
    for _ in range(most):
        if all(map(run.is_open, targets)):
            break
        run.ask()
    return all(map(run.is_open, targets))


def _has_answering_step(subject: ScenarioSubject) -> bool:
    return any(isinstance(step, ANSWERING_STEPS) for step in subject.feature.degrade)


def _describe_answer(receipt: Receipt) -> str:
    if receipt.error is not None:
        return f"no answer (exit {receipt.error.code}, {receipt.error.kind})"
    return f"{receipt.target or receipt.source} answered (tier {receipt.tier})"


def _describe_answerer(receipt: Receipt) -> str:
    return f"{receipt.target or receipt.source} answers, tier {receipt.tier}"


def _describe_obstacle(receipt: Receipt, target: Target) -> str:
    """What stood in the way of a target."""
    line = next((entry for entry in receipt.trail if entry.target == target), None)
    return f"{line.outcome} ({line.note})" if line else "it is not in the chain"


def _format_count(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _format_seconds(seconds: float) -> str:
    return f"{round(seconds, 2):g} s"
