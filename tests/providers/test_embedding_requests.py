"""Vectors, models and counts, as programs ask for them and read them."""

import base64
import json
import struct

import pytest

from llmfail.core.errors import UsageError
from llmfail.core.model import Embedding, Target, Usage
from llmfail.core.receipt import Receipt
from llmfail.providers.dialects.embedding_request import EmbeddingRequest, read_embedding_request
from llmfail.providers.replies.embedding_reply import write_embeddings
from llmfail.providers.replies.model_list import write_model, write_model_list, write_token_count

VECTORS = ((0.5, -0.25), (1.0, 2.0))
RECEIPT = Receipt(
    "01H",
    "embed",
    target=Target("openai", "small"),
    usage=Usage(input_tokens=3),
    cost_pico_usd=60_000,
    embedding=Embedding(VECTORS),
)


def read(document, dialect="chat", **more):
    return read_embedding_request(dialect, json.dumps(document).encode(), **more)


@pytest.mark.parametrize(
    ("said", "texts", "has_token_ids"),
    [
        ("a", ("a",), False),
        (["a", "b"], ("a", "b"), False),
        ([1, 2], ("[1,2]",), True),
        ([[1, 2], [3]], ("[1,2]", "[3]"), True),
    ],
)
def test_texts_and_numbers_of_tokens_are_told_apart(said, texts, has_token_ids):
    found = read({"model": "m", "input": said, "dimensions": 256, "encoding_format": "base64"})
    assert found == EmbeddingRequest("chat", "m", texts, has_token_ids, 256, as_base64=True)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"input": []},
        {"input": ["a", 1]},
        {"input": [[]]},
        {"input": [True]},
        {"input": [-1]},
        {"input": "a", "dimensions": 0},
        {"input": "a", "dimensions": "9"},
        {"input": "a", "encoding_format": "hex"},
        {"input": "a", "encoding_format": {}},
    ],
)
def test_what_is_no_request_for_vectors_is_told(document):
    with pytest.raises(UsageError):
        read(document)


def test_gemini_asks_for_one_or_for_several():
    one = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "output_dimensionality": 9}
    found = read(one, "gemini", model="m", verb="embedContent")
    assert found == EmbeddingRequest("gemini", "m", ("a\nb",), dimensions=9)
    found = read({"requests": [one, one]}, "gemini", model="m", verb="batchEmbedContents")
    assert (found.texts, found.dimensions, found.is_batch) == (("a\nb", "a\nb"), 9, True)
    other = {**one, "output_dimensionality": 8}
    for wrong in ({"requests": [one, other]}, {"requests": []}, {"requests": [{"content": {"parts": [{}]}}]}):
        with pytest.raises(UsageError):
            read(wrong, "gemini", model="m", verb="batchEmbedContents")


def test_vectors_in_base64_are_the_same_numbers():
    request = EmbeddingRequest("chat", "m", ("a", "b"), as_base64=True)
    rows = json.loads(write_embeddings(request, RECEIPT))["data"]
    unpacked = tuple(struct.unpack("<2f", base64.b64decode(row["embedding"])) for row in rows)
    assert unpacked == VECTORS
    plain = json.loads(write_embeddings(EmbeddingRequest("chat", "m", ("a", "b")), RECEIPT))
    assert [tuple(row["embedding"]) for row in plain["data"]] == list(VECTORS)
    assert plain["usage"] == {"prompt_tokens": 3, "total_tokens": 3, "cost_usd": "0.00000006"}


def test_gemini_reads_values():
    several = write_embeddings(EmbeddingRequest("gemini", "m", ("a", "b"), is_batch=True), RECEIPT)
    assert json.loads(several) == {"embeddings": [{"values": list(vector)} for vector in VECTORS]}
    one = write_embeddings(EmbeddingRequest("gemini", "m", ("a",)), RECEIPT)
    assert json.loads(one) == {"embedding": {"values": [0.5, -0.25]}}


def test_one_list_of_models_has_what_two_readers_look_for():
    found = json.loads(write_model_list("chat", ("chat", "vpr"), 1_700_000_000))
    assert (found["object"], found["has_more"], found["first_id"], found["last_id"]) == (
        *("list", False),
        *("chat", "vpr"),
    )
    assert found["data"][0] == {
        "id": "chat",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "llmfail",
        "type": "model",
        "display_name": "chat",
        "created_at": "2023-11-14T22:13:20Z",
    }
    assert found["data"][0] == json.loads(write_model("anthropic", "chat", 1_700_000_000))
    assert json.loads(write_model_list("chat", (), 0))["first_id"] is None
    assert json.loads(write_model_list("gemini", ("vpr",), 0))["models"][0]["name"] == "models/vpr"


@pytest.mark.parametrize(
    ("dialect", "name"),
    [("anthropic", "input_tokens"), ("responses", "input_tokens"), ("gemini", "totalTokens")],
)
def test_a_count_has_the_name_that_its_reader_looks_for(dialect, name):
    assert json.loads(write_token_count(dialect, 7))[name] == 7
