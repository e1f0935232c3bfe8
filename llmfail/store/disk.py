"""What all processes of one host share, in one SQLite file.

Not a cache and not a database for anything else: one table of keys and JSON text. The network, the clock of
another host and the meaning of a value have no place here. A transaction holds the write lock for some
ten microseconds; whoever comes in between tries again after a moment, until the timeout.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from llmfail.core.record import Values
from llmfail.store.base import Change, R
from llmfail.store.database import failure, mapped, set_aside
from llmfail.store.patience import Damaged, Locked, mending
from llmfail.store.place import Identity, create, exclusive, identify, network_of, prepare
from llmfail.store.table import Room, open_table, read, update

T = TypeVar("T")

FILE = "state.sqlite3"
_disks: WeakSet[Disk] = WeakSet()
_paused: list[Disk] = []


class Disk:
    """One connection, opened at the first verb, which the threads of the process take in turns: waiting
    for a lock of one's own process is fairer and cheaper than for one of SQLite's.
    """

    name = "disk"
    file = FILE

    def __init__(
        self,
        directory: Path,
        timeout: float,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = lambda _text: None,
        room: Room | None = None,
    ) -> None:
        self.path = directory / self.file
        self._timeout = timeout
        self._clock = clock
        self._warn = warn
        self._room = room
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        _disks.add(self)

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return self._run(lambda connection: read(connection, keys, self._clock))

    def update(self, keys: Sequence[str], change: Change[R]) -> R:
        return self._run(lambda connection: update(connection, keys, change, self._clock, self._room))

    def close(self) -> None:
        """Give the file back. A later verb opens it again."""
        with self._my_turn():
            self._leave()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        deadline = time.monotonic() + self._timeout
        with self._my_turn():
            try:
                return self._once(work)
            except (Locked, Damaged):
                return mending(lambda: self._once(work), self._mend, deadline)

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with mapped(self.path):
            connection = self._connected()
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise failure(self.path, error) from error
        finally:
            if connection.in_transaction:
                self._undo(connection)

    def _undo(self, connection: sqlite3.Connection) -> None:
        try:
            connection.rollback()
        except sqlite3.Error:
            self._leave()

    def _connected(self) -> sqlite3.Connection:
        """The connection to the file that lies there now: since the last verb it may have been set aside
        by another process, or deleted by a person.
        """
        identity = identify(self.path)
        if self._connection is None or identity is None or identity != self._identity:
            self._leave()
            prepare(self.path.parent)
            self._identity = identity or self._begin()
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        try:
            return open_table(self.path)
        except sqlite3.Error as error:
            if identify(self.path) != self._identity:
                raise Locked(f"{self.path} is being replaced by another process; try again") from error
            raise

    def _begin(self) -> Identity | None:
        with exclusive(self.path):
            made = create(self.path)
        network = network_of(self.path.parent) if made else None
        if network:
            self._warn(
                f"{self.path.parent} is on a network file system ({network}), where the locks of several "
                "hosts may fail; name a local directory with --state-dir"
            )
        return identify(self.path)

    def _mend(self) -> None:
        self._leave()
        with mapped(self.path):
            set_aside(self.path, self._identity, self._warn)

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._timeout):
            raise Locked(f"{self.path} is kept busy by another thread; try again, or raise store_timeout")
        try:
            yield
        finally:
            self._turn.release()

    def pause(self) -> None:
        """Wait for the other threads to finish, close the file, and let nobody open it before ``resume``."""
        self._turn.acquire()
        self._leave()

    def resume(self) -> None:
        self._turn.release()


def _pause_all() -> None:
    """SQLite believes that the locks of a process are the child's too, and the system does not: a child that
    inherited an open file would write into one that the parent has removed. So none is open in a fork.
    """
    for disk in list(_disks):
        disk.pause()
        _paused.append(disk)


def _resume_all() -> None:
    while _paused:
        _paused.pop().resume()


os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_resume_all)
