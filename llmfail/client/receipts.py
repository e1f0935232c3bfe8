"""The client of the command line, which has Asks and wants their receipts, with or without an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.client.blocking import Client, run_to_end
from llmfail.client.streams import AnswerStream
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.engine.ports.execution import run_sync

if TYPE_CHECKING:
    from llmfail.engine.bulk.queue_runner import Output, PassResult


class ReceiptClient(Client):
    """What it returns for an Ask is its receipt; only UsageError is raised."""

    def ask_receipt(self, ask: Ask) -> Receipt:
        return run_to_end(self._pieces(ask, shown=False))

    def stream_ask(self, ask: Ask) -> AnswerStream:
        """Nothing happens before the first piece is wanted."""
        return AnswerStream(self._pieces(replace(ask, stream=True), shown=True))

    def embed_ask(self, ask: Ask) -> Receipt:
        """With one vector per message."""
        return run_sync(self._engine.embed(ask))

    def queue_runner(
        self, output: Output, report: Callable[[str], None], *, everything: bool = False
    ) -> Callable[[], PassResult]:
        """Asks again whatever is due in the queue, each time it is called: what was asked under this
        configuration, or ``everything``. Raises UsageError for a configuration that nobody has trusted.
        """
        from llmfail.engine.bulk.queue_runner import QueueRunner

        runner = QueueRunner(self._engine, self.queue, output, report, everything=everything)
        return lambda: run_sync(runner.run_pass())
