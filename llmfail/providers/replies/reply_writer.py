"""The answer to a program that asked over HTTP, as the bytes of its dialect: whole, or piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, assert_never

from llmfail.core.answer_piece import AnswerBegun, AnswerPiece
from llmfail.core.conversation import Dialect
from llmfail.core.receipt import Receipt, format_usd
from llmfail.core.request.history_repair import RULES, map_call_id
from llmfail.providers.dialects.client_request import AskedReply
from llmfail.providers.encoding import encode_json
from llmfail.providers.replies.answer_blocks import AnswerBlock, BlockEvent, BlockOrder


class ReplyWriter(Protocol):
    """One per answer. Either ``write_whole``, or ``begin``, then ``write_piece`` for each piece, and one of
    ``finish`` and ``break_off``. An answer that was never shown in pieces is written by ``finish`` alone.
    """

    keep_alive: bytes
    """What may be sent at any time before the end, so that nobody takes silence for death."""

    def write_whole(self, receipt: Receipt) -> bytes: ...

    def begin(self, begun: AnswerBegun) -> bytes: ...

    def write_piece(self, piece: AnswerPiece) -> bytes: ...

    def finish(self, receipt: Receipt) -> bytes: ...

    def break_off(self, receipt: Receipt) -> tuple[bytes, bool]:
        """The error as an event, and whether the body may end cleanly behind it."""
        ...


class BlockReply:
    """What all dialects have in common: an answer is blocks, one after the other."""

    ends_cleanly = False
    """Whether the error of an answer that broke off is an end of its own."""

    def __init__(self, asked: AskedReply) -> None:
        self.asked = asked
        self.model = asked.model
        self.order = BlockOrder()
        self._has_begun = False

    def begin(self, begun: AnswerBegun) -> bytes:
        """Nothing for an answer that is relayed; only its error may still be ours to write."""
        self._has_begun = True
        self.model = begun.model or begun.target.model
        return b"" if begun.is_relayed else self.write_start(begun)

    def write_piece(self, piece: AnswerPiece) -> bytes:
        return b"".join(map(self.write_event, self.order.add(piece)))

    def finish(self, receipt: Receipt) -> bytes:
        start = b"" if self._has_begun else self._begin_late(receipt)
        rest = [self.write_event(event) for event in self.order.finish(receipt)]
        return b"".join((start, *rest, self.write_end(receipt)))

    def break_off(self, receipt: Receipt) -> tuple[bytes, bool]:
        start = b"" if self._has_begun else self._begin_late(receipt)
        return start + self.write_broken_end(receipt), self.ends_cleanly

    def write_broken_end(self, receipt: Receipt) -> bytes:
        raise NotImplementedError

    def write_start(self, begun: AnswerBegun | None) -> bytes:
        raise NotImplementedError

    def write_event(self, event: BlockEvent) -> bytes:
        raise NotImplementedError

    def write_end(self, receipt: Receipt) -> bytes:
        raise NotImplementedError

    def call_id_of(self, block: AnswerBlock) -> str:
        """The id of a call as this dialect takes it; some servers give none."""
        given = block.call_id or f"{self.asked.id}/{block.call_index}"
        return map_call_id(given, RULES[self.asked.dialect])

    def read_whole(self, receipt: Receipt) -> list[AnswerBlock]:
        """The blocks of an answer that is written at once."""
        self.model = model_of(receipt, self.asked)
        for _ in self.order.finish(receipt):
            pass
        return self.order.blocks

    def _begin_late(self, receipt: Receipt) -> bytes:
        self._has_begun = True
        self.model = model_of(receipt, self.asked)
        return self.write_start(None)


def make_reply_writer(asked: AskedReply) -> ReplyWriter:
    return _load_writer(asked.dialect)(asked)


@cache
def _load_writer(dialect: Dialect) -> Callable[[AskedReply], ReplyWriter]:
    """Imported when the first reply of its dialect is written."""
    match dialect:
        case "chat":
            from llmfail.providers.replies.chat_reply import ChatReply

            return ChatReply
        case "responses":
            from llmfail.providers.replies.responses_reply import ResponsesReply

            return ResponsesReply
        case "anthropic":
            from llmfail.providers.replies.messages_reply import MessagesReply

            return MessagesReply
        case "gemini":
            from llmfail.providers.replies.gemini_reply import GeminiReply

            return GeminiReply
        case _:
            assert_never(dialect)


def model_of(receipt: Receipt, asked: AskedReply) -> str:
    """The model that answered; where none did, the one that was asked for."""
    return receipt.response_model or (receipt.target.model if receipt.target else asked.model)


def cost_of(receipt: Receipt) -> str | None:
    return format_usd(receipt.cost_pico_usd)


def write_named_event(event: Mapping[str, Any]) -> bytes:
    """A server-sent event that has its type as its name too."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode("ascii"), encode_json(event))


def write_data(event: object) -> bytes:
    return b"data: %b\n\n" % encode_json(event)


__all__ = ["AskedReply", "Dialect", "ReplyWriter", "make_reply_writer"]
