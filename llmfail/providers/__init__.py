"""Wire formats, sans-I/O: a Request becomes an HTTP call, an HTTP reply becomes an answer.

A wire format is a module with the functions of ``WireFormat``; only the one that is asked for is imported.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from llmfail.core.classification.body import Payload
from llmfail.core.model import Api, Call, Completion, Door, Embedding, Endpoint, Request

if TYPE_CHECKING:
    from llmfail.providers.encoding import EmbeddingInputs
    from llmfail.providers.stream import StreamDecoder


class WireFormat(Protocol):
    """``payload`` is what ``core.classification.body.parse`` made of the body of a reply that is no error."""

    def encode(self, request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
        """Raises UsageError for what no provider could be sent (an attachment that is not text),
        UnsupportedRequest for what this one cannot.
        """
        ...

    def begin_call(self, endpoint: Endpoint, *, stream: bool) -> Call:
        """The same without its body."""
        ...

    def build_options(self, request: Request, endpoint: Endpoint) -> dict[str, Any]:
        """The options of a request, as fields of its body or of the object that has them."""
        ...

    def decode(self, payload: Payload) -> Completion:
        """Raises MalformedReply."""
        ...

    def encode_embedding(
        self, inputs: EmbeddingInputs, endpoint: Endpoint, dimensions: int | None = None
    ) -> Call:
        """Raises UnsupportedRequest where the provider has no embeddings, or none of ids of tokens."""
        ...

    def max_texts(self, endpoint: Endpoint) -> int:
        """How many texts one call for embeddings takes."""
        ...

    def decode_embedding(self, payload: Payload) -> Embedding:
        """Raises MalformedReply."""
        ...

    def encode_count(self, request: Request, endpoint: Endpoint) -> Call:
        """How many input tokens a request is, asked of the provider itself, for nothing. Raises
        UnsupportedRequest where it does not tell, and what ``encode`` raises.
        """
        ...

    def decode_count(self, payload: Payload) -> int:
        """Raises MalformedReply."""
        ...

    def make_stream_decoder(self) -> StreamDecoder:
        """A decoder for the body of one reply to a call with ``stream=True``."""
        ...


@cache
def load_wire_format(api: Api, door: Door = "chat") -> WireFormat:
    """``door`` is which of its two endpoints an OpenAI is asked at. A new format takes a module here, a name
    in ``core.model.Api``, a row in ``core.request.wire_capabilities``, and a format of the simulator.
    """
    match api:
        case "anthropic":
            from llmfail.providers import anthropic

            return anthropic
        case "openai" if door == "responses":
            from llmfail.providers import responses

            return responses
        case "openai":
            from llmfail.providers import openai

            return openai
        case "gemini":
            from llmfail.providers import gemini

            return gemini
        case "vertex":
            from llmfail.providers import vertex

            return vertex
        case _:
            assert_never(api)
