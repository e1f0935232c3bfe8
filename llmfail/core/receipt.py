"""The record of one ask, and the only one: the JSON receipt, the log and ``plan`` are made of these
values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llmfail.core.arm_choice import ArmChoice
from llmfail.core.conversation import Message, Part, ToolCall
from llmfail.core.errors import ExitCode
from llmfail.core.model import Embedding, FinishReason, Target, Usage

AnswerSource = Literal["model", "cache", "stale_cache", "template", "rules", "command", "text", "none"]
PICO_PER_DOLLAR = Decimal(10) ** 12
DEGRADED_TIER = 4
"""The tier of an answer that no model gave to the request as it was."""


class SkipReason(StrEnum):
    """Why a target was not called."""

    CIRCUIT_OPEN = "circuit_open"
    PROBING = "probing"
    RAMPING = "ramping"
    """It is back and takes a growing share of the calls, of which this is none."""
    FORCED_OPEN = "held"
    NO_KEY = "no_key"
    DISABLED = "disabled"
    OVER_BUDGET = "over_budget"
    UNKNOWN_PRICE = "unknown_price"
    RATE_LIMITED_HERE = "rate_limited_here"
    TOO_SMALL = "too_small"
    TOO_EXPENSIVE = "too_expensive"
    DEADLINE = "deadline"
    UNSUITED = "unsuited"
    """It cannot be sent what is asked."""
    OTHER_MODEL = "other_model"
    """For embeddings only."""


class TrailEntry(Struct, frozen=True):
    """A call, or the reason why there was none. ``retry_after`` in seconds; ``request_id`` is what the
    provider calls the request, for its support.
    """

    target: Target
    action: Literal["called", "skipped"]
    outcome: str
    status: int | None = None
    latency_ms: int | None = None
    cost_pico_usd: int | None = 0
    """None when the price is unknown."""
    retry_after: float | None = None
    note: str = ""
    request_id: str | None = None
    dropped: tuple[str, ...] = ()
    """What of the request its wire cannot carry; in the JSON only where there is any."""
    cause: str | None = None
    """The outcome that keeps a target from being asked that was skipped; in the note, not in the JSON."""
    held: int = 0
    """The worst case that was held for a call; not in the JSON."""
    open_reason: str | None = None
    """Whether failures or a pause held a target back that was skipped as ``circuit_open``."""

    @property
    def shown_outcome(self) -> str:
        """The outcome as people read it."""
        return "paused" if self.open_reason == "pause" else self.outcome

    @property
    def cost_usd(self) -> Decimal | None:
        """US dollars; None when the price is unknown."""
        return dollars_of(self.cost_pico_usd)

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "target": str(self.target),
            "action": self.action,
            "outcome": self.outcome,
            "status": self.status,
            "latency_ms": self.latency_ms,
            "cost_usd": format_usd(self.cost_pico_usd),
            "retry_after": self.retry_after,
        }
        if self.dropped:
            shown["dropped"] = list(self.dropped)
        if self.request_id:
            shown["request_id"] = self.request_id
        if self.open_reason:
            shown["open_reason"] = self.open_reason
        if self.note:
            shown["note"] = self.note
        return shown


QUEUED = "queued"
"""The kind of a failure whose request waits to be asked again by ``llmfail queue run``."""


class Failure(Struct, frozen=True):
    """Why there is no answer. ``code`` is the exit code. The message is for whoever asks, on the command
    line, from Python or over HTTP: options of the command line stand in none.
    """

    code: int
    kind: str
    message: str


class Repeat(Struct, frozen=True):
    """An ask without an answer is asked again at a moment, in epoch seconds. ``is_pause``: no target can be
    asked before; otherwise it is a backoff.
    """

    at: float
    is_pause: bool


class Receipt(Struct, frozen=True):
    """The result of one ask. ``retry_at`` is in epoch seconds, ``latency_ms`` in milliseconds."""

    id: str
    feature: str
    trail: tuple[TrailEntry, ...] = ()
    answer: str | None = None
    source: AnswerSource = "none"
    tier: int = 5
    target: Target | None = None
    response_model: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    cost_pico_usd: int | None = 0
    """None when a price is unknown."""
    latency_ms: int = 0
    ref: str | int | None = None
    request: str | None = None
    """A fingerprint of what was asked (``cache_key.describe_asked``), None where there was nothing to ask."""
    queued: str | None = None
    retry_at: float | None = None
    error: Failure | None = None
    embedding: Embedding | None = None
    arm: ArmChoice | None = None
    """Of the experiment that the ask was part of; in the JSON only where there is one."""
    thoughts: str = ""
    """What the model thought; in the JSON only where there is any."""
    parts: tuple[Part, ...] = ()
    """All of the answer in order, where it is more than text: ``message`` is made of them."""
    logprobs: Any = None
    """The probabilities of its tokens, as the provider writes them."""
    warnings: tuple[str, ...] = ()
    """For people, on standard error; not in the JSON."""
    partial: str | None = None
    """The shown part of an answer that broke off; not in the JSON, where an answer is whole or absent."""
    repeat: Repeat | None = None
    """When a batch asks this again; then it is no receipt yet, and neither logged nor written."""
    looked: bool = False
    """Whether the ask could use a stored answer; not in the JSON."""

    @property
    def cost_usd(self) -> Decimal | None:
        """What all calls cost together, in US dollars; None when a price is unknown."""
        return dollars_of(self.cost_pico_usd)

    @property
    def dimensions(self) -> int | None:
        """How many numbers each vector has, where vectors were asked for."""
        return None if self.embedding is None else self.embedding.dimensions

    @property
    def request_id(self) -> str | None:
        """What the provider that was called last calls its request, where it said so."""
        called = (entry for entry in reversed(self.trail) if entry.action == "called")
        return next((entry.request_id for entry in called), None)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model calls instead of an answer, or besides it."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def message(self) -> Message:
        """The answer as a turn of the conversation, to go on with."""
        return Message("assistant", self.parts or self.answer or "")

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def exit_code(self) -> int:
        return ExitCode.ANSWERED if self.error is None else self.error.code

    def to_json(self) -> dict[str, Any]:
        """The calls of tools are in it twice: alone, and in the whole turn, in which the signatures are."""
        shown: dict[str, Any] = {
            "id": self.id,
            "ok": self.ok,
            "answer": self.answer,
            "source": self.source,
            "tier": self.tier,
            "feature": self.feature,
            "target": str(self.target) if self.target else None,
            "provider": self.target.provider if self.target else None,
            "model": self.target.model if self.target else None,
            "response_model": self.response_model,
            "finish_reason": self.finish_reason,
            "usage": _usage_to_json(self.usage),
            "cost_usd": format_usd(self.cost_pico_usd),
            "latency_ms": self.latency_ms,
            "ref": self.ref,
            "request": self.request,
            "queued": self.queued,
            "retry_at": format_time(self.retry_at),
            "error": _failure_to_json(self.error),
            "trail": [entry.to_json() for entry in self.trail],
        }
        if self.arm is not None:
            shown |= {"experiment": self.arm.experiment, "arm": str(self.arm.target)}
        if self.thoughts:
            shown["thoughts"] = self.thoughts
        if self.logprobs:
            shown["logprobs"] = self.logprobs
        if self.parts and (calls := self.tool_calls):
            shown["tool_calls"] = [call_to_json(one) for one in calls]
            shown["message"] = msgspec.to_builtins(self.message, enc_hook=dict)
        return shown


def call_to_json(call: ToolCall) -> dict[str, Any]:
    """A call as receipts and standard output have it. Arguments that are no JSON stay a text."""
    try:
        arguments = msgspec.json.decode(call.arguments)
    except (ValueError, RecursionError):
        arguments = call.arguments
    return {"id": call.id, "name": call.name, "arguments": arguments}


def to_json_line(receipt: Receipt) -> str:
    """The receipt as one line of JSON, without the line end."""
    return json.dumps(receipt.to_json(), ensure_ascii=False)


def sum_cost(trail: Sequence[TrailEntry]) -> int | None:
    """The cost of all calls; unknown when one of them is."""
    known = [entry.cost_pico_usd for entry in trail if entry.cost_pico_usd is not None]
    return sum(known) if len(known) == len(trail) else None


def sum_worst_case_cost(trail: Sequence[TrailEntry]) -> int:
    """The cost of all calls; the worst case stands for an unknown cost."""
    return sum(entry.held if entry.cost_pico_usd is None else entry.cost_pico_usd for entry in trail)


def dollars_of(pico: int | None) -> Decimal | None:
    """Pico-dollars in US dollars, exactly."""
    return None if pico is None else Decimal(pico) / PICO_PER_DOLLAR


@lru_cache(maxsize=64)
def format_usd(pico: int | None) -> str | None:
    """Pico-dollars as a plain decimal string, without trailing zeros: ``0.000212``, ``0``. What an ask cost
    is written several times.
    """
    if pico is None:
        return None
    whole, rest = divmod(abs(pico), 10**12)
    text = f"{whole}.{rest:012d}".rstrip("0").rstrip(".")
    return f"-{text}" if pico < 0 else text


def format_time(moment: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, rounded up to whole seconds, so never before the moment."""
    if moment is None:
        return None
    return _format_second(-int(-moment // 1))


@lru_cache(maxsize=64)
def _format_second(whole: int) -> str:
    """Many things happen in the same one."""
    return datetime.fromtimestamp(whole, UTC).isoformat().replace("+00:00", "Z")


def _usage_to_json(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "estimated": usage.estimated,
    }


def _failure_to_json(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"code": failure.code, "kind": failure.kind, "message": failure.message}
