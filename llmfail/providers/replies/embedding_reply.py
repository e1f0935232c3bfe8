"""Vectors as OpenAI and Gemini write them. In base64 they are floats of four bytes, the lowest byte first: a
program that asked for it and gets numbers reads wrong ones.
"""

from __future__ import annotations

import struct
from binascii import b2a_base64
from collections.abc import Sequence

from llmfail.core.model import Usage
from llmfail.core.receipt import Receipt, format_usd
from llmfail.providers.dialects.embedding_request import EmbeddingRequest
from llmfail.providers.encoding import encode_json


def write_embeddings(request: EmbeddingRequest, receipt: Receipt) -> bytes:
    assert receipt.embedding is not None, "there are no vectors"
    vectors = receipt.embedding.vectors
    if request.dialect == "gemini":
        written = [{"values": vector} for vector in vectors]
        return encode_json({"embeddings": written} if request.is_batch else {"embedding": written[0]})
    usage = receipt.usage or Usage()
    rows = [
        {"object": "embedding", "index": index, "embedding": _pack(vector) if request.as_base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    counts = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    told = {**counts, "cost_usd": format_usd(receipt.cost_pico_usd)}
    model = receipt.response_model or (receipt.target.model if receipt.target else request.model)
    return encode_json({"object": "list", "data": rows, "model": model, "usage": told})


def _pack(vector: Sequence[float]) -> str:
    return b2a_base64(struct.pack(f"<{len(vector)}f", *vector), newline=False).decode("ascii")
