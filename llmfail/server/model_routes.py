"""What programs ask besides answers: which models there are, and how many tokens a request has."""

from __future__ import annotations

from llmfail.client.options import ask_of
from llmfail.core.routing.model_name import list_models
from llmfail.http_server.message import JSON_TYPE, OutgoingReply
from llmfail.providers.dialects.client_request import read_count_request
from llmfail.providers.replies.model_list import write_model, write_model_list, write_token_count
from llmfail.server.program_request import choose_options, find_model
from llmfail.server.served_request import ServedRequest


async def show_models(served: ServedRequest) -> OutgoingReply:
    """Those that the key of the program may use."""
    configuration, dialect = served.configuration, served.route.dialect
    names = list_models(configuration.names, served.allowed)
    return _reply(served, write_model_list(dialect, names, configuration.opened_at))


async def show_model(served: ServedRequest) -> OutgoingReply:
    """Raises GatewayRefusal."""
    find_model(served, served.route.model)
    body = write_model(served.route.dialect, served.route.model, served.configuration.opened_at)
    return _reply(served, body)


async def count_tokens(served: ServedRequest) -> OutgoingReply:
    """Costs nothing, and says nothing of any target. Raises GatewayRefusal and UsageError."""
    body = await served.read_body()
    read = read_count_request(served.route.dialect, body, model=served.route.model)
    ask = ask_of(read.document, **choose_options(served, read.asked.model, read.document.fields))
    served.line.input_tokens = await served.configuration.client.count_tokens(ask)
    return _reply(served, write_token_count(served.route.dialect, served.line.input_tokens))


def _reply(served: ServedRequest, body: bytes) -> OutgoingReply:
    return OutgoingReply(200, {**served.reply_headers, "content-type": JSON_TYPE}, body)
