"""A program asks for an answer: whole, or in pieces."""

from __future__ import annotations

import time
from collections.abc import Mapping

from msgspec.structs import replace

from llmfail.client.options import ask_of
from llmfail.core.answer_piece import OriginalRequest, ServedAnswer
from llmfail.core.request.ask import Ask
from llmfail.http_server.message import JSON_TYPE, OutgoingReply
from llmfail.providers.dialects.client_request import AskedReply, ClientRequest, read_client_request
from llmfail.providers.replies.error_reply import error_from_receipt, write_error
from llmfail.providers.replies.reply_writer import make_reply_writer
from llmfail.server.answer_headers import (
    EVENT_STREAM,
    describe_answer,
    keep_reply_headers,
    select_passed_on,
)
from llmfail.server.program_request import add_caller, charge_key, choose_options
from llmfail.server.served_request import ServedRequest
from llmfail.server.streamed_reply import StreamedReply

_PASSED_QUERY = "beta=true"
"""What goes to a provider of the query. Nothing else does: each URL that is called is remembered."""


async def answer(served: ServedRequest) -> OutgoingReply | None:
    """None where the answer was written in pieces. Raises GatewayRefusal, or UsageError for what the request
    cannot mean.
    """
    route = served.route
    body = await served.read_body()
    parameters = served.request.parameters
    read = read_client_request(route.dialect, body, model=route.model, verb=route.verb, query=parameters)
    asked = replace(read.asked, id=served.id, created_at=int(served.at))
    ask = _build_ask(served, read)
    original = _original_of(served, body, parameters) if asked.may_relay and not asked.as_array else None
    served.line.stream = asked.stream
    if asked.stream:
        found = await StreamedReply(served, make_reply_writer(asked)).run(ask, original)
    else:
        found = await served.configuration.client.serve(ask, original=original)
    reply = None if served.exchange.is_begun else _write_answer(served, asked, found)
    await charge_key(served, found.receipt)
    return reply


def _build_ask(served: ServedRequest, read: ClientRequest) -> Ask:
    fields = read.document.fields
    ask = ask_of(read.document, **choose_options(served, read.asked.model, fields))
    return add_caller(served, ask, fields)


def _write_answer(served: ServedRequest, asked: AskedReply, found: ServedAnswer) -> OutgoingReply:
    """An answer of which nothing was written yet, or why there is none."""
    receipt, relayed = found
    served.line.add_receipt(receipt)
    headers = {**served.reply_headers, **describe_answer(receipt, served.line)}
    if relayed is not None and not (asked.stream and receipt.error is None):
        return OutgoingReply(relayed.status, {**headers, **keep_reply_headers(relayed.headers)}, relayed.body)
    if receipt.error is not None:
        error = error_from_receipt(receipt, time.time())
        status, body, own = write_error(served.route.dialect, error)
        return OutgoingReply(status, {**headers, **own}, body)
    writer = make_reply_writer(asked)
    if asked.stream:
        return OutgoingReply(200, {**headers, **EVENT_STREAM}, writer.finish(receipt))
    return OutgoingReply(200, {**headers, "content-type": JSON_TYPE}, writer.write_whole(receipt))


def _original_of(served: ServedRequest, body: bytes, parameters: Mapping[str, str]) -> OriginalRequest:
    query = _PASSED_QUERY if _PASSED_QUERY in [f"{name}={said}" for name, said in parameters.items()] else ""
    return OriginalRequest(served.route.dialect, body, select_passed_on(served.request.headers), query)
