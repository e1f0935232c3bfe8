"""A program asks for an answer: whole, or in pieces."""

from __future__ import annotations

import time
from typing import Any

from msgspec.structs import replace

from llmfail.client.options import ask_of
from llmfail.core.answer_piece import OriginalRequest, ServedAnswer
from llmfail.core.request.ask import Ask
from llmfail.core.routing.model_name import NamedModel, UnknownModel, resolve_model
from llmfail.http_server.message import OutgoingReply
from llmfail.providers.dialects.client_request import ClientRequest, read_client_request
from llmfail.providers.replies.error_reply import ErrorReply, error_from_receipt, write_error
from llmfail.providers.replies.reply_writer import ReplyWriter, make_reply_writer
from llmfail.server.answer_headers import (
    EVENT_STREAM,
    describe_answer,
    keep_reply_headers,
    read_options,
    read_sdk_timeout,
    read_session,
    select_passed_on,
)
from llmfail.server.program_keys import limits_of
from llmfail.server.served_request import GatewayRefusal, ServedRequest, read_marked
from llmfail.server.streamed_reply import StreamedReply

_PASSED_QUERY = frozenset({"beta"})


async def answer(served: ServedRequest) -> OutgoingReply | None:
    """None where the answer was written in pieces. Raises GatewayRefusal, or UsageError for what the request
    cannot mean.
    """
    route, request = served.route, served.request
    body = await served.read_body()
    asked = read_client_request(
        route.dialect, body, model=route.model, verb=route.verb, query=request.parameters
    )
    asked = replace(asked, asked=replace(asked.asked, id=served.id, created_at=int(served.at)))
    ask = build_ask(served, asked)
    original = _original_of(served, body) if asked.asked.may_relay else None
    served.line.stream = asked.asked.stream
    writer = make_reply_writer(asked.asked)
    if asked.asked.stream:
        found = await StreamedReply(served, writer).run(ask, original)
        reply = None if served.exchange.is_begun else write_answer(served, writer, found)
    else:
        found = await served.configuration.client.serve(ask, original=original)
        reply = write_answer(served, writer, found)
    await _charge(served, found)
    return reply


def build_ask(served: ServedRequest, asked: ClientRequest) -> Ask:
    """What the program asks, by its body, its headers and its key. Raises GatewayRefusal and UsageError."""
    headers, line = served.request.headers, served.line
    named = find_model(served, asked.asked.model)
    line.feature, line.tags = named.feature, headers.get("x-llmfail-tags", "")[:200] or None
    options: dict[str, Any] = {"feature": named.feature, **read_options(headers)}
    if named.target is not None:
        options["model"] = [named.target]
    if user := _find_user(served, asked):
        options["user"] = line.user = user
    ask = ask_of(asked.document, **options)
    cache_key = read_marked(asked.document.fields, served.route.dialect, "prompt_cache_key")
    return replace(
        ask,
        id=served.id,
        key=None if served.key is None else served.key.name,
        session=read_session(headers, cache_key),
        deadline=_find_deadline(served, ask),
    )


def find_model(served: ServedRequest, written: str) -> NamedModel:
    """What the program's ``model`` means, or its header that names a feature. Raises GatewayRefusal."""
    name = served.request.headers.get("x-llmfail-feature") or written
    served.line.model = name[:200]
    try:
        return resolve_model(served.configuration.names, name, served.allowed)
    except UnknownModel as error:
        raise GatewayRefusal(ErrorReply("unknown_model", str(error))) from None


def write_answer(served: ServedRequest, writer: ReplyWriter, found: ServedAnswer) -> OutgoingReply:
    """An answer of which nothing was written yet, or why there is none."""
    receipt, relayed = found
    served.line.add_receipt(receipt)
    headers = {**served.reply_headers, **describe_answer(receipt)}
    if relayed is not None and not (served.line.stream and receipt.error is None):
        return OutgoingReply(relayed.status, {**headers, **keep_reply_headers(relayed.headers)}, relayed.body)
    if receipt.error is not None:
        status, body, own = write_error(served.route.dialect, error_from_receipt(receipt, time.time()))
        return OutgoingReply(status, {**headers, **own}, body)
    if served.line.stream:
        return OutgoingReply(200, {**headers, **EVENT_STREAM}, writer.finish(receipt))
    return OutgoingReply(200, {**headers, "content-type": "application/json"}, writer.write_whole(receipt))


def _original_of(served: ServedRequest, body: bytes) -> OriginalRequest:
    parameters = served.request.parameters
    query = "&".join(f"{name}={parameters[name]}" for name in _PASSED_QUERY if name in parameters)
    return OriginalRequest(served.route.dialect, body, select_passed_on(served.request.headers), query)


def _find_user(served: ServedRequest, asked: ClientRequest) -> str | None:
    """Whose budget it goes on: the key's, unless its program may name users."""
    serve, key = served.configuration.serve, served.key
    own = None if key is None else key.name
    if serve.user_from == "key" or (key is not None and not key.may_name_users):
        return own
    if serve.user_from == "header":
        return served.request.headers.get("x-llmfail-user") or own
    fields, dialect = asked.document.fields, served.route.dialect
    names = ("safety_identifier", "user")
    named = next((one for name in names if (one := read_marked(fields, dialect, name))), None)
    return named if isinstance(named, str) else own


def _find_deadline(served: ServedRequest, ask: Ask) -> float | None:
    """An SDK that gives up sooner than the feature would has nobody read a later answer."""
    seconds = read_sdk_timeout(served.request.headers)
    if seconds is None or ask.deadline is not None:
        return ask.deadline
    settings = served.configuration.settings
    own = settings.resolve_defaults(settings.find_feature(ask.feature)).deadline
    return min(seconds, own)


async def _charge(served: ServedRequest, found: ServedAnswer) -> None:
    usage = found.receipt.usage
    if served.key is None or usage is None:
        return
    configuration = served.configuration
    limits = limits_of(served.key, configuration.settings.namespace)
    await configuration.client.charge_program(limits, usage.input_tokens + usage.output_tokens)
