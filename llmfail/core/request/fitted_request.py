"""A request as one endpoint is sent it: with the options that hold there, without what its wire cannot carry,
and with a history that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.conversation import (
    NO_OPTIONS,
    OPTION_NAMES,
    Message,
    Part,
    Text,
    Thought,
    ToolCall,
    merge_options,
)
from llmfail.core.model import Endpoint, Request

if TYPE_CHECKING:
    from llmfail.core.request.wire_capabilities import CarryReport


class FittedRequest(Struct, frozen=True):
    """``dropped`` names what was left out; ``unsuited`` says why this endpoint must not be sent it at all,
    empty when it may.
    """

    request: Request
    dropped: tuple[str, ...] = ()
    unsuited: str = ""


def fit_request(request: Request, endpoint: Endpoint) -> FittedRequest:
    """A plain prompt is what every wire takes: it costs nothing to say so."""
    if request.is_plain and endpoint.options == NO_OPTIONS and endpoint.door == "chat":
        return FittedRequest(request)
    from llmfail.core.request.history_repair import MISTRAL_RULES, RULES, repair_history
    from llmfail.core.request.wire_capabilities import dialect_of, judge_request

    request = replace(request, options=merge_options(endpoint.options, request.options))
    report = judge_request(request, endpoint)
    rules = MISTRAL_RULES if endpoint.vendor == "mistral" else RULES[dialect_of(endpoint)]
    left_out = {*report.dropped, *endpoint.dropped_parameters}
    kept = {name: getattr(request.options, name) for name in OPTION_NAMES if name not in left_out}
    fitted = replace(
        request,
        messages=repair_history(tuple(_fit_messages(request.messages, endpoint)), rules),
        options=replace(NO_OPTIONS, **kept),
        parallel_tools=None if "parallel_tools" in left_out else request.parallel_tools,
    )
    return FittedRequest(fitted, report.dropped, report.unsuited)


def report_losses(request: Request, endpoint: Endpoint) -> CarryReport:
    """What this endpoint cannot carry of a request, before anything is sent."""
    from llmfail.core.request.wire_capabilities import judge_request

    merged = replace(request, options=merge_options(endpoint.options, request.options))
    return judge_request(merged, endpoint)


def _fit_messages(messages: tuple[Message, ...], endpoint: Endpoint) -> Iterator[Message]:
    """Without signatures of others, and without turns in which nothing is left."""
    for message in messages:
        if isinstance(message.content, str):
            yield message
            continue
        parts = tuple(one for part in message.content if (one := _fit_part(part, endpoint)) is not None)
        if parts or not message.content:
            yield replace(message, content=parts)


def _fit_part(part: Part, endpoint: Endpoint) -> Part | None:
    from llmfail.core.request.wire_capabilities import can_read, can_return

    if isinstance(part, Thought):
        return part if can_return(part, endpoint) else None
    if isinstance(part, ToolCall | Text) and part.signature and not can_read(part.signature, endpoint):
        return replace(part, signature=None)
    return part
