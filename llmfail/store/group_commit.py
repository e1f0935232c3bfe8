"""Many updates as one: what is asked of a store at the same moment costs one transaction.

Each stands for itself all the same: it sees its keys as those before it have left them, and one that raises
writes nothing and stops nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Values, Write, Writes
from llmfail.store.base import Change, Store


class StoreUpdate(Struct, frozen=True):
    """What somebody asks for."""

    keys: Sequence[str]
    change: Change[Any]


class FailedUpdate(Struct, frozen=True):
    """What an update raised instead of giving a result."""

    error: Exception


def update_together(store: Store, updates: Sequence[StoreUpdate], *, waits: bool = True) -> list[Any]:
    """The result of each, or how it failed, in their order. Raises StoreError, and has done nothing, where it
    ``waits`` for nobody and the store is not free, or more than one transaction is needed.
    """
    keys = list(dict.fromkeys(key for one in updates for key in one.keys))
    try:
        return store.update(keys, lambda values, now: _apply_updates(updates, values, now), waits=waits)
    except StoreError as error:
        if not waits:
            raise
        return [FailedUpdate(error)] * len(updates)
    except Exception as error:  # such as a text that cannot be encoded: one is to blame
        if len(updates) == 1:
            return [FailedUpdate(error)]
        if not waits:
            raise StoreError("one of several updates cannot be made; each needs a try of its own") from error
        return [update_together(store, [one])[0] for one in updates]


def _apply_updates(updates: Sequence[StoreUpdate], values: Values, now: float) -> tuple[Writes, list[Any]]:
    seen = dict(values)
    writes: dict[str, Write | None] = {}
    results: list[Any] = []
    for one in updates:
        try:
            made, result = one.change({key: seen[key] for key in one.keys}, now)
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            results.append(FailedUpdate(error))
            continue
        writes |= made
        seen |= {key: _text_after(write, now) for key, write in made.items()}
        results.append(result)
    return writes, results


def _text_after(write: Write | None, now: float) -> str | None:
    if write is None or (write.expires_at is not None and write.expires_at <= now):
        return None
    return write.text
