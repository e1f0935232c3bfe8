"""The pieces of an answer as blocks that open, grow and close: one for each text, thought and call of a tool.

A block of text or of a thought ends when anything else begins. The call of a tool ends then too if its JSON
is whole, else with the answer, because some providers write several calls at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct, field

from llmfail.core.answer_piece import AnswerPiece, CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import Part, Signature, Text, Thought, ToolCall, join_text
from llmfail.core.receipt import Receipt

BlockKind = Literal["text", "thought", "call"]


class AnswerBlock(Struct, eq=False):
    """``index`` is its place among all blocks. A call has an id, a name, and its place among the calls."""

    kind: BlockKind
    index: int
    pieces: list[str] = field(default_factory=list)
    signature: Signature | None = None
    call_id: str = ""
    name: str = ""
    call_index: int = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def is_whole_json(self) -> bool:
        try:
            msgspec.json.decode(self.text)
        except (ValueError, RecursionError):
            return False
        return True


class BlockEvent(NamedTuple):
    kind: Literal["open", "add", "close"]
    block: AnswerBlock
    text: str = ""


class BlockOrder:
    """The blocks of one answer."""

    def __init__(self) -> None:
        self.blocks: list[AnswerBlock] = []
        self._open: list[AnswerBlock] = []
        self._calls: dict[int, AnswerBlock] = {}

    def add(self, piece: AnswerPiece) -> Iterator[BlockEvent]:
        match piece:
            case TextPiece(text) if text:
                yield from self._say("text", text)
            case ThoughtPiece(text, signature) if text or signature:
                yield from self._say("thought", text, signature)
                if signature is not None:
                    self._open[-1].signature = signature
                    yield from self._close([self._open[-1]])
            case CallBegun():
                block = AnswerBlock("call", len(self.blocks), signature=piece.signature)
                block.call_id, block.name, block.call_index = piece.id, piece.name, piece.index
                self._calls[piece.index] = block
                yield from self._begin(block)
            case CallArguments(index, text) if text and index in self._calls:
                yield from self._grow(self._calls[index], text)
            case _:
                return

    def finish(self, receipt: Receipt) -> Iterator[BlockEvent]:
        """What of the answer was not shown yet, and the end of all blocks."""
        parts = list_parts(receipt)
        for piece in self._list_unseen(parts) if self.blocks else list_pieces(parts):
            yield from self.add(piece)
        yield from self._close(list(self._open))

    def _list_unseen(self, parts: tuple[Part, ...]) -> Iterator[AnswerPiece]:
        shown = sum(len(piece) for block in self.blocks if block.kind == "text" for piece in block.pieces)
        if rest := join_text(parts)[shown:]:
            yield TextPiece(rest)
        for index, call in enumerate(part for part in parts if isinstance(part, ToolCall)):
            if index not in self._calls:
                yield CallBegun(index, call.id, call.name, call.signature)
            if not self._calls[index].pieces:
                yield CallArguments(index, call.arguments)

    def _say(self, kind: BlockKind, text: str, signature: Signature | None = None) -> Iterator[BlockEvent]:
        if not self._open or self._open[-1].kind != kind:
            yield from self._begin(AnswerBlock(kind, len(self.blocks), signature=signature))
        if text:
            yield from self._grow(self._open[-1], text)

    def _begin(self, block: AnswerBlock) -> Iterator[BlockEvent]:
        yield from self._close([one for one in self._open if one.kind != "call" or one.is_whole_json])
        self.blocks.append(block)
        self._open.append(block)
        yield BlockEvent("open", block)

    def _grow(self, block: AnswerBlock, text: str) -> Iterator[BlockEvent]:
        block.pieces.append(text)
        yield BlockEvent("add", block, text)

    def _close(self, blocks: list[AnswerBlock]) -> Iterator[BlockEvent]:
        for block in blocks:
            self._open.remove(block)
            yield BlockEvent("close", block)


def list_parts(receipt: Receipt) -> tuple[Part, ...]:
    """An answer as its parts. The text is the one that was accepted, whatever stood around it."""
    answer = receipt.answer or ""
    if not receipt.parts:
        thoughts = (Thought(receipt.thoughts),) if receipt.thoughts else ()
        return (*thoughts, *((Text(answer),) if answer else ()))
    if join_text(receipt.parts) == answer or not answer:
        return receipt.parts
    first = next((index for index, part in enumerate(receipt.parts) if isinstance(part, Text)), 0)
    others = tuple(part for part in receipt.parts[first:] if not isinstance(part, Text))
    return (*receipt.parts[:first], Text(answer), *others)


def list_pieces(parts: tuple[Part, ...]) -> Iterator[AnswerPiece]:
    calls = 0
    for part in parts:
        match part:
            case Text():
                yield TextPiece(part.text)
            case Thought():
                yield ThoughtPiece(part.text)
                if part.signature is not None:
                    yield ThoughtPiece("", part.signature)
            case ToolCall():
                yield CallBegun(calls, part.id, part.name, part.signature)
                yield CallArguments(calls, part.arguments)
                calls += 1
            case _:
                continue
