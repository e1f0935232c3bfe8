"""An answer on its way to a program that asked over HTTP: the pieces of it, and the request as the program
wrote it.

The pieces of one streamed answer are either an ``AnswerBegun`` with ``is_relayed`` and then ``RelayedBytes``
only, the last of which have the provider's own end mark, or an ``AnswerBegun`` and then texts, thoughts and
calls. What was never shown in pieces is in the receipt alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from llmfail.core.conversation import Dialect, Signature
from llmfail.core.model import Target, Usage
from llmfail.core.receipt import Receipt


class OriginalRequest(Struct, frozen=True):
    """The body as the program sent it, in its dialect. A target that speaks the same dialect gets it with
    little more than ``model`` replaced. ``headers`` are those that are passed on, such as ``anthropic-beta``,
    with names in lower case; ``query`` is passed on as well.
    """

    dialect: Dialect
    body: bytes
    headers: Mapping[str, str] = {}
    query: str = ""


class AnswerBegun(Struct, frozen=True):
    """The committed target has shown a first sign of an answer. From here on no other target takes over.
    ``usage`` is the input side, where the provider tells it at the start; ``dropped`` what its wire could not
    carry of the request. ``attempts`` are the calls so far, this one included; ``headers`` are those of the
    provider's reply that are passed on where it is relayed.
    """

    target: Target
    model: str | None
    is_relayed: bool
    usage: Usage | None = None
    dropped: tuple[str, ...] = ()
    tier: int = 0
    attempts: int = 1
    headers: Mapping[str, str] = {}


class TextPiece(Struct, frozen=True):
    text: str


class ThoughtPiece(Struct, frozen=True):
    """A piece of a thought. Its signature comes with an empty text, at the end of the thought."""

    text: str
    signature: Signature | None = None


class CallBegun(Struct, frozen=True):
    """The model begins to call a tool. ``index`` counts the calls of the answer from 0."""

    index: int
    id: str
    name: str
    signature: Signature | None = None


class CallArguments(Struct, frozen=True):
    """A piece of the JSON with which a tool is called."""

    index: int
    text: str


class RelayedBytes(Struct, frozen=True):
    """Whole server-sent events as the provider wrote them, with keys masked."""

    data: bytes


AnswerPiece = AnswerBegun | TextPiece | ThoughtPiece | CallBegun | CallArguments | RelayedBytes


class RelayedReply(Struct, frozen=True):
    """A whole reply of a provider as it came: an answer, or the refusal that ended the ask."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ServedAnswer(NamedTuple):
    """The receipt of an ask, and the reply to pass on where the program's own request was relayed."""

    receipt: Receipt
    relayed: RelayedReply | None
