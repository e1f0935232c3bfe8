"""Vectors of texts: from one target in one call, or stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core.cache.cache_key import describe_asked, digest_of
from llmfail.core.errors import EmptyPrompt
from llmfail.core.receipt import Receipt
from llmfail.core.records.statistics import steps_of
from llmfail.core.request.ask import Ask
from llmfail.core.routing.attempt_result import FoundAnswer
from llmfail.core.routing.candidates import Candidate, find_skip, requirements_of
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.answers.vector_cache import vector_cache_of
from llmfail.engine.chain_run import ChainRun
from llmfail.engine.planning import embedding_rules
from llmfail.engine.planning.codec import Codec, embedding_codec
from llmfail.engine.planning.embedding_rules import EmbeddingSpace
from llmfail.engine.planning.job import Job, plan_job
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.reports.ask_receipt import answered_receipt

if TYPE_CHECKING:
    from llmfail.engine.engine import Engine


async def embed(engine: Engine, ask: Ask, repeats: RepeatRules | None) -> Receipt:
    """As ``Engine.embed``."""
    started = engine.ports.monotonic()
    job, codec, space = await _plan_embedding(engine, ask, engine.ports)
    work = engine.run_chain(job, ask, codec, ChainRun(started, repeats=repeats))
    receipt = await engine.observe(job, ask, work)
    return receipt if space is None else await _record_dimensions(engine, receipt, space)


async def find_vectors(engine: Engine, ask: Ask) -> Sequence[Receipt | None]:
    """As ``Engine.find_vectors``."""
    started = engine.ports.monotonic()
    receipts: list[Receipt | None] = [None] * len(ask.messages)
    if ask.cache != "use" or not engine.is_cached(ask):
        return receipts
    job, codec, _ = await _plan_embedding(engine, ask, engine.read_only_ports)
    cache = vector_cache_of(engine.ports, job.cache_policy, job.request, codec)
    if cache is None:
        return receipts
    for candidate in _until_callable(job):
        found = await cache.find_each(engine.routes[candidate.target].endpoint)
        for place, stored in enumerate(found):
            if stored is not None and receipts[place] is None:
                answer = FoundAnswer(candidate, stored.embedding, stored=True)
                receipts[place] = _build_stored_receipt(engine, job, ask, place, answer, started)
    first = next((one for one in receipts if one is not None), None)
    if first is not None:
        await engine.write_steps(steps_of([engine.statistics_of(first, ask)]))
    return receipts


def _build_stored_receipt(
    engine: Engine, job: Job, ask: Ask, place: int, found: FoundAnswer, started: float
) -> Receipt:
    request = replace(job.request, messages=(job.request.messages[place],))
    blank = Receipt(
        id=engine.ports.new_id(),
        feature=job.feature,
        latency_ms=engine.milliseconds_since(started),
        ref=ask.ref,
        request=describe_asked(digest_of(request), job.feature, ask.targets, job.expected),
        looked=True,
    )
    return answered_receipt(blank, job, found)


async def _plan_embedding(engine: Engine, ask: Ask, ports: Ports) -> tuple[Job, Codec, EmbeddingSpace | None]:
    """The space is None where vectors of several models may come, or dimensions are asked for."""
    texts = tuple(message.text for message in ask.messages)
    if not texts or not all(text.strip() for text in texts):
        raise EmptyPrompt("there is no text")
    job = await plan_job(engine.settings, engine.routes, ask, ports, vectors=True)
    exchange = embedding_codec(texts, ask.dimensions, has_token_ids=ask.has_token_ids)
    embedding_rules.require_embeddings(
        job.feature, exchange, engine.routes, [one.target for one in job.candidates]
    )
    if ask.dimensions is not None or engine.settings.find_feature(ask.feature).allow_other_models:
        return job, exchange, None
    key = embedding_rules.space_key(engine.settings.configuration_id, job.feature, job.primary)
    values, _ = await ports.store.read([key])
    space = embedding_rules.space_of(key, engine.routes[job.primary].endpoint, values)
    return job, replace(exchange, violation=space.violation, dimensions=space.dimensions), space


async def _record_dimensions(engine: Engine, receipt: Receipt, space: EmbeddingSpace) -> Receipt:
    """What its vectors are like is known from now on."""
    if receipt.embedding is None or receipt.embedding.dimensions == space.dimensions:
        return receipt
    await engine.write_steps([space.record_dimensions(receipt.embedding.dimensions)])
    return embedding_rules.warn_of_new_dimensions(receipt, receipt.embedding.dimensions, space.dimensions)


def _until_callable(job: Job) -> Sequence[Candidate]:
    """The candidates up to the first that can be called."""
    needs = requirements_of(job.request, job.size)
    for place, candidate in enumerate(job.candidates):
        if find_skip(candidate, needs) is None:
            return job.candidates[: place + 1]
    return job.candidates
