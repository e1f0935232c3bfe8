"""How busy the workers of one gateway are: requests under way, and by how much their event loops are late.
The workers share one piece of memory, so each of them tells of all.
"""

from __future__ import annotations

import asyncio
import mmap

from llmfail.core.reports.metric import MetricFamily, Sample

_NUMBER_BYTES = 8
LAG_INTERVAL_SECONDS = 0.5


class SharedGauges:
    """Made before the workers are: each of them inherits it."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._cells = memoryview(mmap.mmap(-1, max(workers, 1) * 2 * _NUMBER_BYTES)).cast("d")

    def cells_of(self, worker: int) -> memoryview[float]:
        """Where one worker writes its two numbers: what is under way, and its lag."""
        return self._cells[2 * worker : 2 * worker + 2]

    def read(self) -> list[tuple[float, float]]:
        numbers = self._cells.tolist()
        return [(numbers[2 * worker], numbers[2 * worker + 1]) for worker in range(self.workers)]


class WorkerGauges:
    """Those of one worker."""

    def __init__(self, shared: SharedGauges, worker: int) -> None:
        self._shared = shared
        self._cells = shared.cells_of(worker)
        self._cells[0] = self._cells[1] = 0.0
        self.inflight = 0

    def count(self, change: int) -> None:
        """So many requests more, or less, are under way."""
        self.inflight += change
        self._cells[0] = self.inflight

    async def measure_lag(self) -> None:
        """By how much the event loop comes late, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            self._cells[1] = max(loop.time() - due_at, 0.0)

    def build_families(self) -> tuple[MetricFamily, ...]:
        """Of all workers."""
        rows = self._shared.read()
        inflight = tuple(Sample((str(index),), row[0]) for index, row in enumerate(rows))
        lags = tuple(Sample((str(index),), row[1]) for index, row in enumerate(rows))
        labels = ("worker",)
        return (
            MetricFamily("llmfail_inflight", "gauge", "Requests that are under way.", labels, inflight),
            MetricFamily(
                "llmfail_loop_lag_seconds", "gauge", "How late the event loop came last.", labels, lags
            ),
        )
