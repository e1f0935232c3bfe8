"""A queued request as a server keeps it for many hosts, and who may do what with it: rules, each of which
gives the record as it is afterwards, or None where it allows nothing. Moments are those of the store's clock.

The queue of one host has the same rules in SQL.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin, load_ask
from llmfail.core.records.record import Record, is_newer, load


class QueuedRequest(Record, frozen=True, omit_defaults=True):
    """``ask`` is its text, which may be of a newer version. ``holder`` has it until ``lease_ends_at``."""

    id: str
    feature: str
    ask: str
    created_at: float
    expires_at: float
    attempts: int = 0
    retry_at: float | None = None
    rests_until: float | None = None
    holder: str | None = None
    lease_ends_at: float = 0.0
    error: str = ""
    receipt: str | None = None
    configuration: str | None = None
    addresses: tuple[str, ...] = ()

    @property
    def due_at(self) -> float:
        """From when on it may be asked if nothing changes until then."""
        return max(self.retry_at or 0.0, self.rests_until or 0.0, self.lease_ends_at)

    @property
    def ends_at(self) -> float:
        """From when on it may be removed: never while it is asked."""
        return max(self.expires_at, self.lease_ends_at)

    @property
    def item(self) -> QueueItem:
        origin = None
        if self.configuration is not None:
            origin = QueueOrigin(self.configuration, frozenset(self.addresses))
        return QueueItem(
            self.id,
            self.feature,
            self.created_at,
            self.expires_at,
            self.attempts,
            self.retry_at,
            self.rests_until,
            self.error,
            self.receipt,
            load_ask(self.ask),
            is_newer(self.ask),
            origin,
        )


def load_item(item_id: str, text: str) -> QueueItem:
    """Also of a text that is damaged or of a newer version."""
    request = load(text, QueuedRequest)
    return QueueItem(item_id, "", 0.0, 0.0, is_newer=is_newer(text)) if request is None else request.item


def take(
    request: QueuedRequest, holder: str, lease: float, now: float, is_gone: Callable[[str], bool]
) -> QueuedRequest | None:
    if request.expires_at <= now or (request.rests_until or 0.0) > now:
        return None
    if request.holder is not None and request.lease_ends_at > now and not is_gone(request.holder):
        return None
    return replace(request, holder=holder, lease_ends_at=now + lease)


def store_answer(
    request: QueuedRequest, holder: str, receipt: str, lease: float, max_age: float, now: float
) -> QueuedRequest | None:
    """An answer that was paid for is stored even after its lease expired, unless another process took it."""
    is_anothers = request.holder not in {None, holder} and request.lease_ends_at > now
    if request.receipt is not None or is_anothers:
        return None
    return replace(
        request,
        receipt=receipt,
        holder=holder,
        lease_ends_at=now + lease,
        expires_at=now + max_age,
        retry_at=None,
        rests_until=None,
    )


def renew(request: QueuedRequest, holder: str, lease: float, now: float) -> QueuedRequest | None:
    return replace(request, lease_ends_at=now + lease) if request.holder == holder else None


def release(request: QueuedRequest, holder: str) -> QueuedRequest | None:
    return replace(request, holder=None, lease_ends_at=0.0) if request.holder == holder else None


def give_back(
    request: QueuedRequest,
    holder: str,
    *,
    attempted: bool,
    rests_until: float | None,
    retry_at: float | None,
    error: str,
) -> QueuedRequest | None:
    released = release(request, holder)
    if released is None:
        return None
    attempts = request.attempts + attempted
    return replace(released, attempts=attempts, rests_until=rests_until, retry_at=retry_at, error=error)
