"""SQLite files, whatever they contain: errors of SQLite and the system become ours, and damaged files are
replaced.

Assumes that only ``quarantine``, under its lock, renames a file here.
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
from llmfail.store.sqlite.lock_retry import FileDamaged, FileLocked
from llmfail.store.sqlite.state_directory import (
    FileIdentity,
    create_file,
    identify_file,
    lock_exclusively,
)

PRIMARY_CODE_MASK = 0xFF
"""The low byte of SQLite's extended result codes."""
REASON_BY_CODE = {
    sqlite3.SQLITE_FULL: "there is no space left",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_PERM: "access is denied",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}


class DatabaseSchema(NamedTuple):
    """The tables of a file. ``version`` is its ``user_version``; the ``statements`` make its tables, each
    harmless the second time, because several processes may run them at once; ``first_statement`` runs while
    the file is empty. ``pragmas`` are for every connection. ``upgrade`` changes a file of an earlier version,
    once; without it such a file is used as it is.
    """

    version: int
    statements: Sequence[str]
    pragmas: Sequence[str]
    first_statement: str = ""
    upgrade: Callable[[sqlite3.Connection], None] | None = None


@contextmanager
def map_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise to_store_error(path, error) from error


def to_store_error(path: Path, error: sqlite3.Error | OSError) -> StoreError:
    """The StoreError for an error of SQLite or the system, in one line that says what to do."""
    if isinstance(error, BlockingIOError):
        return _locked_error(path)
    if isinstance(error, OSError):
        return _unusable_error(path, error.strerror or type(error).__name__)
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE_MASK
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return _locked_error(path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return FileDamaged(f"{path} is damaged; remove it, or name another directory with --state-dir")
        case sqlite3.SQLITE_ERROR if str(error).startswith("no such"):
            return FileDamaged(f"{path} lacks a table; remove it, or name another directory with --state-dir")
        case _:
            is_sealed = code == sqlite3.SQLITE_CANTOPEN and not os.access(path.parent, os.W_OK)
            reason = REASON_BY_CODE.get(code, str(error))
            return _unusable_error(path, "its directory cannot be written" if is_sealed else reason)


def connect(path: Path, timeout: float = 0) -> sqlite3.Connection:
    """Open an existing file: only ``create_file``, under the lock, makes one. The caller waits for locks, and
    lets one thread at a time use the connection.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def open_with_schema(path: Path, schema: DatabaseSchema) -> sqlite3.Connection:
    """A connection to a file with its tables. Text that is not UTF-8 is left to the reader of the record."""
    connection = connect(path)
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    try:
        _ensure_schema(connection, path, schema)
        for pragma in schema.pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _ensure_schema(connection: sqlite3.Connection, path: Path, schema: DatabaseSchema) -> None:
    """Make the tables of a new file, or upgrade an older one. A file of a newer llmfail is left as it is."""
    found = _read_version(connection)
    if found > schema.version:
        raise StoreError(
            f"{path} was written by a newer llmfail; upgrade, or name another directory with --state-dir"
        )
    if found == schema.version or (found and schema.upgrade is None):
        return
    if not found:
        connection.execute(schema.first_statement)
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have done it meanwhile.
    if schema.upgrade is not None and 0 < _read_version(connection) < schema.version:
        schema.upgrade(connection)
    for statement in (*schema.statements, f"PRAGMA user_version = {schema.version}"):
        connection.execute(statement)
    connection.execute("COMMIT")


def _read_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def quarantine(path: Path, damaged_identity: FileIdentity | None, warn: Callable[[str], None]) -> None:
    """Rename the damaged file and put an empty one in its place, unless another process already has.

    The main file is renamed first: SQLite does not remove the -wal of a file that was renamed, so a process
    that still has the old file open cannot remove the new one's -wal when it closes.
    """
    with lock_exclusively(path):
        if identify_file(path) != damaged_identity:
            return
        seconds, rest = divmod(time.time_ns(), 10**9)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        aside = f"{path}.corrupt-{stamp}.{rest // 1000:06}Z"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")  # noqa: PTH104 - names, not paths
        create_file(path)
    warn(f"{path} was damaged and is now {aside}; a new one was begun")


def _locked_error(path: Path) -> FileLocked:
    return FileLocked(f"{path} is locked by another process; try again, or raise store_timeout")


def _unusable_error(path: Path, reason: str) -> StoreError:
    """Below the null device is the place of a user without a home."""
    if Path(os.devnull) in path.parents:
        return StoreError(
            "this user has no home directory to keep state in; name a directory with --state-dir or "
            "LLMFAIL_STATE_DIR"
        )
    return StoreError(f"cannot use {path}: {reason}; fix that, or name another directory with --state-dir")
