"""Files of JSON that the command line names."""

from __future__ import annotations

from pathlib import Path

import msgspec

from llmfail.client.attachment_files import MEBIBYTE, read_bytes
from llmfail.core.errors import UsageError

MAX_JSON_BYTES = 50 * MEBIBYTE
"""Bytes; no provider takes a larger request."""


def read_json_file(option: str, path: Path) -> object:
    """Raises UsageError for what cannot be read, and for what is no JSON."""
    return parse_json(f"{option} {path}", read_bytes(path, MAX_JSON_BYTES))


def parse_json(what: str, data: bytes) -> object:
    """Raises UsageError."""
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{what} is not JSON: {reason}") from None
