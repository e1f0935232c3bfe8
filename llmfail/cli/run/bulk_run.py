"""A batch in an event loop of its own, which signals stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.jsonl_files import OutputStream, ReceiptFile
from llmfail.cli.io.output import say
from llmfail.cli.run.open_client import open_async_client
from llmfail.cli.signals import SETTLE_TIMEOUT, stop_signals
from llmfail.client.aio_receipts import AsyncReceiptClient
from llmfail.core.errors import ExitCode
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.engine.bulk.batch import Batch
from llmfail.engine.ports.stop_signals import STOP_SIGNALS


class BulkRun:
    """One run. The first signal finishes what is under way, the second does not. When nobody takes receipts
    any more, what is under way has a short time to end.
    """

    def __init__(self, options: GlobalOptions, output: OutputStream | ReceiptFile) -> None:
        self._options = options
        self._output = output
        self._broken_pipe: BrokenPipeError | None = None
        self.stopped_by: int | None = None
        self.is_whole = False

    def run(self, begin: Callable[[AsyncReceiptClient], Batch], asks: AsyncIterator[Ask | Receipt]) -> None:
        """Ask everything, of a client that is open as long as that takes. Raises BrokenPipeError."""
        with _restore_signal_handlers():
            try:
                with asyncio.Runner() as runner:
                    runner.get_loop()  # which is made before there is anything to run in it
                    self.is_whole = runner.run(self._ask_all(begin, asks))
            except asyncio.CancelledError:
                self.is_whole = False
        if self._broken_pipe is not None:
            raise self._broken_pipe

    async def write(self, lines: Iterable[str]) -> None:
        """Write lines, each with its end. A file that takes no more of them ends the run."""
        text = "".join(line + "\n" for line in lines)
        try:
            await self._output.write(text.encode("utf-8", "replace"))
        except BrokenPipeError as error:
            if self._broken_pipe is None:
                self._broken_pipe = error
                self._batch.stop()
                self._task.get_loop().call_later(SETTLE_TIMEOUT, self._task.cancel)
        if self._output.write_error is not None:
            self._batch.stop()

    def end(self, *, has_failures: bool) -> int:
        """The exit code. Raises UsageError where the output took not everything."""
        if self._output.write_error is not None:
            raise self._output.write_error
        if not self.is_whole:
            return 128 + (self.stopped_by or signal.SIGINT)
        return ExitCode.UNAVAILABLE if has_failures else ExitCode.ANSWERED

    async def _ask_all(
        self, begin: Callable[[AsyncReceiptClient], Batch], asks: AsyncIterator[Ask | Receipt]
    ) -> bool:
        task = asyncio.current_task()
        assert task is not None, "asyncio.run makes one"
        self._task = task
        async with open_async_client(self._options) as client:
            self._batch = begin(client)
            self._stop_on_signals()
            return await self._batch.run(asks)

    def _stop_on_signals(self) -> None:
        for number in stop_signals():
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number)

    def _stop(self, number: int) -> None:
        if self.stopped_by is not None:
            self._task.cancel()
            return
        self.stopped_by = number
        self._batch.stop()
        if self._batch.under_way:
            say(f"finishing {self._batch.under_way} under way; once more stops at once")


@contextmanager
def _restore_signal_handlers() -> Iterator[None]:
    """The event loop leaves the default behind, which a signal at the very end must not meet."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
