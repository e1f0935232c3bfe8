"""A streamed answer as it is written: committed at the first sign of life, kept alive while its target is
silent, and broken off so that nobody takes half of it for the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from llmfail.core.answer_piece import AnswerBegun, AnswerPiece, OriginalRequest, RelayedBytes, ServedAnswer
from llmfail.core.errors import ExitCode
from llmfail.core.receipt import Failure, Receipt
from llmfail.core.request.ask import Ask
from llmfail.providers.replies.reply_writer import ReplyWriter
from llmfail.server.answer_headers import EVENT_STREAM, describe_begun
from llmfail.server.served_request import ServedRequest


class StreamedReply:
    """One answer. The status is 200 from the first sign of life or the first keep-alive on."""

    def __init__(self, served: ServedRequest, writer: ReplyWriter) -> None:
        self._served = served
        self._exchange = served.exchange
        self._writer = writer
        self._silence_seconds = served.configuration.silence_seconds
        self._is_relayed = False
        self._lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._written_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def is_begun(self) -> bool:
        return self._exchange.is_begun

    async def run(self, ask: Ask, original: OriginalRequest | None) -> ServedAnswer:
        """The answer, all of which is written, or nothing of it (not ``is_begun``)."""
        self._timer = self._loop.call_later(self._silence_seconds, self._look)
        try:
            client = self._served.configuration.client
            found = await client.serve(ask, original=original, on_piece=self._write_piece)
        except asyncio.CancelledError:
            if not self.is_begun or not self._served.ending.is_set():
                raise
            found = ServedAnswer(_build_ended_receipt(ask), None)
        finally:
            self._timer.cancel()
            if self._keeping is not None:
                self._keeping.cancel()
        if self.is_begun:
            await self._end(found)
        return found

    async def _write_piece(self, piece: AnswerPiece) -> None:
        async with self._lock:
            match piece:
                case RelayedBytes():
                    data = piece.data
                case AnswerBegun():
                    data = await self._begin(piece)
                case _:
                    data = self._writer.write_piece(piece)
            if data:
                await self._exchange.write(data)
                self._written_at = self._loop.time()

    async def _begin(self, begun: AnswerBegun) -> bytes:
        line = self._served.line
        line.first_token_ms = round((self._loop.time() - self._served.started_at) * 1000)
        line.target = str(begun.target)
        self._is_relayed = begun.is_relayed
        if not self.is_begun:
            await self._send_head(describe_begun(self._served.id, begun))
        return self._writer.begin(begun)

    async def _send_head(self, own: Mapping[str, str]) -> None:
        await self._exchange.begin(200, {**self._served.reply_headers, **own, **EVENT_STREAM})

    async def _end(self, found: ServedAnswer) -> None:
        receipt = found.receipt
        self._served.line.add_receipt(receipt)
        if receipt.error is None:
            if not self._is_relayed:
                await self._exchange.write(self._writer.finish(receipt))
            return
        data, is_clean = self._writer.break_off(receipt)
        await self._exchange.write(data)
        if not is_clean:
            self._exchange.break_off()

    def _look(self) -> None:
        """Send a keep-alive when it is time, and look again when the next may be."""
        due_at = self._written_at + self._silence_seconds
        if self._loop.time() >= due_at:
            self._keeping = self._loop.create_task(self._keep_alive())
            due_at = self._loop.time() + self._silence_seconds
        self._timer = self._loop.call_at(due_at, self._look)

    async def _keep_alive(self) -> None:
        """Whether its program has left, others find out."""
        with suppress(ConnectionError):
            async with self._lock:
                if not self.is_begun:
                    await self._send_head({"x-llmfail-id": self._served.id})
                await self._exchange.write(self._writer.keep_alive)
                self._written_at = self._loop.time()


def _build_ended_receipt(ask: Ask) -> Receipt:
    """Of an answer that breaks off because the gateway ends."""
    failure = Failure(ExitCode.INCOMPLETE, "gateway_ended", "the gateway has ended before the answer had")
    return Receipt(ask.id or "", ask.feature, error=failure)
