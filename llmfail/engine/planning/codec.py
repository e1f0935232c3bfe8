"""One question in the words of one provider: the call that asks it, and what its reply says.

Whatever a provider sends back, the key that was sent to it goes no further than this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification import classify
from llmfail.core.classification.body import parse
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import MalformedReply, WireError
from llmfail.core.model import Call, Completion, Embedding, Endpoint, Reply, Request, Secret, Usage
from llmfail.core.receipt import Skip
from llmfail.core.redaction import hides_in_answers, masked
from llmfail.core.request.expectation import Expectation, objection
from llmfail.core.tokens import token_bounds
from llmfail.providers import WireFormat, wire_format

SLACK = 1.0
"""Seconds by which the end of a time may be noticed late, on a machine that is busy."""

UNSENT = frozenset({"resolve", "route", "refused", "tls", "turn"})
"""Causes after which the question cannot have arrived."""

WORKED_ON = frozenset({Kind.MALFORMED, Kind.TIMEOUT})
"""Outcomes of a reply after which the provider may charge all the same."""

Answer = Completion | Embedding
A = TypeVar("A", Completion, Embedding, Completion | Embedding)


class Reading(Struct, frozen=True):
    """What a reply says; ``answer`` is there whenever one could be decoded, good or not."""

    outcome: Outcome
    answer: Answer | None = None
    status: int | None = None
    free: bool = False
    """The provider cannot have charged for it."""
    skipped: Skip | None = None
    """Nothing was sent, and why."""
    host: str = ""
    is_slow: bool = False
    """It ran out of the time that any stream has, for its first token or between two."""


class Exchange(Struct, frozen=True):
    """How a question is put and its answer decoded, in any wire format. ``expected`` is what an answer must
    be to be one; ``objection`` says what is wrong with vectors of that endpoint; ``used`` is what an answer
    of some model has probably used that was not counted to its end.
    """

    encode: Callable[[WireFormat, Endpoint], Call]
    decode: Callable[[WireFormat, object], Answer]
    expected: Expectation = Expectation()
    objection: Callable[[Embedding, Endpoint], str | None] = lambda _answer, _endpoint: None
    used: Callable[[Completion, str], Usage | None] = lambda answer, _model: answer.usage


def completion(request: Request, expected: Expectation, *, stream: bool = False) -> Exchange:
    return Exchange(
        lambda fmt, endpoint: fmt.encode(request, endpoint, stream=stream),
        lambda fmt, payload: fmt.decode(payload),
        expected,
        used=lambda answer, model: token_bounds.used(request, model, answer.text, answer.usage),
    )


def embedding(texts: tuple[str, ...]) -> Exchange:
    return Exchange(
        lambda fmt, endpoint: fmt.encode_embedding(texts, endpoint),
        lambda fmt, payload: _each(texts, fmt.decode_embedding(payload)),
    )


def _each(texts: tuple[str, ...], answer: Embedding) -> Embedding:
    if len(answer.vectors) != len(texts):
        raise MalformedReply(f"{len(answer.vectors)} vectors for {len(texts)} texts")
    if len(set(map(len, answer.vectors))) > 1:
        raise MalformedReply("the answer has vectors of several lengths")
    return answer


def read(exchange: Exchange, endpoint: Endpoint, reply: Reply, now: float) -> Reading:
    """What a reply says. Healthy or not, it is parsed once."""
    payload = parse(reply.body)
    outcome = classify.of_reply(reply, payload, now, endpoint.key)
    answer: Answer | None = None
    if outcome is None:
        try:
            answer = _without_key(exchange.decode(wire_format(endpoint.api), payload), endpoint.key)
        except MalformedReply as error:
            outcome = classify.of_failure(error, endpoint.key)
        else:
            answer = _counted(answer)
            outcome = _judged(answer, exchange, endpoint)
    free = answer is None and outcome.kind not in WORKED_ON
    return Reading(outcome, answer, reply.status, free)


def heard(exchange: Exchange, endpoint: Endpoint, whole: Completion, status: int) -> Reading:
    """What a stream has said that came to its end. Streams without a count are common."""
    answer = _counted(_without_key(whole, endpoint.key))
    if answer.usage is None:
        answer = replace(answer, usage=exchange.used(answer, endpoint.model))
    return Reading(_judged(answer, exchange, endpoint), answer, status)


def broken(
    exchange: Exchange, endpoint: Endpoint, outcome: Outcome, partial: Completion | None, *, told: bool
) -> Reading:
    """A stream that came to no good end. ``partial``: what the model had said by then, if it was at work.
    ``told``: the provider itself says that it failed; of any other end nobody knows what it will charge.
    """
    if partial is None:
        free = told and outcome.kind not in WORKED_ON
        return Reading(outcome, status=outcome.status, free=free)
    said = replace(partial, usage=exchange.used(partial, endpoint.model))
    return Reading(outcome, _without_key(said, endpoint.key), outcome.status)


def _judged(answer: Answer, exchange: Exchange, endpoint: Endpoint) -> Outcome:
    if isinstance(answer, Embedding):
        outcome, unfit = Outcome(Kind.OK), exchange.objection(answer, endpoint)
    else:
        outcome = classify.of_completion(answer, nonempty=exchange.expected.nonempty)
        if outcome.kind is not Kind.OK:
            return outcome
        unfit = objection(exchange.expected, answer.text, answer.finish_reason)
    return outcome if unfit is None else Outcome(Kind.REJECTED_ANSWER, unfit, status=200)


def _counted(answer: A) -> A:
    """A text of no tokens was not counted."""
    usage = answer.usage
    if isinstance(answer, Completion) and answer.text and usage is not None and usage.output_tokens == 0:
        return replace(answer, usage=None)
    return answer


def explained(error: WireError, by: float, now: float) -> WireError:
    """Time that was found to be over long after that says something of this process, not of the provider."""
    if error.cause != "timeout" or now <= by + SLACK:
        return error
    return WireError("standstill", "this process stood still while the call was under way")


def unanswered(error: WireError, key: Secret | None) -> Reading:
    """No whole reply came; what was sent may have been worked on, and charged."""
    return Reading(classify.of_failure(error, key), free=error.cause in UNSENT)


def _without_key(answer: A, key: Secret | None) -> A:
    """An answer is somebody's text: a placeholder instead of a key is left in it."""
    if not hides_in_answers(key):
        return answer
    model = answer.model and masked(answer.model, key)
    if isinstance(answer, Embedding):
        return replace(answer, model=model)
    return replace(answer, text=masked(answer.text, key), model=model, detail=masked(answer.detail, key))
