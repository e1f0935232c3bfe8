"""What answers when no model does: the ``degrade`` steps of a feature, in their order.

A step that has no answer says why, and the next is tried. What an answer must be holds for these too. The
queue is the last step: it keeps the request and answers nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.cache.single_flight import StoredAnswer
from llmfail.core.degrade import regex_rules
from llmfail.core.degrade.shorten import shorten_request
from llmfail.core.degrade.template import MissingParameter, fill
from llmfail.core.errors import CommandFailed, ExitCode, StoreError, UsageError
from llmfail.core.model import Request, Target
from llmfail.core.receipt import (
    DEGRADED_TIER,
    QUEUED,
    AnswerSource,
    Failure,
    Receipt,
    sum_cost,
    sum_worst_case_cost,
)
from llmfail.core.redaction import is_masked_in_answers, mask_key
from llmfail.core.request.ask import Ask
from llmfail.core.request.expectation import find_violation
from llmfail.core.request.regex_limit import PatternTimeout
from llmfail.core.tokens.token_bounds import size_of
from llmfail.engine.answers.answer_cache import CacheReader
from llmfail.engine.planning.job import Job
from llmfail.engine.planning.request_builder import directory_of, load_template
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.degrade_steps import (
    Cached,
    CommandStep,
    DegradeStep,
    Queue,
    RulesStep,
    ShortenOptions,
    ShortenStep,
    TemplateStep,
    TextStep,
)
from llmfail.settings.schema.settings import Settings

RULES_TIMEOUT = 1.0
"""Seconds that all the expressions of one set may take together."""
DEGRADABLE_EXIT_CODES = frozenset(
    {
        ExitCode.UNAVAILABLE,
        ExitCode.OVER_BUDGET,
        ExitCode.CREDENTIALS_MISSING,
        ExitCode.DEADLINE_PASSED,
    }
)
"""Exit codes after which something else than a model may answer: a request that was refused as it is would
hide behind it.
"""
TOO_LARGE = "too_large"


class FailedAsk(Struct, frozen=True):
    """What was asked in vain; ``fingerprints`` are those of the request on each target of the chain."""

    job: Job
    ask: Ask
    fingerprints: tuple[str, ...]


class DegradedAnswer(Struct, frozen=True):
    """What a step answers; ``stored`` is where it comes from."""

    text: str
    source: AnswerSource
    stored: StoredAnswer | None = None


class StepFailed(Exception):
    """A step has no answer; the text says why."""


RunJob = Callable[[Job], Awaitable[Receipt]]
"""Runs the chain of a job once more, settles it, and returns its receipt."""


def steps_of(settings: Settings, ask: Ask) -> tuple[DegradeStep, ...]:
    """The steps that an ask may come to. ``strict`` leaves only the queue, which pretends nothing."""
    own = settings.find_feature(ask.feature).degrade
    allowed = tuple(step for step in own if isinstance(step, Queue) or not ask.strict)
    asked_for = ask.queue and not any(isinstance(step, Queue) for step in own)
    return (*allowed, Queue()) if asked_for else allowed


def may_help(failure: Failure | None) -> bool:
    return failure is not None and (failure.code in DEGRADABLE_EXIT_CODES or failure.kind == TOO_LARGE)


class DegradeSteps:
    """The degrade steps of one ask whose chain has no answer. ``reader`` finds stored answers, None where
    none are kept; ``run_job`` runs the chain for a shortened request; ``ends_at`` is the deadline on the
    monotonic clock.
    """

    def __init__(
        self, settings: Settings, ports: Ports, reader: CacheReader | None, run_job: RunJob, ends_at: float
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._reader = reader
        self._run_job = run_job
        self._ends_at = ends_at

    async def run(self, steps: Sequence[DegradeStep], failed: Receipt, failed_ask: FailedAsk) -> Receipt:
        """The receipt of the first step that answers, else the one that failed, with what each step said."""
        receipt = failed
        for step in steps:
            receipt, reason = await self._run_step(step, receipt, failed_ask)
            if reason is None:
                return receipt
            receipt = replace(receipt, warnings=(*receipt.warnings, f"{step_name(step)}: {reason}"))
        return receipt

    async def _run_step(
        self, step: DegradeStep, receipt: Receipt, failed_ask: FailedAsk
    ) -> tuple[Receipt, str | None]:
        """The receipt after a step, and why it has no answer."""
        match step:
            case ShortenStep():
                return await self._ask_shortened(step.simplify, receipt, failed_ask)
            case Queue():
                return await self._enqueue(receipt, failed_ask)
            case _:
                try:
                    served = await self._answer_step(step, failed_ask)
                except StepFailed as reason:
                    return receipt, str(reason)
        unfit = find_violation(failed_ask.job.expected, served.text, None)
        return (receipt, unfit) if unfit else (_degraded_receipt(receipt, served), None)

    async def _answer_step(
        self, step: Cached | TemplateStep | RulesStep | CommandStep | TextStep, failed_ask: FailedAsk
    ) -> DegradedAnswer:
        """Raises StepFailed."""
        match step:
            case Cached():
                return await self._find_stale_answer(failed_ask)
            case TemplateStep():
                return DegradedAnswer(self._fill_template(step.template, failed_ask), "template")
            case RulesStep():
                return DegradedAnswer(
                    await self._ports.run_blocking(lambda: self._match_rules(step, failed_ask.job.request)),
                    "rules",
                )
            case CommandStep():
                return DegradedAnswer(await self._run_command(step, failed_ask.job.request), "command")
            case TextStep():
                return DegradedAnswer(step.text, "text")
            case _:
                assert_never(step)

    async def _find_stale_answer(self, failed_ask: FailedAsk) -> DegradedAnswer:
        if self._reader is None:
            raise StepFailed("no answers are stored here")
        found = await self._reader.find_stale(failed_ask.fingerprints)
        if found is None:
            raise StepFailed("there is no stored answer to this request, or none that is young enough")
        return DegradedAnswer(found.text, "stale_cache", found)

    def _fill_template(self, name: str, failed_ask: FailedAsk) -> str:
        known = {
            **failed_ask.ask.parameters,
            "prompt": failed_ask.ask.prompt,
            "feature": failed_ask.job.feature,
        }
        try:
            return fill(load_template(self._settings, name), known)
        except MissingParameter as missing:
            raise StepFailed(f"template {name} is {missing}") from None
        except UsageError as error:
            raise StepFailed(str(error)) from None

    def _match_rules(self, step: RulesStep, request: Request) -> str:
        try:
            found = regex_rules.apply_rules(
                self._settings.rules[step.rules], texts_of(request), RULES_TIMEOUT
            )
        except (PatternTimeout, ValueError) as error:
            raise StepFailed(f"{step.rules}: {error}") from None
        return regex_rules.render_answer(step, found)

    async def _run_command(self, step: CommandStep, request: Request) -> str:
        limit = min(step.timeout, self._seconds_left())
        if limit <= 0:
            raise StepFailed("no time was left")
        prompt = "\n\n".join(message.text for message in request.messages if message.role == "user")
        argv, place = step.command, directory_of(self._settings)
        try:
            said = await self._ports.run_blocking(lambda: self._ports.run_command(argv, prompt, limit, place))
        except CommandFailed as error:
            raise StepFailed(self._mask_keys(str(error))) from None
        return self._mask_keys(said)

    def _mask_keys(self, text: str) -> str:
        """A program has our environment, and may print it."""
        for provider in self._settings.providers.values():
            for key in (provider.api_key, provider.token):
                if is_masked_in_answers(key):
                    text = mask_key(text, key)
        return text

    async def _ask_shortened(
        self, step: ShortenOptions, receipt: Receipt, failed_ask: FailedAsk
    ) -> tuple[Receipt, str | None]:
        if self._seconds_left() <= 0:
            return receipt, "no time was left"
        request, limit = shorten_request(failed_ask.job.request, step), failed_ask.job.max_cost
        job = replace(
            failed_ask.job,
            id=self._ports.new_id(),
            request=request,
            output=request.output_bound,
            size=size_of(request),
            rounds=0,
            deadline=self._seconds_left(),
            max_cost=None if limit is None else max(limit - sum_worst_case_cost(receipt.trail), 0),
            wait=0.0,
        )
        second = await self._run_job(job)
        trail = (*receipt.trail, *second.trail)
        warnings = (*receipt.warnings, *second.warnings)
        if second.error is not None:
            reason = f"nobody answered the smaller prompt either ({second.error.kind})"
            return replace(receipt, trail=trail, cost_pico_usd=sum_cost(trail), warnings=warnings), reason
        answered = replace(
            second, id=receipt.id, tier=DEGRADED_TIER, trail=trail, cost_pico_usd=sum_cost(trail)
        )
        return replace(answered, warnings=warnings, looked=receipt.looked), None

    async def _enqueue(self, receipt: Receipt, failed_ask: FailedAsk) -> tuple[Receipt, str | None]:
        enqueue = self._ports.enqueue
        if enqueue is None:
            return receipt, "there is no queue here (store: memory, or a drill)"
        try:
            number = await self._ports.run_blocking(lambda: enqueue(failed_ask.ask, receipt.retry_at))
        except (StoreError, UsageError) as refused:
            return receipt, str(refused)
        story = receipt.error.message if receipt.error else ""
        error = Failure(3, QUEUED, f"nothing could answer now; kept in the queue as {number} ({story})")
        return replace(receipt, queued=number, error=error), None

    def _seconds_left(self) -> float:
        return self._ends_at - self._ports.monotonic()


def step_name(step: DegradeStep) -> str:
    """As the configuration writes it: its first key, or a word that stands alone."""
    return next(iter(step.__struct_fields__), type(step).__name__.lower())


def texts_of(request: Request) -> list[tuple[str | None, str]]:
    """What the user said, and the text files that came with it, by their names."""
    said = [message for message in request.messages if message.role == "user"]
    files = (file for message in said for file in message.attachments if file.kind == "text")
    return [
        (None, "\n\n".join(message.text for message in said)),
        *((file.name, file.data.decode("utf-8-sig", "replace")) for file in files),
    ]


def _degraded_receipt(receipt: Receipt, degraded: DegradedAnswer) -> Receipt:
    stored = degraded.stored
    return replace(
        receipt,
        answer=degraded.text,
        source=degraded.source,
        tier=DEGRADED_TIER,
        target=None if stored is None else Target.parse(stored.target),
        response_model=None if stored is None else stored.model,
        finish_reason=None if stored is None else stored.finish_reason,
        parts=() if stored is None else stored.parts,
        error=None,
        retry_at=None,
    )
