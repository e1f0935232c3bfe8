"""A line of a batch file as OpenAI or Anthropic take it: ``custom_id``, and a whole request."""

from __future__ import annotations

from typing import Any

import msgspec

from llmfail.core.request.batch_line import BatchLine, MalformedLine, reject_line

CHAT_URL = "/v1/chat/completions"


def read_vendor_line(number: int, text: bytes) -> BatchLine | MalformedLine | None:
    """None for a line in another form. The model that it names is not asked: the feature says who is."""
    try:
        line = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None
    ref, request = line.get("custom_id"), line.get("body", line.get("params"))
    if not isinstance(ref, str) or not isinstance(request, dict):
        return None
    if "messages" not in request:
        where = line.get("url", "another endpoint")
        return reject_line(number, ref, f"only requests to {CHAT_URL} can be asked here, got one to {where}")
    return BatchLine(number, ref, request, {}, has_id=True)
