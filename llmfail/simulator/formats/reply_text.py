"""Text as the formats need it: how many tokens it counts, cut at a limit, in pieces for a stream."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from llmfail.core.model import Reply
from llmfail.simulator.faults import Fault, format_decimal

BYTES_PER_TOKEN = 4
DEFAULT_DIMENSIONS = 8
MOST_DIMENSIONS = 8192
"""Of a simulated vector, when the request names no number."""


def count_tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def cut_to_limit(text: str, max_tokens: int | None) -> tuple[str, bool]:
    """The text as far as the limit goes, and whether it had to be cut."""
    if max_tokens is None or count_tokens(text) <= max_tokens:
        return text, False
    kept = text.encode("utf-8", "surrogatepass")[: max(0, max_tokens) * BYTES_PER_TOKEN]
    return kept.decode("utf-8", "ignore"), True


def split_words(text: str) -> list[str]:
    """The text word by word, nothing lost."""
    return re.findall(r"\s*\S+|\s+$", text)


def build_vector(text: str, dimensions: int | None) -> list[float]:
    """The same numbers for the same text, between -1 and 1."""
    return [
        round(zlib.crc32(f"{index} {text}".encode("utf-8", "surrogatepass")) / 2**31 - 1, 6)
        for index in range(min(dimensions or DEFAULT_DIMENSIONS, MOST_DIMENSIONS))
    ]


def build_retry_after_header(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"retry-after": format_decimal(fault.retry_after)}


def build_json_reply(status: int, headers: Mapping[str, str], document: object) -> Reply:
    return Reply(status, {"content-type": "application/json", **headers}, encode_json(document))


def encode_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def encode_event(document: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"event: %b\n" % name.encode() if name else b""
    return head + b"data: " + encode_json(document) + b"\n\n"
