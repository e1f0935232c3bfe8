"""Stored answers, in diskcache: text by text key, with an end and a common size limit.

Apart from the state, so that answers never push out a circuit or a budget. Importing this module imports
diskcache; who does not need an answer does not import it.

diskcache unpickles what it finds (CVE-2025-69872) and opens and removes the files that its rows name.
``TextDisk`` leaves it nothing but text inside the database: no pickle, no other file. From 100 kB on that is
also much faster to write than a file for each answer, and below it makes little difference. The oldest
answers go first: with least-recently-used every hit would be a write.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import DBNAME, DEFAULT_SETTINGS, METADATA, MODE_RAW, UNKNOWN

from llmfail.store.database import connect, mapped, set_aside
from llmfail.store.patience import Damaged, Locked, mending
from llmfail.store.place import Identity, create, exclusive, identify, prepare

T = TypeVar("T")

KNOWN_SETTINGS = {*DEFAULT_SETTINGS, *METADATA}


class ForeignRow(Exception):  # noqa: N818 - named for what it says
    """A row that we did not write."""


class TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache is not annotated
    """Text in, text out, all of it inside the database. The signatures are diskcache's."""

    def put(self, key: Any) -> tuple[str, bool]:  # noqa: ANN401
        return _text(key), True

    def get(self, key: Any, raw: Any) -> str:  # noqa: ANN401
        if not raw:
            raise ForeignRow
        return _text(key)

    def store(self, value: Any, read: Any, key: Any = UNKNOWN) -> tuple[int, int, None, str]:  # noqa: ANN401, ARG002
        if read:
            raise ForeignRow
        return 0, MODE_RAW, None, _text(value)

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> str:  # noqa: ANN401
        if mode != MODE_RAW or filename is not None or read:
            raise ForeignRow
        return _text(value)

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:  # noqa: ANN401, ARG002
        raise ForeignRow

    def remove(self, file_path: Any) -> None:  # noqa: ANN401
        """No row of ours has a file, so what a row names is not ours to remove."""


class Responses:
    """``size_limit`` is in bytes. Every verb raises StoreError when it cannot do its work within
    ``timeout`` seconds; a row that is not ours is no answer. Not to be used on both sides of a fork.
    """

    def __init__(
        self,
        directory: Path,
        size_limit: int,
        timeout: float = 2.0,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.path = directory / DBNAME
        self._size_limit = size_limit
        self._timeout = timeout
        self._warn = warn
        self._opening = threading.Lock()
        self._cache: diskcache.Cache | None = None
        self._identity: Identity | None = None

    def get(self, key: str) -> str | None:
        try:
            text: str | None = self._run(lambda cache: cache.get(key))
        except ForeignRow:
            return None
        return text

    def set(self, key: str, text: str, ttl: float) -> None:
        """Keep the text for ``ttl`` seconds. A new text for a key takes the place of the old one."""
        self._run(lambda cache: cache.set(key, text, expire=ttl))

    def delete(self, key: str) -> None:
        self._run(lambda cache: cache.delete(key))

    def clear(self) -> None:
        self._run(lambda cache: cache.clear())

    def stats(self) -> tuple[int, int]:
        """How many answers there are, expired ones included, and how many bytes they take on the disk."""
        return self._run(lambda cache: (len(cache), int(cache.volume())))

    def close(self) -> None:
        """Give the file back. A later verb opens it again."""
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()

    def _run(self, work: Callable[[diskcache.Cache], T]) -> T:
        deadline = time.monotonic() + self._timeout
        return mending(lambda: self._once(work), self._mend, deadline)

    def _once(self, work: Callable[[diskcache.Cache], T]) -> T:
        with self._opening, _mapped(self.path):
            cache = self._open() if self._cache is None else self._cache
        with _mapped(self.path):
            return work(cache)

    def _open(self) -> diskcache.Cache:
        """Diskcache writes forty settings when it opens, and would wait a minute for a lock: so one
        process after the other, and only when the file is free. Without memory-mapped reads, so that a file
        that somebody cuts short is an error and not the end of the process.
        """
        prepare(self.path.parent)
        with exclusive(self.path):
            create(self.path)
            self._identity = identify(self.path)
            with closing(connect(self.path, self._timeout)) as connection:
                _inspect(connection, self.path)
            settings = {**DEFAULT_SETTINGS, "size_limit": self._size_limit, "sqlite_mmap_size": 0}
            self._cache = diskcache.Cache(
                str(self.path.parent), timeout=self._timeout, disk=TextDisk, **settings
            )
        return self._cache

    def _mend(self) -> None:
        self.close()
        with _mapped(self.path):
            set_aside(self.path, self._identity, self._warn)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    with mapped(path):
        try:
            yield
        except diskcache.Timeout as error:
            raise Locked(f"{path} is locked by another process; try again, or raise store_timeout") from error
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise Damaged(f"{path} holds what diskcache cannot work with; remove it") from error


def _inspect(connection: sqlite3.Connection, path: Path) -> None:
    """Free, whole, and without settings of others, which diskcache would make attributes of itself."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings'").fetchone():
        found = {key for (key,) in connection.execute("SELECT key FROM Settings")}
        if not found <= KNOWN_SETTINGS:
            raise Damaged(f"{path} has settings that are not ours; remove it")
    connection.rollback()


def _text(value: object) -> str:
    if type(value) is not str:
        raise ForeignRow
    return value
