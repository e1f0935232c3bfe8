"""A receipt of ``embed`` as one line of output."""

from __future__ import annotations

import json

from llmfail.core.receipt import Receipt


def format_embedding_receipt(receipt: Receipt) -> str:
    """The receipt as JSON with its vector and how many numbers that has, without the line end."""
    told = {**receipt.to_json(), "embedding": _first_vector(receipt), "dimensions": receipt.dimensions}
    return json.dumps(told, ensure_ascii=False)


def format_array(receipt: Receipt) -> str:
    """Its vector as a JSON array, or null."""
    return json.dumps(_first_vector(receipt))


def _first_vector(receipt: Receipt) -> tuple[float, ...] | None:
    return None if receipt.embedding is None else receipt.embedding.vectors[0]
