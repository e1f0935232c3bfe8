"""A store that never costs an answer: while the real one cannot be used, memory takes its place.

Nothing here knows what a value means. What has to be written in any case says so itself: it is a
``SettlingChange``.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from llmfail.core.errors import StoreError
from llmfail.core.records.record import (
    SettlingChange,
    StoreChange,
    Values,
    Write,
    Writes,
    after_writes,
    combine,
    dump,
    hourly_expiry,
    make_idempotent,
    settle_in_any_case,
)
from llmfail.store.base import Change, R, Store
from llmfail.store.memory import MemoryStore

MAX_RECENT_RECORDS = 1000
"""At so many, the recent records become the earlier ones, and the earlier ones are forgotten."""
FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 10.0
SAME_CLOCK_SECONDS = 0.05
"""Two clocks that differ by less are the same."""
MAX_KEPT_SETTLEMENTS = 10_000
"""So many are kept for a store that is down; then the oldest are forgotten."""
SETTLEMENTS_PER_UPDATE = 32
"""Kept settlements that are written in one transaction, so that other processes wait some milliseconds."""


class FailoverStore:
    """A StoreError is reported once, and ``fallback`` is used until the store can be used again, which is
    tried after 0.25 s, then after twice as long each time, up to 10 s, and then reported too. No verb waits
    for the lock of a store that is down. ``is_down`` tells that it is; a budget that cannot be shared then
    refuses calls.

    ``fallback`` starts with what this process last read and wrote (if it ``remembers``), so that a full disk
    does not make a failing provider look healthy. What is settled meanwhile is kept, and written first when
    the store is back. ``clock`` gives monotonic seconds, ``machine_wall`` this machine's epoch seconds.
    """

    def __init__(  # noqa: PLR0913 - both clocks are for tests
        self,
        store: Store,
        fallback: MemoryStore,
        warn: Callable[[str], None],
        description: str = "circuits and limits",
        *,
        remembers: bool = True,
        clock: Callable[[], float] = time.monotonic,
        machine_wall: Callable[[], float] = time.time,
    ) -> None:
        self.is_down = False
        self._machine_wall = machine_wall
        self._clock_offset = 0.0
        self._description = description
        self._remembers = remembers
        self._store = store
        self._fallback = fallback
        self._warn = warn
        self._clock = clock
        self._recent: dict[str, str | None] = {}
        self._earlier: dict[str, str | None] = {}
        self._kept: deque[StoreChange] = deque()
        self._forgotten = 0
        self._retry_at = 0.0
        self._retry_delay = FIRST_RETRY_SECONDS
        self._lock = threading.Lock()
        self._return_lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._fallback.name if self.is_down else self._store.name

    @property
    def is_local(self) -> bool:
        return self.is_down or self._store.is_local

    def wall(self) -> float:
        """Epoch seconds by the store's clock, as it was when the store was last used: what is stored, or
        compared with what is stored, is named by it on every machine.
        """
        return self._machine_wall() + self._clock_offset

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        if self._is_retry_due():
            self._return_to_store()
        if not self.is_down:
            try:
                values, now = self._store.read(keys)
            except StoreError as error:
                self._fail_over(error)
            else:
                self._remember(values)
                self._learn_clock(now)
                return values, now
        return self._fallback.read(keys)

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:
        if self._is_retry_due():
            if not waits:
                raise StoreError(f"the {self._store.name} store is about to be tried again")
            self._return_to_store()
        while True:
            if not self.is_down:
                try:
                    return self._update_store(keys, change, waits=waits)
                except StoreError as error:
                    if not waits:
                        raise
                    self._fail_over(error)
            with self._lock:
                if self.is_down:  # else another thread has just brought the store back
                    return self._update_fallback(keys, change)

    @property
    def has_kept(self) -> bool:
        """Whether anything waits for a store that is down."""
        return self.is_down and bool(self._kept)

    def write_kept(self) -> None:
        """Write what was kept for a store that is down if it can be used now, whenever it was tried last."""
        if self.is_down:
            self._return_to_store()

    def tell_loss(self) -> None:
        """How much is lost with a process that ends now."""
        lost = len(self._kept) + self._forgotten
        if self.is_down and lost:
            writes = "1 write is" if lost == 1 else f"{lost} writes are"
            self._warn(
                f"the {self._store.name} store could not be used again: {writes} lost, with what was settled "
                "and counted meanwhile"
            )

    def close(self) -> None:
        """Close the store. What was kept for it is written if that can be done at once."""
        self.write_kept()
        try:
            self._store.close()
        except StoreError as error:
            self._fail_over(error)

    def _update_store(self, keys: Sequence[str], change: Change[R], *, waits: bool) -> R:
        written: list[Writes] = []

        def remember_and_change(values: Values, now: float) -> tuple[Writes, R]:
            self._remember(values)
            self._learn_clock(now)
            writes, result = change(values, now)
            written[:] = [writes]
            return writes, result

        result = self._store.update(keys, remember_and_change, waits=waits)
        for writes in written:
            self._remember(after_writes(writes))
        return result

    def _update_fallback(self, keys: Sequence[str], change: Change[R]) -> R:
        result = self._fallback.update(keys, change)
        if isinstance(change, SettlingChange) and change.settlement.keys:
            if len(self._kept) >= MAX_KEPT_SETTLEMENTS:
                self._kept.popleft()
                self._forgotten += 1
            self._kept.append(make_idempotent(f"late/{os.urandom(8).hex()}", change.settlement))
        return result

    def _learn_clock(self, now: float) -> None:
        offset = now - self._machine_wall()
        self._clock_offset = offset if abs(offset) > SAME_CLOCK_SECONDS else 0.0

    def _remember(self, values: Values) -> None:
        """Only recent records: a long-lived process must not remember all of them."""
        if not self._remembers:
            return
        self._recent.update(values)
        if len(self._recent) > MAX_RECENT_RECORDS:
            self._earlier, self._recent = self._recent, {}

    def _fail_over(self, error: StoreError) -> None:
        with self._lock:
            if self.is_down:
                return
            known = {
                key: Write(text)
                for key, text in {**self._earlier, **self._recent}.items()
                if text is not None
            }
            self._fallback.clear()
            self._fallback.update((), lambda _values, _now: (known, None))
            now = self._clock()
            if now - self._retry_at > LONGEST_RETRY_SECONDS:  # it has worked for a while since the last time
                self._retry_delay = FIRST_RETRY_SECONDS
            self._retry_at = now + self._retry_delay
            self.is_down = True
        self._warn(f"{error}; meanwhile {self._description} are kept in memory only")

    def _is_retry_due(self) -> bool:
        return self.is_down and self._clock() >= self._retry_at

    def _return_to_store(self) -> None:
        """Use the store again if it can be used, once all that was kept for it is written. One thread tries
        it; the others go on meanwhile.
        """
        if not self._return_lock.acquire(blocking=False):
            return
        try:
            with self._lock:
                if not self.is_down:
                    return
                self._retry_delay = min(2 * self._retry_delay, LONGEST_RETRY_SECONDS)
                self._retry_at = self._clock() + self._retry_delay
            self._store.read(())  # which opens it
            self._write_where_possible([_write_mark()])
            self._write_kept()
        except StoreError:
            return
        finally:
            self._return_lock.release()
        if self._remembers:
            lost = f"; {self._forgotten} settlements were too many to keep" if self._forgotten else ""
            self._forgotten = 0
            self._warn(f"the {self._store.name} store can be used again{lost}")

    def _write_kept(self) -> None:
        """Raises StoreError, and keeps what is not written. After the last of it the store is in use."""
        while True:
            with self._lock:
                steps = [self._kept.popleft() for _ in range(min(len(self._kept), SETTLEMENTS_PER_UPDATE))]
                if not steps:
                    self.is_down = False
                    return
            try:
                self._write_where_possible(steps)
            except BaseException:
                with self._lock:
                    self._kept.extendleft(reversed(steps))
                raise

    def _write_where_possible(self, steps: Sequence[StoreChange]) -> None:
        """All of them at once; if one of them cannot be made on these values, all others."""
        step = combine(steps)
        try:
            self._update_store(step.keys, settle_in_any_case(step), waits=False)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - one change is the cause, such as by a text that cannot be encoded
            for one in steps if len(steps) > 1 else ():
                self._write_where_possible([one])


def _write_mark() -> StoreChange:
    """Something that is written only to see whether that can be done."""
    return StoreChange((), lambda _values, now: {"done/late": Write(dump({}), hourly_expiry(now))})
