"""A line of a batch file as OpenAI or Anthropic take it: ``custom_id``, and a whole request."""

from __future__ import annotations

from typing import Any

import msgspec

from llmfail.core.request.batch_line import BatchLine, MalformedLine, reject_line

URLS = ("/v1/chat/completions", "/v1/responses")
"""Where requests go that can be asked here, in the batch files of OpenAI."""
_TURNS = frozenset({"messages", "input"})


def read_vendor_line(number: int, text: bytes) -> BatchLine | MalformedLine | None:
    """None for a line in another form. The model that it names is not asked: the feature says who is."""
    try:
        line = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None
    ref, request = line.get("custom_id"), line.get("body", line.get("params"))
    if not isinstance(ref, str) or not isinstance(request, dict):
        return None
    where = line.get("url", URLS[0])
    if not (request.keys() & _TURNS) or not str(where).endswith(URLS):
        known = " and ".join(URLS)
        return reject_line(number, ref, f"only requests to {known} can be asked here, got one to {where}")
    return BatchLine(number, ref, request, {}, has_id=True)
