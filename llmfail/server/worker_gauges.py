"""How busy the workers of one gateway are: requests under way, and by how much their event loops are late.
The workers share one piece of memory, so each of them tells of all.
"""

from __future__ import annotations

import asyncio
import mmap
import struct

from llmfail.core.reports.metric import MetricFamily, Sample

_SLOT = struct.Struct("dd")
LAG_INTERVAL_SECONDS = 0.5


class SharedGauges:
    """Made before the workers are: each of them inherits it."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, max(workers, 1) * _SLOT.size)

    def write(self, worker: int, inflight: int, lag: float) -> None:
        _SLOT.pack_into(self._memory, worker * _SLOT.size, inflight, lag)

    def read(self) -> list[tuple[float, float]]:
        return [_SLOT.unpack_from(self._memory, worker * _SLOT.size) for worker in range(self.workers)]


class WorkerGauges:
    """Those of one worker."""

    def __init__(self, shared: SharedGauges, worker: int) -> None:
        self._shared = shared
        self._worker = worker
        self._lag = 0.0
        self.inflight = 0
        self._write()

    def count(self, change: int) -> None:
        """So many requests more, or less, are under way."""
        self.inflight += change
        self._write()

    async def measure_lag(self) -> None:
        """By how much the event loop comes late, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due_at = loop.time() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            self._lag = max(loop.time() - due_at, 0.0)
            self._write()

    def _write(self) -> None:
        self._shared.write(self._worker, self.inflight, self._lag)

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
