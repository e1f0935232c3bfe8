"""Many updates as one: what is asked of a store at the same moment costs one transaction.

Each update is independent all the same: it sees its keys as those before it have left them, and one that
raises writes nothing and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from llmfail.core.errors import StoreError
from llmfail.core.records.record import (
    SettlingChange,
    StoreChange,
    Values,
    Write,
    Writes,
    combine,
    merge_writes,
)
from llmfail.store.base import Change, Store


class StoreUpdate(Struct, frozen=True):
    """One update that waits to be made."""

    keys: Sequence[str]
    change: Change[Any]


class FailedUpdate(Struct, frozen=True):
    """The error that an update raised instead of giving a result."""

    error: Exception


def update_together(store: Store, updates: Sequence[StoreUpdate], *, waits: bool = True) -> list[Any]:
    """The result or the FailedUpdate of each, in their order. Without ``waits`` it raises StoreError, and has
    done nothing, when the store is locked or when more than one transaction is needed.
    """
    keys = list(dict.fromkeys(key for update in updates for key in update.keys))
    change = SettlingChange(partial(_apply_updates, updates), _settlement_of(updates))
    try:
        return store.update(keys, change, waits=waits)
    except StoreError as error:
        if not waits:
            raise
        return [FailedUpdate(error)] * len(updates)
    except Exception as error:  # one update is the cause, such as by a text that cannot be encoded
        if len(updates) == 1:
            return [FailedUpdate(error)]
        if not waits:
            raise StoreError("one of several updates cannot be made; each needs a try of its own") from error
        return [update_together(store, [update])[0] for update in updates]


def _settlement_of(updates: Sequence[StoreUpdate]) -> StoreChange:
    """What has to be written of them also when the store cannot be used now."""
    return combine(
        [update.change.settlement for update in updates if isinstance(update.change, SettlingChange)]
    )


def _apply_updates(updates: Sequence[StoreUpdate], values: Values, now: float) -> tuple[Writes, list[Any]]:
    seen = dict(values)
    writes: dict[str, Write | None] = {}
    results: list[Any] = []
    for update in updates:
        try:
            update_writes, result = update.change({key: seen[key] for key in update.keys}, now)
        except Exception as error:  # noqa: BLE001 - the caller raises it
            results.append(FailedUpdate(error))
            continue
        writes = merge_writes(writes, update_writes)
        seen |= {key: _text_after(write, now) for key, write in update_writes.items()}
        results.append(result)
    return writes, results


def _text_after(write: Write | None, now: float) -> str | None:
    if write is None or (write.expires_at is not None and write.expires_at <= now):
        return None
    return write.text
