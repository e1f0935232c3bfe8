"""A whole reply of a provider on its way to the program whose own request it answers: without the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmfail.core.answer_piece import RelayedReply
from llmfail.core.model import Endpoint, Reply
from llmfail.core.one_line import one_line
from llmfail.core.redaction import is_masked_in_answers, mask_bytes

_PASSED_HEADERS: Final = frozenset({
    *("content-type", "request-id", "x-request-id", "retry-after", "x-should-retry", "openai-model"),
    "openai-processing-ms",
})  # fmt: skip
_ORDINARY_TYPES: Final = frozenset({
    *("application/json", "application/json; charset=utf-8"),
    *("text/event-stream", "text/event-stream; charset=utf-8"),
})  # fmt: skip
"""Nobody's key."""
MAX_HEADER_CHARS = 256


def pass_reply_on(reply: Reply, endpoint: Endpoint) -> RelayedReply | None:
    """None for what is no JSON: a program expects nothing else."""
    if reply.body.lstrip()[:1] not in {b"{", b"["}:
        return None
    body = mask_bytes(reply.body, endpoint.secret) if is_masked_in_answers(endpoint.secret) else reply.body
    return RelayedReply(reply.status, pass_headers_on(reply.headers, endpoint), body)


def pass_headers_on(headers: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """``headers`` with names in lower case."""
    return {
        name: value if value in _ORDINARY_TYPES else one_line(value, endpoint.secret, MAX_HEADER_CHARS)
        for name, value in headers.items()
        if name in _PASSED_HEADERS
    }
