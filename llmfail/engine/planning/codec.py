"""One question in the words of one provider: the call that asks it, and what its reply says.

Whatever a provider sends back, the key that was sent to it goes no further than this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification import classify
from llmfail.core.classification.body import MAX_VALUES, NotJson, parse
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.conversation import calls_text, sign_part
from llmfail.core.errors import MalformedReply, WireError
from llmfail.core.model import Call, Completion, Embedding, Endpoint, Reply, Request, Secret, Usage
from llmfail.core.redaction import is_masked_in_answers, mask_key, mask_part
from llmfail.core.request.expectation import Expectation, find_violation, unwrap_json
from llmfail.core.request.fitted_request import fit_request
from llmfail.core.request.schema_prompt import move_schema_to_system
from llmfail.core.request.thoughts import separate_thoughts
from llmfail.core.routing.attempt_result import Answer, AttemptResult
from llmfail.core.routing.rejected_parameters import FORMAT, SCHEMA
from llmfail.core.tokens import token_bounds
from llmfail.engine.planning.request_builder import LARGE_BYTES
from llmfail.engine.ports.protocols import Ports
from llmfail.providers import WireFormat, load_wire_format
from llmfail.providers.decoding import require_possible_length
from llmfail.providers.encoding import add_configured, finish_call

if TYPE_CHECKING:
    from llmfail.providers.relay import Relay

UNSENT_CAUSES = frozenset({"resolve", "route", "refused", "tls", "turn", "exhaustion"})
"""Causes after which the question cannot have arrived."""

MAYBE_CHARGED_KINDS = frozenset({Kind.MALFORMED, Kind.TIMEOUT})
"""Outcomes of a reply after which the provider may charge all the same."""

MAX_ANSWER_BYTES = 16 << 20
"""Bytes of a reply that is no stream: four times the text that any model writes."""
MAX_EMBEDDED_VALUES = 10_000_000
MAX_EMBEDDED_BYTES = 64 << 20

A = TypeVar("A", Completion, Embedding, Completion | Embedding)


class Codec(Struct, frozen=True):
    """How a question is put and its answer decoded, in any wire format. ``expected`` is what an answer must
    be to be one, unless it calls one of the ``tools`` that were offered; ``violation`` says what is wrong
    with vectors of that endpoint, and a stored vector must have ``dimensions``, where they are known or
    were asked for;
    ``estimate_usage`` is what an answer of some model has probably used where no whole count came, and
    ``find_impossible_count`` says which count cannot be believed. ``is_large``: to write the question may
    take milliseconds; ``relay`` is the request as a program wrote it, for endpoints that
    take it so.
    """

    encode: Callable[[WireFormat, Endpoint], Call]
    decode: Callable[[WireFormat, object], Answer]
    expected: Expectation = Expectation()
    tools: bool = False
    violation: Callable[[Embedding, Endpoint], str | None] = lambda _answer, _endpoint: None
    estimate_usage: Callable[[Answer, str], Usage | None] = lambda answer, _model: answer.usage
    find_impossible_count: Callable[[Usage], str | None] = lambda _usage: None
    dimensions: int | None = None
    asked_dimensions: int | None = None
    max_values: int = MAX_VALUES
    max_bytes: int = MAX_ANSWER_BYTES
    is_large: bool = False
    relay: Relay | None = None

    def relays_to(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint gets the request as a program wrote it."""
        return self.relay is not None and self.relay.reaches(endpoint)

    @property
    def may_judge_long(self) -> bool:
        """Whether what an answer must be may take milliseconds to find out."""
        return bool(self.expected.patterns) or self.expected.schema is not None


def completion_codec(
    request: Request,
    expected: Expectation,
    *,
    stream: bool = False,
    relay: Relay | None = None,
    is_large: bool = False,
) -> Codec:
    def encode(fmt: WireFormat, endpoint: Endpoint) -> Call:
        if relay is not None and relay.reaches(endpoint):
            return relay.encode(endpoint, stream=stream)
        return finish_call(fmt.encode(_fit(request, endpoint), endpoint, stream=stream), endpoint)

    return Codec(
        encode,
        lambda fmt, payload: require_possible_length(separate_thoughts(fmt.decode(payload))),
        expected,
        tools=bool(request.tools),
        estimate_usage=lambda answer, model: token_bounds.estimate_usage(
            request, model, _text_of(answer), answer.usage
        ),
        find_impossible_count=lambda usage: token_bounds.find_impossible_count(
            usage, token_bounds.upper_bound(token_bounds.size_of(request)), request.output_bound
        ),
        is_large=is_large,
        relay=relay,
    )


def _fit(request: Request, endpoint: Endpoint) -> Request:
    return fit_request(_without_refused_schema(request, endpoint), endpoint).request


def _without_refused_schema(request: Request, endpoint: Endpoint) -> Request:
    """The request as this target takes it: a schema that it refuses goes into the system prompt."""
    dropped = endpoint.dropped_parameters
    if SCHEMA not in dropped and FORMAT not in dropped:
        return request
    return move_schema_to_system(request, keep_json=FORMAT not in dropped)


def _text_of(answer: Answer) -> str:
    """All that a model wrote, its calls of tools too."""
    return answer.text + calls_text(answer.parts) if isinstance(answer, Completion) else ""


def embedding_codec(
    texts: tuple[str, ...], dimensions: int | None = None, *, has_token_ids: bool = False
) -> Codec:
    """``dimensions`` are asked for; other vectors are no answer then. ``has_token_ids``: see ``Ask``."""
    inputs = tuple(map(json.loads, texts)) if has_token_ids else texts
    return Codec(
        lambda fmt, endpoint: add_configured(fmt.encode_embedding(inputs, endpoint, dimensions), endpoint),
        lambda fmt, payload: _require_vector_each(texts, fmt.decode_embedding(payload)),
        estimate_usage=lambda answer, model: token_bounds.estimate_embedded_usage(texts, model, answer.usage),
        find_impossible_count=lambda usage: token_bounds.find_impossible_count(
            usage, sum(len(text.encode("utf-8", "replace")) for text in texts), 0
        ),
        violation=lambda answer, _endpoint: _find_other_size(answer, dimensions),
        dimensions=dimensions,
        asked_dimensions=dimensions,
        max_values=MAX_EMBEDDED_VALUES,
        max_bytes=MAX_EMBEDDED_BYTES,
        is_large=sum(map(len, texts)) > LARGE_BYTES,
    )


def _find_other_size(answer: Embedding, dimensions: int | None) -> str | None:
    if dimensions in {None, answer.dimensions}:
        return None
    return f"{answer.dimensions} dimensions where {dimensions} were asked for"


def _require_vector_each(texts: tuple[str, ...], answer: Embedding) -> Embedding:
    if len(answer.vectors) != len(texts):
        raise MalformedReply(f"{len(answer.vectors)} vectors for {len(texts)} texts")
    if len(set(map(len, answer.vectors))) > 1:
        raise MalformedReply("the answer has vectors of several lengths")
    return answer


async def read_reply(ports: Ports, codec: Codec, endpoint: Endpoint, reply: Reply) -> AttemptResult:
    """``result_from_reply``, where it holds up nobody else for long."""
    now = ports.wall()
    if len(reply.body) > LARGE_BYTES or codec.may_judge_long:
        result = await ports.run_blocking(partial(result_from_reply, codec, endpoint, reply, now))
    else:
        result = result_from_reply(codec, endpoint, reply, now)
    if not codec.relays_to(endpoint):
        return result
    from llmfail.providers.relay_reply import pass_reply_on

    return replace(result, relayed=pass_reply_on(reply, endpoint))


def result_from_reply(codec: Codec, endpoint: Endpoint, reply: Reply, now: float) -> AttemptResult:
    """What a reply says. Healthy or not, it is parsed once."""
    if len(reply.body) > codec.max_bytes:
        return _result_from_too_long_reply(codec, endpoint, reply, now)
    payload = parse(reply.body, max_values=codec.max_values)
    if isinstance(payload, NotJson) and 200 <= reply.status < 300 and _is_event_body(reply.body):
        return _result_from_event_body(codec, endpoint, reply, now)
    outcome = classify.classify_reply(reply, payload, now, endpoint.secret)
    answer: Answer | None = None
    if outcome is None:
        try:
            answer = _own(codec.decode(load_wire_format(endpoint.api, endpoint.door), payload), endpoint)
        except MalformedReply as error:
            outcome = classify.classify_error(error, endpoint.secret)
        else:
            answer = _unwrap(_complete_usage(answer, codec, endpoint), codec)
            outcome = _judge(answer, codec, endpoint)
    free = answer is None and outcome.kind not in MAYBE_CHARGED_KINDS
    return AttemptResult(outcome, answer, reply.status, free)


def _result_from_too_long_reply(codec: Codec, endpoint: Endpoint, reply: Reply, now: float) -> AttemptResult:
    """No answer is so long, and of an error the beginning says enough."""
    if not 200 <= reply.status < 300:
        return result_from_reply(codec, endpoint, replace(reply, body=reply.body[:LARGE_BYTES]), now)
    error = MalformedReply(f"the reply is longer than {codec.max_bytes >> 20} MiB")
    return AttemptResult(classify.classify_error(error, endpoint.secret), None, reply.status)


def _is_event_body(body: bytes) -> bool:
    return body.lstrip()[:6].startswith((b"data:", b"event:", b": ", b"id:"))


def _result_from_event_body(codec: Codec, endpoint: Endpoint, reply: Reply, now: float) -> AttemptResult:
    """A server streamed although no stream was asked for."""
    decoder = load_wire_format(endpoint.api, endpoint.door).make_stream_decoder()
    from llmfail.providers.stream import BrokenStream, Finished, StreamError, read_event_body

    match read_event_body(reply.body, decoder):
        case Finished(whole):
            return result_from_stream(codec, endpoint, whole, reply.status)
        case StreamError(payload):
            outcome = classify.classify_reply(reply, payload, now, endpoint.secret)
            assert outcome is not None, "an error event is an error"
            return result_from_broken_stream(codec, endpoint, outcome, None, is_reported=True)
        case BrokenStream(error):
            outcome = replace(classify.classify_error(error, endpoint.secret), status=reply.status)
            return result_from_broken_stream(codec, endpoint, outcome, None, is_reported=False)
        case event:
            raise AssertionError(event)


async def read_completion(
    ports: Ports, codec: Codec, endpoint: Endpoint, completion: Completion, status: int
) -> AttemptResult:
    """``result_from_stream``, where it holds up nobody else for long."""
    if len(completion.text) > LARGE_BYTES or codec.may_judge_long:
        return await ports.run_blocking(partial(result_from_stream, codec, endpoint, completion, status))
    return result_from_stream(codec, endpoint, completion, status)


def result_from_stream(
    codec: Codec, endpoint: Endpoint, completion: Completion, status: int
) -> AttemptResult:
    """What a stream has said that came to its end."""
    answer = _unwrap(_complete_usage(_own(completion, endpoint), codec, endpoint), codec)
    return AttemptResult(_judge(answer, codec, endpoint), answer, status, is_whole=True)


def result_from_broken_stream(
    codec: Codec, endpoint: Endpoint, outcome: Outcome, partial: Completion | None, *, is_reported: bool
) -> AttemptResult:
    """A stream that came to no good end. ``partial``: what the model had said by then, if it was at work.
    ``is_reported``: the provider itself says that it failed; what it charges for any other end is unknown.
    """
    if partial is None:
        free = is_reported and outcome.kind not in MAYBE_CHARGED_KINDS
        return AttemptResult(outcome, status=outcome.status, is_free=free)
    said = replace(partial, usage=codec.estimate_usage(partial, endpoint.model))
    said = _doubt_impossible_count(said, codec)
    return AttemptResult(outcome, _own(said, endpoint), outcome.status)


def _judge(answer: Answer, codec: Codec, endpoint: Endpoint) -> Outcome:
    if isinstance(answer, Embedding):
        outcome, unfit = Outcome(Kind.OK), codec.violation(answer, endpoint)
    else:
        outcome = classify.classify_completion(answer, nonempty=codec.expected.nonempty, tools=codec.tools)
        if outcome.kind is not Kind.OK or (codec.tools and answer.tool_calls):
            return outcome
        unfit = find_violation(codec.expected, answer.text, answer.finish_reason)
    return outcome if unfit is None else Outcome(Kind.REJECTED_ANSWER, unfit, status=200)


def _complete_usage(answer: A, codec: Codec, endpoint: Endpoint) -> A:
    """What counts as used, whatever the shape of the reply: what it reports, as far as that is possible, and
    an estimate where it reports nothing.
    """
    answer = _drop_zero_count(answer)
    if answer.usage is None or answer.usage.estimated:
        return replace(answer, usage=codec.estimate_usage(answer, endpoint.model))
    return _doubt_impossible_count(answer, codec)


def _doubt_impossible_count(answer: A, codec: Codec) -> A:
    """The usage of an answer that reports what cannot be is unknown, so that budgets count its worst case."""
    usage = answer.usage
    if usage is None or max(usage.input_tokens, usage.output_tokens) <= token_bounds.MIN_IMPOSSIBLE_TOKENS:
        return answer
    found = codec.find_impossible_count(usage)
    if found is None:
        return answer
    warning = f"the provider reports {found}: not believed, so its cost is unknown"
    return replace(answer, usage=None, usage_warning=warning)


def _unwrap(answer: A, codec: Codec) -> A:
    """A fence around JSON is no part of it."""
    if not isinstance(answer, Completion):
        return answer
    text = unwrap_json(codec.expected, answer.text)
    return answer if text is answer.text else replace(answer, text=text)


def _drop_zero_count(answer: A) -> A:
    """What says something has tokens: none of it was counted."""
    usage = answer.usage
    if usage is None or usage.output_tokens or not isinstance(answer, Completion):
        return answer
    return replace(answer, usage=None) if answer.text or answer.parts else answer


def result_from_wire_error(error: WireError, key: Secret | None) -> AttemptResult:
    """No whole reply came; what was sent may have been worked on, and charged."""
    return AttemptResult(classify.classify_error(error, key), is_free=error.cause in UNSENT_CAUSES)


def _own(answer: A, endpoint: Endpoint) -> A:
    """The answer without the key, and with the name of the vendor that alone may see its signatures. An
    answer is somebody's text: a placeholder instead of a key is left in it.
    """
    key = endpoint.secret
    if isinstance(answer, Completion) and answer.parts:
        answer = replace(answer, parts=tuple(sign_part(part, endpoint.vendor) for part in answer.parts))
    if not is_masked_in_answers(key):
        return answer
    model = answer.model and mask_key(answer.model, key)
    if isinstance(answer, Embedding):
        return replace(answer, model=model)
    texts = {name: mask_key(getattr(answer, name), key) for name in ("text", "detail", "thoughts")}
    parts = tuple(mask_part(part, key) for part in answer.parts)
    return replace(answer, **texts, model=model, parts=parts)
