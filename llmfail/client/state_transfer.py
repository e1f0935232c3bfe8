"""The state of one store in another, or in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from llmfail.client.shared_store import check_stores
from llmfail.core.errors import LlmfailError, StoreError, UsageError
from llmfail.core.records.record import Write, dump
from llmfail.core.reports.store_server import StoreCheck
from llmfail.core.store_url import LOCAL_STORES
from llmfail.settings.schema.settings import Settings
from llmfail.settings.state_path import find_state_directory
from llmfail.store import open_store
from llmfail.store.base import Store
from llmfail.store.state_records import StateRecord, read_records, write_records

CHECK_LIFETIME_SECONDS = 60.0


def check_state(settings: Settings, state_dir: Path | None) -> list[StoreCheck]:
    """Whether the stores of the configuration can be read and written."""
    checks = check_stores(settings)
    return checks if settings.store not in LOCAL_STORES else [_check_local(settings, state_dir), *checks]


def _check_local(settings: Settings, state_dir: Path | None) -> StoreCheck:
    try:
        with closing(_open(settings, state_dir, settings.store)) as store:
            mark = dump({})
            store.update(
                (), lambda _values, now: ({"done/check": Write(mark, now + CHECK_LIFETIME_SECONDS)}, None)
            )
    except LlmfailError as error:
        return StoreCheck(problems=(str(error),))
    return StoreCheck()


def migrate_state(
    settings: Settings, state_dir: Path | None, source: str, destination: str, *, force: bool
) -> int:
    """How many records were copied. Raises UsageError."""
    if source == destination:
        raise UsageError("the two stores are the same")
    with closing(_open(settings, state_dir, source)) as old:
        return _fill(settings, state_dir, destination, read_records(old), force=force)


def export_state(settings: Settings, state_dir: Path | None) -> Iterator[StateRecord]:
    """All records of the store of the configuration. Raises UsageError."""
    with closing(_open(settings, state_dir, settings.store)) as store:
        try:
            yield from read_records(store)
        except StoreError as error:
            raise UsageError(str(error)) from error


def import_state(settings: Settings, state_dir: Path | None, lines: Iterable[bytes], *, force: bool) -> int:
    """How many records were read. Raises UsageError and msgspec.MsgspecError."""
    records = [msgspec.json.decode(line, type=StateRecord, strict=True) for line in lines if line.strip()]
    return _fill(settings, state_dir, settings.store, records, force=force)


def _fill(
    settings: Settings, state_dir: Path | None, url: str, records: Iterable[StateRecord], *, force: bool
) -> int:
    """A store that has records already is only written over where that is wanted."""
    try:
        with closing(_open(settings, state_dir, url)) as store:
            if not force and next(iter(read_records(store)), None) is not None:
                raise UsageError("that store has records already; --force writes over them")
            return write_records(store, records)
    except StoreError as error:
        raise UsageError(str(error)) from error


def _open(settings: Settings, state_dir: Path | None, url: str) -> Store:
    if url == "memory":
        raise UsageError("memory has no state to move: it ends with its process")
    directory = find_state_directory(state_dir, os.environ)
    return open_store(url, directory, settings.store_timeout)
