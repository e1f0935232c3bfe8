"""A batch as Python callers write it: prompts, or mappings with the names of a batch line."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from llmfail.client.aio_streams import Put
from llmfail.client.option_checks import to_pico_usd
from llmfail.client.options import Prompt, ask_of
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import Failure, Receipt
from llmfail.core.request.ask import Ask
from llmfail.core.request.ask_options import DEFAULT_FEATURE
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.bulk.batch_budget import BatchBudget
from llmfail.engine.engine import Engine
from llmfail.engine.ports.ids import new_id

BatchItem: TypeAlias = "Prompt | Mapping[str, Any]"
"""A prompt, or a mapping: ``prompt``, ``id``, and the options of this one."""


class BatchSpec(Struct, frozen=True):
    """How many items are asked at once, and what all of them have in common. ``max_cost`` is for all of them
    together, in pico-dollars.
    """

    limits: BatchLimits
    options: Mapping[str, Any]
    max_cost: int | None = None


def read_spec(
    options: Mapping[str, Any], *, concurrency: int, rate: float | None, ordered: bool
) -> BatchSpec:
    """Raises UsageError and TypeError as ``ask_of`` does."""
    if not isinstance(concurrency, int) or concurrency < 1:
        raise UsageError(f"concurrency is a whole number above 0, got {concurrency!r}")
    if rate is not None and not (isinstance(rate, int | float) and rate > 0):
        raise UsageError(f"rate is a number of asks in a minute above 0, got {rate!r}")
    shared = {name: value for name, value in options.items() if name != "max_cost"}
    ask_of("", **shared)
    max_cost = options.get("max_cost")
    limit = None if max_cost is None else to_pico_usd("max_cost", max_cost)
    return BatchSpec(BatchLimits(concurrency, rate, ordered=ordered), shared, limit)


async def run_batch(
    engine: Engine,
    items: Iterable[BatchItem] | AsyncIterable[BatchItem],
    spec: BatchSpec,
    put: Put[Receipt],
) -> None:
    """Put out a receipt for each item, whatever becomes of it."""

    async def write(receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            await put(receipt)

    budget = None if spec.max_cost is None else BatchBudget(spec.max_cost, 0, engine.plan)

    async def ask(one: Ask, repeats: RepeatRules) -> Receipt:
        return await engine.ask(one, repeats=repeats)

    await Batch(ask, write, spec.limits, engine.ports, budget).run(_read_asks(items, spec.options))


async def _read_asks(
    items: Iterable[BatchItem] | AsyncIterable[BatchItem], options: Mapping[str, Any]
) -> AsyncIterator[Ask | Receipt]:
    number = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            number += 1
            yield _read_item(number, item, options)
        return
    for number, item in enumerate(items, 1):
        yield _read_item(number, item, options)


def _read_item(number: int, item: BatchItem, options: Mapping[str, Any]) -> Ask | Receipt:
    """Nothing that is wrong with one item is a reason to lose the others."""
    prompt: object = item
    own: dict[str, Any] = {"ref": number}
    if isinstance(item, Mapping):
        own = {"ref": item.get("id", number), **{k: v for k, v in item.items() if k not in {"prompt", "id"}}}
        prompt = item.get("prompt", "")
    try:
        return ask_of(prompt, **{**options, **own})  # type: ignore[arg-type]  # it is looked at there
    except (UsageError, TypeError) as error:
        failure = Failure(ExitCode.USAGE, "usage", f"item {number}: {error}")
        feature = str(own.get("feature", options.get("feature", DEFAULT_FEATURE)))
        return Receipt(new_id(), feature, ref=own["ref"], error=failure)
