"""What each vendor says, sans-I/O: a request as seen -> a reply in the exact shape of the real one.

``answer`` is a healthy reply, ``error`` what the vendor says when a fault is played. The modules do not know
each other; this one chooses.
"""

from __future__ import annotations

from llmfail.core.model import Reply
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.formats import anthropic, compatible, google, openai
from llmfail.simulator.formats.reply_text import hint_header
from llmfail.simulator.http1 import Streamed
from llmfail.simulator.recorded_request import Seen

NOT_FOUND = Fault(FaultKind.STATUS, status=404)
BAD_REQUEST = Fault(FaultKind.STATUS, status=400)
GATEWAY = frozenset({502, 520, 521, 522, 523, 524})
"""Statuses that come from the proxy in front of a vendor, as a page for browsers."""
GOOGLES_OWN = frozenset({401, 403, 404})
"""What Vertex says itself before Claude is asked."""


def answer(seen: Seen, text: str) -> Reply | Streamed:
    """The reply that carries ``text``, cut at the request's own token limit as a model would."""
    if seen.route.operation == "unknown":
        return error(seen, NOT_FOUND)
    if not seen.document:
        return error(seen, BAD_REQUEST)
    match seen.route.format:
        case "anthropic":
            return anthropic.answer(seen, text)
        case "openai":
            return openai.answer(seen, text)
        case "gemini":
            return google.answer(seen, text)


def error(seen: Seen, fault: Fault) -> Reply:
    """What the vendor says for a status, quota, billing or auth fault."""
    if fault.status in GATEWAY:
        return _gateway_page(fault)
    match seen.route.api:
        case "anthropic":
            return anthropic.error(seen, fault)
        case "openai":
            return compatible.error(seen, fault) or openai.error(seen, fault)
        case "gemini":
            return google.error(seen, fault)
        case "vertex":
            claude = seen.route.format == "anthropic" and fault.kind is FaultKind.STATUS
            of_claude = claude and fault.status not in GOOGLES_OWN
            return anthropic.error(seen, fault) if of_claude else google.error(seen, fault)


def _gateway_page(fault: Fault) -> Reply:
    title = f"{fault.status}: Bad gateway" if fault.status == 502 else f"{fault.status}: Web server error"
    page = (
        f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n"
        f"<body>\n<center><h1>{title}</h1></center>\n<hr><center>cloudflare</center>\n</body>\n</html>\n"
    )
    headers = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare", **hint_header(fault)}
    return Reply(fault.status, headers, page.encode())
