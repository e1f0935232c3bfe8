"""What each vendor says, sans-I/O: a request as seen -> a reply in the exact shape of the real one.

``build_answer`` makes a healthy reply, ``build_error`` what the vendor says when a fault is played. The
modules do not know each other; this one chooses.
"""

from __future__ import annotations

from dataclasses import replace

from llmfail.core.model import Reply
from llmfail.simulator.canned_turn import CannedTurn, find_bad_signature
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.formats import anthropic, compatible, google, openai, responses
from llmfail.simulator.formats.reply_text import build_retry_after_header
from llmfail.simulator.http1 import EventStreamReply
from llmfail.simulator.recorded_request import RecordedRequest

NOT_FOUND = Fault(FaultKind.STATUS, status=404)
BAD_REQUEST = Fault(FaultKind.STATUS, status=400)
GATEWAY_STATUSES = frozenset({502, 520, 521, 522, 523, 524})
"""Statuses that come from the proxy in front of a vendor, as a page for browsers."""
VERTEX_OWN_STATUSES = frozenset({401, 403, 404})
"""What Vertex says itself before Claude is asked."""


def build_answer(request: RecordedRequest, said: str | CannedTurn) -> Reply | EventStreamReply:
    """The reply that carries a text, cut at the request's own token limit as a model would, or a turn with
    calls of tools. A request whose signatures are not the vendor's own is refused as the vendor refuses it.
    """
    if request.route.operation == "unknown":
        return build_error(request, NOT_FOUND)
    if not request.document:
        return build_error(request, BAD_REQUEST)
    bad = find_bad_signature(request) if request.route.operation == "generate" else None
    return build_error(request, replace(BAD_REQUEST, message=bad)) if bad else _build_healthy(request, said)


def _build_healthy(request: RecordedRequest, said: str | CannedTurn) -> Reply | EventStreamReply:
    match request.route.format:
        case "anthropic":
            return anthropic.build_answer(request, said)
        case "openai":
            return openai.build_answer(request, said)
        case "responses":
            return responses.build_answer(request, said)
        case "gemini":
            return google.build_answer(request, said)


def build_error(request: RecordedRequest, fault: Fault) -> Reply:
    """What the vendor says for a status, quota, billing or auth fault."""
    if fault.status in GATEWAY_STATUSES:
        return _build_gateway_page(fault)
    match request.route.api:
        case "anthropic":
            return anthropic.build_error(request, fault)
        case "openai":
            return compatible.build_error(request, fault) or openai.build_error(request, fault)
        case "gemini":
            return google.build_error(request, fault)
        case "vertex":
            claude = request.route.format == "anthropic" and fault.kind is FaultKind.STATUS
            of_claude = claude and fault.status not in VERTEX_OWN_STATUSES
            return anthropic.build_error(request, fault) if of_claude else google.build_error(request, fault)


def _build_gateway_page(fault: Fault) -> Reply:
    title = f"{fault.status}: Bad gateway" if fault.status == 502 else f"{fault.status}: Web server error"
    page = (
        f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n"
        f"<body>\n<center><h1>{title}</h1></center>\n<hr><center>cloudflare</center>\n</body>\n</html>\n"
    )
    headers = {
        "content-type": "text/html; charset=UTF-8",
        "server": "cloudflare",
        **build_retry_after_header(fault),
    }
    return Reply(fault.status, headers, page.encode())
