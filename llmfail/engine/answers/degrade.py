"""What answers when no model does: the ``degrade`` steps of a feature, in their order.

A step that has no answer says why, and the next is tried. What an answer must be holds for these too. The
queue is the last step: it keeps the request and answers nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.cache.single_flight import Kept
from llmfail.core.degrade import regex_rules
from llmfail.core.degrade.shorten import simplified
from llmfail.core.degrade.template import Missing, fill
from llmfail.core.errors import CommandFailed, ExitCode, StoreError
from llmfail.core.model import Request, Target
from llmfail.core.receipt import DEGRADED, Failure, Receipt, Source, most_paid, total
from llmfail.core.redaction import hides_in_answers, masked
from llmfail.core.request.ask import Ask
from llmfail.core.request.expectation import objection
from llmfail.core.request.regex_limit import PatternTimeout
from llmfail.core.tokens.token_bounds import size_of
from llmfail.engine.answers.answer_cache import Reader
from llmfail.engine.planning.job import Job
from llmfail.engine.planning.request_builder import directory_of
from llmfail.engine.ports.ports import Ports
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import (
    Cached,
    Command,
    Fixed,
    Queue,
    Rules,
    Simplified,
    Simplify,
    Step,
    Template,
)

RULES_LIMIT = 1.0
"""Seconds that all the expressions of one set may take together."""
HELPED = frozenset(
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


class Case(Struct, frozen=True):
    """What was asked in vain; ``fingerprints`` are those of the request on each target of the chain."""

    job: Job
    ask: Ask
    fingerprints: tuple[str, ...]


class Served(Struct, frozen=True):
    """What a step answers; ``stored`` is where it comes from."""

    text: str
    source: Source
    stored: Kept | None = None


class Unserved(Exception):
    """A step has no answer; the text says why."""


Again = Callable[[Job], Awaitable[Receipt]]
"""Walk the chain of a job, settle it, and tell."""


def steps_of(settings: Settings, ask: Ask) -> tuple[Step, ...]:
    """The steps that an ask may come to. ``strict`` leaves only the queue, which pretends nothing."""
    own = settings.feature(ask.feature).degrade
    allowed = tuple(step for step in own if isinstance(step, Queue) or not ask.strict)
    asked_for = ask.queue and not any(isinstance(step, Queue) for step in own)
    return (*allowed, Queue()) if asked_for else allowed


def may_help(failure: Failure | None) -> bool:
    return failure is not None and (failure.code in HELPED or failure.kind == TOO_LARGE)


class Ladder:
    """The steps below the chain of one ask, for which it ``failed``. ``again`` walks a chain once more;
    ``ends_at`` is the deadline on the monotonic clock.
    """

    def __init__(
        self, settings: Settings, ports: Ports, reader: Reader | None, again: Again, ends_at: float
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._reader = reader
        self._again = again
        self._ends_at = ends_at

    async def descend(self, steps: Sequence[Step], failed: Receipt, case: Case) -> Receipt:
        """The receipt of the first step that answers, else the one that failed, with what each step said."""
        receipt = failed
        for step in steps:
            receipt, reason = await self._step(step, receipt, case)
            if reason is None:
                return receipt
            receipt = replace(receipt, warnings=(*receipt.warnings, f"{step_name(step)}: {reason}"))
        return receipt

    async def _step(self, step: Step, receipt: Receipt, case: Case) -> tuple[Receipt, str | None]:
        """The receipt after a step, and why it has no answer."""
        match step:
            case Simplify():
                return await self._simplify(step.simplify, receipt, case)
            case Queue():
                return await self._queue(receipt, case)
            case _:
                try:
                    served = await self._served(step, case)
                except Unserved as reason:
                    return receipt, str(reason)
        unfit = objection(case.job.expected, served.text, None)
        return (receipt, unfit) if unfit else (_answered(receipt, served), None)

    async def _served(self, step: Cached | Template | Rules | Command | Fixed, case: Case) -> Served:
        """Raises Unserved."""
        match step:
            case Cached():
                return await self._cached(case)
            case Template():
                return Served(self._filled(step.template, case), "template")
            case Rules():
                return Served(await self._ports.aside(lambda: self._found(step, case.job.request)), "rules")
            case Command():
                return Served(await self._said(step, case.job.request), "command")
            case Fixed():
                return Served(step.text, "text")
            case _:
                assert_never(step)

    async def _cached(self, case: Case) -> Served:
        if self._reader is None:
            raise Unserved("no answers are stored here")
        found = await self._reader.stale(case.fingerprints)
        if found is None:
            raise Unserved("no stored answer to this request is young enough")
        return Served(found.text, "stale_cache", found)

    def _filled(self, name: str, case: Case) -> str:
        known = {**case.ask.parameters, "prompt": case.ask.prompt, "feature": case.job.feature}
        try:
            return fill(self._settings.templates[name], known)
        except Missing as missing:
            raise Unserved(f"template {name} is {missing}") from None

    def _found(self, step: Rules, request: Request) -> str:
        try:
            found = regex_rules.matches(self._settings.rules[step.rules], texts_of(request), RULES_LIMIT)
        except (PatternTimeout, ValueError) as error:
            raise Unserved(f"{step.rules}: {error}") from None
        return regex_rules.answer(step, found)

    async def _said(self, step: Command, request: Request) -> str:
        limit = min(step.timeout, self._left())
        if limit <= 0:
            raise Unserved("no time was left")
        prompt = "\n\n".join(message.text for message in request.messages if message.role == "user")
        argv, place = step.command, directory_of(self._settings)
        try:
            said = await self._ports.aside(lambda: self._ports.command(argv, prompt, limit, place))
        except CommandFailed as error:
            raise Unserved(self._without_keys(str(error))) from None
        return self._without_keys(said)

    def _without_keys(self, text: str) -> str:
        """A program has our environment, and may print it."""
        for provider in self._settings.providers.values():
            for key in (provider.api_key, provider.token):
                if hides_in_answers(key):
                    text = masked(text, key)
        return text

    async def _simplify(self, step: Simplified, receipt: Receipt, case: Case) -> tuple[Receipt, str | None]:
        if self._left() <= 0:
            return receipt, "no time was left"
        request, limit = simplified(case.job.request, step), case.job.max_cost
        job = replace(
            case.job,
            id=self._ports.new_id(),
            request=request,
            output=request.max_tokens,
            size=size_of(request),
            rounds=0,
            deadline=self._left(),
            max_cost=None if limit is None else max(limit - most_paid(receipt.trail), 0),
            wait=0.0,
        )
        second = await self._again(job)
        trail = (*receipt.trail, *second.trail)
        warnings = (*receipt.warnings, *second.warnings)
        if second.error is not None:
            reason = f"nobody answered the smaller prompt either ({second.error.kind})"
            return replace(receipt, trail=trail, cost=total(trail), warnings=warnings), reason
        answered = replace(second, id=receipt.id, tier=DEGRADED, trail=trail, cost=total(trail))
        return replace(answered, warnings=warnings, looked=receipt.looked), None

    async def _queue(self, receipt: Receipt, case: Case) -> tuple[Receipt, str | None]:
        enqueue = self._ports.enqueue
        if enqueue is None:
            return receipt, "there is no queue here (store: memory, or a drill)"
        try:
            number = await self._ports.aside(lambda: enqueue(case.ask, receipt.retry_at))
        except StoreError as full:
            return receipt, str(full)
        story = receipt.error.message if receipt.error else ""
        error = Failure(
            3, "queued", f"nothing could answer now; kept as {number} for `llmfail queue run` ({story})"
        )
        return replace(receipt, queued=number, error=error), None

    def _left(self) -> float:
        return self._ends_at - self._ports.monotonic()


def step_name(step: Step) -> str:
    """As the configuration writes it."""
    return "text" if isinstance(step, Fixed) else type(step).__name__.lower()


def texts_of(request: Request) -> list[tuple[str | None, str]]:
    """What the user said, and the text files that came with it, by their names."""
    said = [message for message in request.messages if message.role == "user"]
    files = (file for message in said for file in message.attachments if not file.is_image)
    return [
        (None, "\n\n".join(message.text for message in said)),
        *((file.name, file.data.decode("utf-8-sig", "replace")) for file in files),
    ]


def _answered(receipt: Receipt, served: Served) -> Receipt:
    stored = served.stored
    return replace(
        receipt,
        answer=served.text,
        source=served.source,
        tier=DEGRADED,
        target=None if stored is None else Target.parse(stored.target),
        response_model=None if stored is None else stored.model,
        finish_reason=None if stored is None else stored.finish_reason,
        error=None,
        retry_at=None,
    )
