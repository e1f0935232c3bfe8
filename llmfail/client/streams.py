"""Answers as they come: what a caller loops over, and how the engine's coroutine is driven for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Self

from llmfail.client.shared import raise_for_error
from llmfail.core.receipt import Receipt
from llmfail.engine.ports.protocols import OnText

MAX_PIECES_AHEAD = 64
"""Pieces that may wait for their listener: who listens slowly is not told more and more."""
Pieces = Generator[str, None, Receipt]
"""The pieces of an answer, and what became of it."""
RunAsk = Callable[[OnText], Coroutine[Any, Any, Receipt]]
"""An ask that shows its answer."""


class AnswerStream:
    """The pieces of one answer, in order; read it once. An answer that is not streamed is one piece.

    ``receipt`` is there when the loop is over. The loop raises the AskError that fits when there is no
    answer, and IncompleteAnswer when it breaks off: ``error.receipt.partial`` is what there was of it. Who
    leaves the loop early closes it, which ends the call.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.receipt: Receipt | None = None
        self._pieces = self._yield_pieces(pieces)

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """The end of the call, if it is still under way."""
        self._pieces.close()

    def _yield_pieces(self, pieces: Pieces) -> Generator[str]:
        try:
            self.receipt = yield from with_fallback_piece(pieces)
        finally:
            pieces.close()
        raise_for_error(self.receipt)


def iterate_pieces(run_ask: RunAsk) -> Pieces:
    """Drives the coroutine of a blocking engine, which suspends for what it shows and for nothing else."""
    coroutine = run_ask(_piece_of)
    try:
        while True:
            yield coroutine.send(None)
    except StopIteration as ended:
        receipt: Receipt = ended.value
        return receipt
    finally:
        coroutine.close()


def with_fallback_piece(pieces: Pieces) -> Pieces:
    """An answer that was not shown in pieces is shown as one."""
    shown = False
    try:
        while True:
            piece = next(pieces)
            shown = True
            yield piece
    except StopIteration as ended:
        receipt: Receipt = ended.value
    if receipt.answer and not shown:
        yield receipt.answer
    return receipt


class _Piece:
    """Awaited, it hands itself to whoever drives the coroutine."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __await__(self) -> Generator[str]:
        yield self._text


def _piece_of(text: str) -> Awaitable[None]:
    return _Piece(text)
