"""A program asks for vectors."""

from __future__ import annotations

import time

from msgspec.structs import replace

from llmfail.client.options import ask_of
from llmfail.core.conversation import Message
from llmfail.http_server.message import JSON_TYPE, OutgoingReply
from llmfail.providers.dialects.embedding_request import read_embedding_request
from llmfail.providers.replies.embedding_reply import write_embeddings
from llmfail.providers.replies.error_reply import error_from_receipt, write_error
from llmfail.server.answer_headers import describe_answer
from llmfail.server.program_request import add_caller, charge_key, choose_options
from llmfail.server.served_request import ServedRequest


async def embed(served: ServedRequest) -> OutgoingReply:
    """Raises GatewayRefusal and UsageError."""
    route = served.route
    body = await served.read_body()
    read = read_embedding_request(route.dialect, body, model=route.model, verb=route.verb)
    texts = [Message("user", text) for text in read.texts]
    ask = replace(
        ask_of(texts, **choose_options(served, read.model, {})),
        dimensions=read.dimensions,
        has_token_ids=read.has_token_ids,
    )
    if read.has_token_ids:
        ask = replace(ask, cache="off")  # what is stored is found by its text
    receipt = await served.configuration.client.embed_ask(add_caller(served, ask, {}))
    served.line.add_receipt(receipt)
    await charge_key(served, receipt)
    headers = {**served.reply_headers, **describe_answer(receipt, served.line)}
    if receipt.error is not None:
        status, error, own = write_error(route.dialect, error_from_receipt(receipt, time.time()))
        return OutgoingReply(status, {**headers, **own}, error)
    return OutgoingReply(200, {**headers, "content-type": JSON_TYPE}, write_embeddings(read, receipt))
