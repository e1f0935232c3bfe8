"""Texts that are embedded several in a call: whatever waits when a call may begin goes into it.

Providers take arrays of texts, of different sizes, and tell tokens only for all of them. So what a call cost
is divided among its texts by their length, and says that it is an estimate. A call that is refused is made
again in two halves, so that one text that is too long fails alone; a text whose call has failed goes alone
from then on.

A text whose vector is stored goes into no call. Of equal texts at the same time one is sent, and the others
get what comes of it, unless they are not to be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from llmfail.core.errors import ExitCode
from llmfail.core.model import Embedding, Usage
from llmfail.core.receipt import AnswerSource, Receipt, TrailEntry, sum_cost
from llmfail.core.request.apportion import apportion
from llmfail.core.request.ask import Ask
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.engine import Engine

TEXTS_OF_A_CALL = 32
BYTES_OF_A_CALL = 32 * 1024
"""UTF-8 bytes of the texts of one call, unless one text alone has more."""


class _WaitingText(NamedTuple):
    ask: Ask
    rules: RepeatRules
    max_texts: int
    receipt: asyncio.Future[Receipt]

    @property
    def size(self) -> int:
        return len(self.ask.prompt.encode("utf-8", "replace"))

    @property
    def is_alone(self) -> bool:
        return any(entry.action == "called" for entry in self.rules.earlier)


class TextArrays:
    """``max_calls`` at once. No other call begins before the first has ended, so that the others know how
    many dimensions its vectors have.
    """

    def __init__(self, engine: Engine, max_calls: int) -> None:
        self._engine = engine
        self._slots = asyncio.Semaphore(1)
        self._more_slots = max_calls - 1
        self._waiting: list[_WaitingText] = []
        self._sender: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._shared: dict[str, _WaitingText] = {}

    async def embed(self, ask: Ask, rules: RepeatRules) -> Receipt:
        """The receipt of one text. Raises UsageError."""
        max_texts = self._engine.max_texts(ask)
        waiting = _WaitingText(ask, rules, max_texts, asyncio.get_running_loop().create_future())
        if self._engine.is_cached(ask):
            first = self._shared.setdefault(ask.prompt, waiting)
            if first is not waiting and _kind_of(first) == _kind_of(waiting):
                receipt = await asyncio.shield(first.receipt)
                if receipt.ok or first.ask.max_cost == ask.max_cost:
                    return self._share_receipt(receipt, ask, rules)
                return await self.embed(ask, rules)
            if first is waiting:
                waiting.receipt.add_done_callback(lambda _receipt: self._shared.pop(ask.prompt))
        return await self._await_receipt(waiting)

    def _share_receipt(self, receipt: Receipt, ask: Ask, rules: RepeatRules) -> Receipt:
        """What came of an equal text, which has paid for it."""
        trail = tuple(rules.earlier)
        source: AnswerSource = "cache" if receipt.ok else "none"
        return replace(
            receipt,
            id=self._engine.ports.new_id(),
            ref=ask.ref,
            source=source,
            usage=None,
            trail=trail,
            cost_pico_usd=sum_cost(trail),
            warnings=(),
        )

    async def _await_receipt(self, waiting: _WaitingText) -> Receipt:
        self._waiting.append(waiting)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_waiting())
        try:
            return await waiting.receipt
        except asyncio.CancelledError:
            # Whoever stops the run stops all of its calls.
            for call in self._calls:
                call.cancel()
            raise

    async def _send_waiting(self) -> None:
        while self._waiting:
            await self._slots.acquire()
            if group := self._take_group():
                call = asyncio.create_task(self._send(group))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            else:
                self._slots.release()

    def _take_group(self) -> list[_WaitingText]:
        """The first that waits, and those behind it that may go into the same call."""
        self._waiting = [one for one in self._waiting if not one.receipt.done()]
        if not self._waiting:
            return []
        first = self._waiting[0]
        most = 1 if first.is_alone else min(TEXTS_OF_A_CALL, first.max_texts)
        kind, size = _kind_of(first), 0
        group: list[_WaitingText] = []
        rest: list[_WaitingText] = []
        for one in self._waiting:
            size += one.size
            fits = not group or (len(group) < most and size <= BYTES_OF_A_CALL and not one.is_alone)
            (group if fits and _kind_of(one) == kind else rest).append(one)
        self._waiting = rest
        return group

    async def _send(self, group: Sequence[_WaitingText]) -> None:
        try:
            group = await self._take_stored(group)
            if group:
                await self._embed_group(group)
        except BaseException as error:
            for one in group:
                _fail(one.receipt, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._slots.release()
            for _ in range(self._more_slots):
                self._slots.release()
            self._more_slots = 0

    async def _take_stored(self, group: Sequence[_WaitingText]) -> Sequence[_WaitingText]:
        """Give the receipts of those whose vectors are stored; the others."""
        stored = await self._engine.find_vectors(_join_asks(group))
        for one, receipt in zip(group, stored, strict=True):
            if receipt is not None:
                self._hand_in(one, replace(receipt, trail=tuple(one.rules.earlier)))
        return [one for one, receipt in zip(group, stored, strict=True) if receipt is None]

    def _hand_in(self, waiting: _WaitingText, receipt: Receipt) -> None:
        if not waiting.receipt.done():
            request = self._engine.describe_asked(waiting.ask, vectors=True)
            waiting.receipt.set_result(replace(receipt, ref=waiting.ask.ref, request=request))

    async def _embed_group(self, group: Sequence[_WaitingText]) -> None:
        receipt = await self._engine.embed(_join_asks(group), repeats=group[0].rules)
        is_refused = receipt.error is not None and receipt.error.code == ExitCode.REQUEST_REFUSED
        if is_refused and len(group) > 1:
            half = len(group) // 2
            await self._embed_group(group[:half])
            await self._embed_group(group[half:])
            return
        for one, part in zip(group, divide_receipt(receipt, [one.size for one in group]), strict=True):
            self._hand_in(one, part)


def _fail(receipt: asyncio.Future[Receipt], error: BaseException) -> None:
    if receipt.done():
        return
    if isinstance(error, asyncio.CancelledError):
        receipt.cancel()
    else:
        receipt.set_exception(error)


def divide_receipt(receipt: Receipt, sizes: Sequence[int]) -> list[Receipt]:
    """The receipts of texts of these sizes that were embedded together. Their costs add up to the whole."""
    if len(sizes) == 1:
        return [receipt]
    entries = [_divide_entry(entry, sizes) for entry in receipt.trail]
    costs = _divide(receipt.cost_pico_usd, sizes)
    usages = _divide_usage(receipt.usage, sizes)
    return [
        replace(
            receipt,
            id=f"{receipt.id}.{place + 1}",
            trail=tuple(parts[place] for parts in entries),
            cost_pico_usd=costs[place],
            usage=usages[place],
            embedding=_pick_vector(receipt.embedding, place, usages[place]),
        )
        for place in range(len(sizes))
    ]


def _divide(whole: int | None, sizes: Sequence[int]) -> Sequence[int | None]:
    return [None] * len(sizes) if whole is None else apportion(whole, sizes)


def _divide_entry(entry: TrailEntry, sizes: Sequence[int]) -> list[TrailEntry]:
    costs, held = _divide(entry.cost_pico_usd, sizes), apportion(entry.held, sizes)
    return [replace(entry, cost_pico_usd=cost, held=part) for cost, part in zip(costs, held, strict=True)]


def _divide_usage(usage: Usage | None, sizes: Sequence[int]) -> Sequence[Usage | None]:
    if usage is None:
        return [None] * len(sizes)
    tokens = apportion(usage.input_tokens, sizes)
    return [replace(usage, input_tokens=part, estimated=True) for part in tokens]


def _pick_vector(embedding: Embedding | None, place: int, usage: Usage | None) -> Embedding | None:
    if embedding is None:
        return None
    return replace(embedding, vectors=(embedding.vectors[place],), usage=usage)


def _kind_of(waiting: _WaitingText) -> tuple[Ask, float]:
    """All but its text."""
    return replace(waiting.ask, messages=(), ref=None, max_cost=None), waiting.rules.max_pause


def _join_asks(group: Sequence[_WaitingText]) -> Ask:
    costs = [one.ask.max_cost for one in group]
    known = [cost for cost in costs if cost is not None]
    messages = tuple(message for one in group for message in one.ask.messages)
    return replace(group[0].ask, messages=messages, max_cost=sum(known) if len(known) == len(costs) else None)
