"""SQLite files, whatever lies in them: foreign errors become ours, and damaged files make room.

Assumes that nobody renames a file here except ``set_aside``, under its lock.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from llmfail.core.errors import StoreError
from llmfail.store.sqlite.lock_retry import Damaged, Locked
from llmfail.store.sqlite.state_directory import (
    Identity,
    create,
    exclusive,
    identify,
)

PRIMARY_CODE = 0xFF
"""The low byte of SQLite's extended result codes."""
REASONS = {
    sqlite3.SQLITE_FULL: "there is no space left",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}


class Layout(NamedTuple):
    """What is in a file. ``version`` is its ``user_version``; the ``statements`` make its tables, each
    harmless the second time, because any number of processes may do this at once; ``first`` comes before
    there is anything in it. ``pragmas`` are for every connection.
    """

    version: int
    statements: Sequence[str]
    pragmas: Sequence[str]
    first: str = ""


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise failure(path, error) from error


def failure(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """Our error for theirs, in one line that says what to do."""
    if isinstance(error, BlockingIOError):
        return _locked(path)
    if isinstance(error, OSError):
        return _unusable(path, error.strerror or type(error).__name__)
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return _locked(path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Damaged(f"{path} is damaged; remove it, or name another directory with --state-dir")
        case sqlite3.SQLITE_ERROR if str(error).startswith("no such"):
            return Damaged(f"{path} lacks a part; remove it, or name another directory with --state-dir")
        case _:
            return _unusable(path, REASONS.get(code, str(error)))


def connect(path: Path, timeout: float = 0) -> sqlite3.Connection:
    """Open a file that is there: only ``create``, under the lock, makes one. Who waits, and how, is the
    caller's business; so is that two threads do not use the connection at once.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def open_laid_out(path: Path, layout: Layout) -> sqlite3.Connection:
    """A connection to a file with its tables. A damaged text is for whoever reads the record in it."""
    connection = connect(path)
    try:
        _lay_out(connection, path, layout)
        for pragma in layout.pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    return connection


def _lay_out(connection: sqlite3.Connection, path: Path, layout: Layout) -> None:
    """Make the tables of a new file; one of a higher version was written by a newer llmfail and is left
    alone.
    """
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > layout.version:
        raise StoreError(
            f"{path} was written by a newer llmfail; upgrade, or name another directory with --state-dir"
        )
    if found == layout.version:
        return
    connection.execute(layout.first)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in (*layout.statements, f"PRAGMA user_version = {layout.version}"):
        connection.execute(statement)
    connection.execute("COMMIT")


def set_aside(path: Path, damaged: Identity | None, warn: Callable[[str], None]) -> None:
    """Rename the damaged file and put an empty one in its place, unless somebody was quicker.

    The main file goes first: SQLite does not remove the -wal of a file that has moved, so whoever still
    has the old one open cannot take the new one's away when it closes.
    """
    with exclusive(path):
        if identify(path) != damaged:
            return
        seconds, rest = divmod(time.time_ns(), 10**9)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        aside = f"{path}.corrupt-{stamp}.{rest // 1000:06}Z"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")  # noqa: PTH104 - names, not paths
        create(path)
    warn(f"{path} was damaged and is now {aside}; a new one was begun")


def _locked(path: Path) -> Locked:
    return Locked(f"{path} is locked by another process; try again, or raise store_timeout")


def _unusable(path: Path, reason: str) -> StoreError:
    return StoreError(f"cannot use {path}: {reason}; mend that, or name another directory with --state-dir")
