"""Texts of which a program wants vectors, as OpenAI and Gemini have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from llmfail.core.conversation import Dialect
from llmfail.core.errors import UsageError
from llmfail.providers.decoding import as_clean_text, as_mapping, as_token_count
from llmfail.providers.dialects.client_request import read_object
from llmfail.providers.dialects.gemini_schema import rename_fields
from llmfail.providers.encoding import encode_json

BATCH_VERB: Final = "batchEmbedContents"


class EmbeddingRequest(Struct, frozen=True):
    """``has_token_ids``: the inputs are ids of tokens, and each text is a list of them as JSON.
    ``dimensions`` is how many numbers a vector shall have, and ``is_batch`` how Gemini wants several.
    """

    dialect: Dialect
    model: str
    texts: tuple[str, ...]
    has_token_ids: bool = False
    dimensions: int | None = None
    as_base64: bool = False
    is_batch: bool = False


def read_embedding_request(
    dialect: Dialect, body: bytes, *, model: str = "", verb: str = ""
) -> EmbeddingRequest:
    """``model`` and ``verb`` stand in the path of a request to Gemini. Raises UsageError."""
    document = read_object(body)
    if dialect == "gemini":
        return _read_gemini(as_mapping(rename_fields(document)), model, is_batch=verb == BATCH_VERB)
    texts, has_token_ids = _read_input(document.get("input"))
    encoding = document.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise UsageError(f"encoding_format is float or base64, got {encoding!r}")
    return EmbeddingRequest(
        dialect="chat",
        model=as_clean_text(document.get("model")),
        texts=texts,
        has_token_ids=has_token_ids,
        dimensions=_read_dimensions("dimensions", document.get("dimensions")),
        as_base64=encoding == "base64",
    )


def _read_input(said: object) -> tuple[tuple[str, ...], bool]:
    """The texts, and whether they are lists of the ids of tokens."""
    inputs = [said] if isinstance(said, str) else said
    if not isinstance(inputs, list) or not inputs:
        raise UsageError("the input of embeddings is a text or a list of texts, and not empty")
    if all(isinstance(one, str) for one in inputs):
        return tuple(map(as_clean_text, inputs)), False
    arrays = [inputs] if _are_numbers(inputs) else inputs
    if all(isinstance(one, list) and one and _are_numbers(one) for one in arrays):
        return tuple(encode_json(one).decode() for one in arrays), True
    raise UsageError("the input of embeddings is a list of texts, or of ids of tokens, and not of both")


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in values)


def _read_dimensions(name: str, said: object) -> int | None:
    count = as_token_count(said)
    if said is not None and not count:
        raise UsageError(f"{name} is a whole number above 0, got {said!r}")
    return count


def _read_gemini(document: Mapping[str, Any], model: str, *, is_batch: bool) -> EmbeddingRequest:
    requests = document.get("requests") if is_batch else [document]
    if not isinstance(requests, list) or not requests:
        raise UsageError("the requests of a batch of embeddings are a list, and not empty")
    said = [as_mapping(one) for one in requests]
    sizes = {_read_dimensions("outputDimensionality", one.get("outputDimensionality")) for one in said}
    if len(sizes) > 1:
        raise UsageError("outputDimensionality is the same for all requests of a batch")
    texts = tuple(_read_content(number, one.get("content")) for number, one in enumerate(said, 1))
    return EmbeddingRequest("gemini", model, texts, dimensions=sizes.pop(), is_batch=is_batch)


def _read_content(number: int, content: object) -> str:
    parts = as_mapping(content).get("parts")
    texts = [as_mapping(part).get("text") for part in parts] if isinstance(parts, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"content {number} is an object with a list called parts, of texts")
    return "\n".join(map(as_clean_text, texts))
