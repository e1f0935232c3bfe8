"""One SQLite file that the processes of one host share: opened when it is needed, waited for, repaired.

The callers know what is in it. Assumes that their work holds the write lock for a moment only.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from llmfail.store.sqlite.database import map_errors, quarantine, to_store_error
from llmfail.store.sqlite.lock_retry import (
    LONGEST_STEP_SECONDS,
    FileDamaged,
    FileLocked,
    LockPatience,
    repair_and_retry,
)
from llmfail.store.sqlite.state_directory import (
    FileIdentity,
    check_side_files,
    create_file,
    identify_file,
    lock_exclusively,
    network_file_system_of,
    prepare_directory,
)

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
_files: WeakSet[SharedFile] = WeakSet()
_paused: list[SharedFile] = []


class SharedFile:
    """One connection, made by ``connect`` for the first work. The threads of the process take turns: waiting
    for a lock of one's own process is fairer and cheaper than for one of SQLite's.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[Path], sqlite3.Connection],
        timeout: float,
        warn: Callable[[str], None],
    ) -> None:
        self.path = path
        self._connect = connect
        self._timeout = timeout
        self._warn = warn
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: FileIdentity | None = None
        self._data_version: int | None = None
        self._progressed_at = 0.0
        _files.add(self)

    def run(self, work: Work[T]) -> T:
        """Raises StoreError; a transaction that the work leaves open is rolled back."""
        with self._take_turn(self._timeout) as patience:
            try:
                return self._run_once(work)
            except (FileLocked, FileDamaged):
                return repair_and_retry(lambda: self._run_once(work), self._repair, patience)

    def run_if_free(self, work: Work[T]) -> T:
        """The same without waiting: FileLocked when the file is in use, or must be made or repaired."""
        with self._take_turn(0):
            with map_errors(self.path):
                is_open = self._connection is not None and identify_file(self.path) == self._identity
            if not is_open:
                raise FileLocked(f"{self.path} is not open yet; try again")
            return self._run_once(work)

    def run_if_exists(self, work: Work[T], default: T) -> T:
        """The same, but ``default`` when there is no file; none is made."""
        with map_errors(self.path):
            is_there = identify_file(self.path) is not None
        return self.run(work) if is_there else default

    def close(self) -> None:
        """Close the file. The next work opens it again."""
        with self._take_turn(self._timeout):
            self._disconnect()

    def pause(self) -> None:
        """Wait for the other threads to finish, close the file, and keep it closed until ``resume``."""
        self._lock.acquire()
        self._disconnect()

    def resume(self) -> None:
        self._lock.release()

    def _run_once(self, work: Work[T]) -> T:
        with map_errors(self.path):
            connection = self._ensure_connection()
        try:
            result = work(connection)
        except sqlite3.Error as error:
            self._look_for_commits(connection)
            raise to_store_error(self.path, error) from error
        else:
            self._progressed_at = time.monotonic()
            return result
        finally:
            if connection.in_transaction:
                self._roll_back(connection)

    def _look_for_commits(self, connection: sqlite3.Connection) -> None:
        """Whether other processes have written since the last look."""
        with suppress(sqlite3.Error):
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if self._data_version not in {None, version}:
                self._progressed_at = time.monotonic()
            self._data_version = version

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.rollback()
        except sqlite3.Error:
            self._disconnect()

    def _ensure_connection(self) -> sqlite3.Connection:
        """The connection to the file at this path now: since the last work another process may have renamed
        it, or a person deleted it.
        """
        identity = identify_file(self.path)
        if self._connection is None or identity is None or identity != self._identity:
            self._disconnect()
            prepare_directory(self.path.parent)
            check_side_files(self.path)
            self._identity = identity or self._create_file()
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect(self.path)
        except sqlite3.Error as error:
            if identify_file(self.path) != self._identity:
                raise FileLocked(f"{self.path} is being replaced by another process; try again") from error
            raise

    def _create_file(self) -> FileIdentity | None:
        with lock_exclusively(self.path):
            made = create_file(self.path)
        network = network_file_system_of(self.path.parent) if made else None
        if network:
            self._warn(
                f"{self.path.parent} is on a network file system ({network}), where the locks of several "
                "hosts may fail; name a local directory with --state-dir"
            )
        return identify_file(self.path)

    def _repair(self) -> None:
        self._disconnect()
        with map_errors(self.path):
            quarantine(self.path, self._identity, self._warn)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._data_version = None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _take_turn(self, timeout: float) -> Iterator[LockPatience]:
        patience = LockPatience(timeout, lambda: self._progressed_at)
        while not self._lock.acquire(timeout=max(min(timeout, LONGEST_STEP_SECONDS / 2), 0)):
            if patience.seconds_left() <= 0:
                raise FileLocked(
                    f"{self.path} is kept busy by another thread; try again, or raise store_timeout"
                )
        try:
            yield patience
        finally:
            self._lock.release()


def _pause_all() -> None:
    """Close all files for a fork. SQLite believes that a child owns the locks of its parent, but the system
    does not: with an inherited open file, a child would write into a file that the parent has removed.
    """
    for file in list(_files):
        file.pause()
        _paused.append(file)


def _resume_all() -> None:
    while _paused:
        _paused.pop().resume()


os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_resume_all)
