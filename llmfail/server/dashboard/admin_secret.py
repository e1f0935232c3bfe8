"""The secret that signs the cookies of the dashboard, and which one-time links were used: in the state, so
that all workers agree and a restart signs nobody out.
"""

from __future__ import annotations

import secrets
from functools import partial

from llmfail.core.records.record import Record, Values, Write, Writes, dump, load, load_or_default
from llmfail.engine.ports.protocols import AsyncStore
from llmfail.server.dashboard.admin_access import LINK_SECONDS

SECRET_KEY = "dashboard/secret"  # noqa: S105 - the name of a record


class AdminSecret(Record, frozen=True):
    """``text`` is hexadecimal."""

    text: str = ""


class UsedLink(Record, frozen=True):
    """A one-time link that somebody has opened."""

    is_used: bool = False


async def load_secret(store: AsyncStore) -> bytes:
    """The first process makes it."""
    made = secrets.token_hex(32)
    return bytes.fromhex(await store.update([SECRET_KEY], partial(_keep_first, made)))


async def claim_link(store: AsyncStore, code: str) -> bool:
    """Whether it is used for the first time, in whatever process."""
    key = f"dashboard/link/{code}"
    return await store.update([key], partial(_use_link, key))


def _keep_first(made: str, values: Values, _now: float) -> tuple[Writes, str]:
    kept = load(values[SECRET_KEY], AdminSecret)
    if kept is not None and len(kept.text) == len(made):
        return {}, kept.text
    return {SECRET_KEY: Write(dump(AdminSecret(text=made)))}, made


def _use_link(key: str, values: Values, now: float) -> tuple[Writes, bool]:
    if load_or_default(values[key], UsedLink).is_used:
        return {}, False
    return {key: Write(dump(UsedLink(is_used=True)), now + LINK_SECONDS)}, True
