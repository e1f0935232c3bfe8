"""The vectors of a list of texts as one receipt: those that are stored, and calls for the others, one after
the other where a target takes fewer texts in one.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from llmfail.core.conversation import Message
from llmfail.core.model import Embedding, Usage
from llmfail.core.receipt import Receipt, sum_cost, sum_worst_case_cost
from llmfail.core.request.ask import Ask
from llmfail.engine.engine import Engine

Vector = tuple[float, ...]


async def embed_texts(engine: Engine, ask: Ask) -> Receipt:
    """One vector per message. Where one of its calls fails there is none, and what was paid for is stored.
    Where several models may answer, all goes in one call. Raises UsageError.
    """
    if len(ask.messages) < 2 or engine.settings.find_feature(ask.feature).allow_other_models:
        return await engine.embed(ask)
    ends_at = engine.ports.monotonic() + _seconds_of(engine, ask)
    found = await engine.find_vectors(ask)
    stored = {one.text: receipt for one, receipt in zip(ask.messages, found, strict=True) if receipt}
    missing = list({one.text: one for one in ask.messages if one.text not in stored}.values())
    if len(missing) == len(ask.messages) <= engine.max_texts(ask):
        return await engine.embed(ask)
    asked = await _embed_missing(engine, ask, missing, ends_at)
    if asked and not asked[-1].ok:
        whole = replace(_join_receipts(asked), embedding=None)
    else:
        vectors = {text: _vectors_of([receipt])[0] for text, receipt in stored.items()}
        vectors.update(zip((one.text for one in missing), _vectors_of(asked), strict=True))
        if len(set(map(len, vectors.values()))) > 1 and ask.cache == "use":
            # The model has changed since some were stored: what it gives now does not mix with those.
            return await embed_texts(engine, replace(ask, cache="refresh"))
        whole = _with_vectors(
            _join_receipts(asked or list(stored.values())[:1]), [vectors[one.text] for one in ask.messages]
        )
    return replace(whole, request=engine.describe_asked(ask, vectors=True))


def _seconds_of(engine: Engine, ask: Ask) -> float:
    """How long all of it may take."""
    if ask.deadline is not None:
        return ask.deadline
    return engine.routes.resolve(ask).numbers.deadline + (ask.wait or 0.0)


async def _embed_missing(
    engine: Engine, ask: Ask, missing: Sequence[Message], ends_at: float
) -> list[Receipt]:
    """The receipts of the calls that it takes, until one fails."""
    receipts: list[Receipt] = []
    most = engine.max_texts(ask)
    for start in range(0, len(missing), most):
        part = replace(
            ask,
            messages=tuple(missing[start : start + most]),
            deadline=max(ends_at - engine.ports.monotonic(), 0.0),
            max_cost=None if ask.max_cost is None else max(ask.max_cost - _sum_worst_case(receipts), 0),
        )
        receipts.append(await engine.embed(part))
        if not receipts[-1].ok:
            break
    return receipts


def _sum_worst_case(receipts: Sequence[Receipt]) -> int:
    """In pico-dollars, at the worst."""
    return sum(sum_worst_case_cost(one.trail) for one in receipts)


def _join_receipts(receipts: Sequence[Receipt]) -> Receipt:
    """The last one, with the calls and the costs of all."""
    trail = tuple(entry for one in receipts for entry in one.trail)
    return replace(
        receipts[-1],
        trail=trail,
        cost_pico_usd=sum_cost(trail),
        usage=_sum_usage([one.usage for one in receipts]),
        tier=max(one.tier for one in receipts),
        latency_ms=sum(one.latency_ms for one in receipts),
        warnings=tuple(dict.fromkeys(text for one in receipts for text in one.warnings)),
    )


def _sum_usage(usages: Sequence[Usage | None]) -> Usage | None:
    """None where one is unknown."""
    known = [one for one in usages if one is not None]
    if len(known) < len(usages):
        return None
    tokens = sum(one.input_tokens for one in known)
    return replace(known[-1], input_tokens=tokens, estimated=any(one.estimated for one in known))


def _vectors_of(receipts: Sequence[Receipt]) -> list[Vector]:
    return [vector for one in receipts if one.embedding is not None for vector in one.embedding.vectors]


def _with_vectors(receipt: Receipt, vectors: Sequence[Vector]) -> Receipt:
    return replace(
        receipt, embedding=Embedding(tuple(vectors), usage=receipt.usage, model=receipt.response_model)
    )
