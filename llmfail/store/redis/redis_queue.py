"""The queue that many hosts share: one record for each request, under compare-and-set, by the server's clock.

What is put or stored is kept as the server keeps things: ``appendfsync always`` writes it to the disk first.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import Struct

from llmfail.core.degrade import queue_record as rules
from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin
from llmfail.core.degrade.queue_record import QueuedRequest, load_item
from llmfail.core.errors import StoreError
from llmfail.core.records.record import dump, load
from llmfail.core.store_url import RedisUrl
from llmfail.store.redis.queue_scripts import FIND_FOLLOWING, READ_ITEM, SURVEY, WRITE_ITEM
from llmfail.store.redis.redis_client import RedisClient
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.resp import Reply
from llmfail.store.redis.script import Script
from llmfail.store.redis.text_version import add_version, text_of, version_of
from llmfail.store.request_queue import describe_expired, report_full

MADE, FULL = 1, 2
ITEM, IDS, DUE, ENDS = "item/", "!ids", "!due", "!ends"
CHECKED = "!check"
"""The id of no request."""

Rule = Callable[[QueuedRequest, float], QueuedRequest | None]
"""What becomes of a request at this moment; None: nothing."""


class _FoundItem(Struct, frozen=True):
    """An item as the server has it, empty where it has none, at this moment of its clock."""

    data: bytes
    micros: int

    @property
    def request(self) -> QueuedRequest | None:
        return load(text_of(self.data), QueuedRequest)

    @property
    def now(self) -> float:
        return self.micros / 1e6


class _Survey(Struct, frozen=True):
    """What is known of all items."""

    pending: int
    next_time: float | None
    expired: list[str]


class RedisQueue(RedisClient):
    """``max_age`` is in seconds. ``release`` gives back what was taken by this object."""

    setting = "queue.store"

    def __init__(
        self,
        url: RedisUrl,
        max_items: int,
        max_age: float,
        timeout: float,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._prefix = f"{{llmfail:{url.namespace}:queue}}:"
        self._max_items = max_items
        self._max_age = max_age
        self._warn = warn
        self._taken: defaultdict[str, set[str]] = defaultdict(set)
        super().__init__(url, timeout)

    def start(self) -> None:
        super().start()
        self._mark = f"!mark/{os.urandom(8).hex()}"

    def put(
        self, item_id: str, feature: str, ask: str, retry_at: float | None, origin: QueueOrigin | None = None
    ) -> None:
        if gone := self.remove_expired():
            self._warn(describe_expired(len(gone)))
        with self._turn() as deadline:
            while not (found := self._read(item_id, deadline)).data:
                request = QueuedRequest(
                    item_id,
                    feature,
                    ask,
                    found.now,
                    found.now + self._max_age,
                    retry_at=retry_at,
                    configuration=origin.configuration if origin else None,
                    addresses=tuple(sorted(origin.addresses)) if origin else (),
                )
                if self._write(item_id, found, request, deadline):
                    return

    def items(self) -> Iterator[QueueItem]:
        after = "-"
        while found := self._run_alone(FIND_FOLLOWING, (ITEM, IDS, DUE, ENDS), after):
            match found:
                case [bytes() as name, bytes() as data]:
                    after = f"({name.decode()}"
                    yield load_item(name.decode(), text_of(data))
                case _:
                    raise self._report_odd_reply()

    def take(
        self, item_id: str, holder: str, lease: float, is_gone: Callable[[str], bool] = lambda _holder: False
    ) -> QueueItem | None:
        taken = self._apply(item_id, lambda request, now: rules.take(request, holder, lease, now, is_gone))
        if taken is None:
            return None
        self._taken[holder].add(item_id)
        return taken.item

    def store_answer(self, item_id: str, holder: str, receipt: str, lease: float) -> bool:
        def rule(request: QueuedRequest, now: float) -> QueuedRequest | None:
            return rules.store_answer(request, holder, receipt, lease, self._max_age, now)

        return self._apply(item_id, rule) is not None

    def renew(self, item_id: str, holder: str, lease: float) -> bool:
        renewed = self._apply(item_id, lambda request, now: rules.renew(request, holder, lease, now))
        return renewed is not None

    def remove(self, item_id: str, holder: str) -> bool:
        def is_mine(found: _FoundItem) -> bool:
            return (request := found.request) is not None and request.holder == holder

        return self._remove(item_id, is_mine)

    def give_back(
        self,
        item_id: str,
        holder: str,
        *,
        attempted: bool,
        rests_until: float | None,
        retry_at: float | None,
        error: str,
    ) -> bool:
        rule = partial(
            rules.give_back,
            holder=holder,
            attempted=attempted,
            rests_until=rests_until,
            retry_at=retry_at,
            error=error,
        )
        return self._apply(item_id, lambda request, _now: rule(request)) is not None

    def release(self, holder: str) -> None:
        for item_id in self._taken.pop(holder, ()):
            self._apply(item_id, lambda request, _now: rules.release(request, holder))

    def remove_expired(self) -> list[str]:
        return [one for one in self._survey().expired if self._remove(one, _is_expired)]

    def drop(self, ids: Sequence[str]) -> list[str]:
        return [one for one in ids if self._remove(one, lambda found: bool(found.data))]

    def drop_all(self) -> int:
        return len(self.drop([item.id for item in self.items()]))

    def count_pending(self) -> int:
        return self._survey().pending

    def find_next_time(self) -> float | None:
        return self._survey().next_time

    def read_clock(self) -> float:
        """The server's, in epoch seconds."""
        with self._turn() as deadline:
            return self._read(CHECKED, deadline).now

    def check_writing(self) -> None:
        """Do all that the server must allow, and leave nothing. Raises StoreError and UsageError."""
        self._survey()
        self._run_alone(FIND_FOLLOWING, (ITEM, IDS, DUE, ENDS), "-")
        with self._turn() as deadline:
            self._write(CHECKED, self._read(CHECKED, deadline), None, deadline)

    def _apply(self, item_id: str, rule: Rule) -> QueuedRequest | None:
        """What the rule has made of it; None where it allows nothing, or there is no such request."""
        with self._turn() as deadline:
            while True:
                found = self._read(item_id, deadline)
                request = found.request
                changed = None if request is None else rule(request, found.now)
                if changed is None or self._write(item_id, found, changed, deadline):
                    return changed

    def _remove(self, item_id: str, may_go: Callable[[_FoundItem], bool]) -> bool:
        with self._turn() as deadline:
            while may_go(found := self._read(item_id, deadline)):
                if self._write(item_id, found, None, deadline):
                    for taken in self._taken.values():
                        taken.discard(item_id)
                    return True
        return False

    def _read(self, item_id: str, deadline: TripDeadline) -> _FoundItem:
        match self._run(READ_ITEM, (ITEM + item_id,), (), deadline):
            case [bytes() as micros, bytes() as data]:
                return _FoundItem(data, int(micros))
            case _:
                raise self._report_odd_reply()

    def _write(
        self, item_id: str, found: _FoundItem, request: QueuedRequest | None, deadline: TripDeadline
    ) -> bool:
        """Whether it was still as it was found. Raises StoreError also where a new one finds no room."""
        lasts = int(deadline.require(self.url) * 1_000_000)
        text = "" if request is None else add_version(dump(request))
        moments = ("", "") if request is None else (repr(request.due_at), repr(request.ends_at))
        limit = "" if found.data else str(self._max_items)
        head = (os.urandom(8).hex(), str(found.micros), str(lasts), version_of(found.data), item_id)
        keys = (self._mark, ITEM + item_id, IDS, DUE, ENDS)
        reply = self._run(WRITE_ITEM, keys, (*head, text, *moments, limit), deadline)
        if reply == FULL:
            raise report_full(self._max_items)
        return reply == MADE

    def _survey(self) -> _Survey:
        match self._run_alone(SURVEY, (DUE, ENDS)):
            case [int() as pending, bytes() as moment, list() as expired]:
                ids = [one.decode() for one in expired if isinstance(one, bytes)]
                return _Survey(pending, float(moment) if moment else None, ids)
            case _:
                raise self._report_odd_reply()

    def _run_alone(self, script: Script, keys: Sequence[str], *arguments: str) -> Reply:
        with self._turn() as deadline:
            return self._run(script, keys, arguments, deadline)

    def _run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[bytes | str], deadline: TripDeadline
    ) -> Reply:
        return self.server.run_script(script, [self._prefix + key for key in keys], arguments, deadline)

    def _report_odd_reply(self) -> StoreError:
        return StoreError(f"{self.url} answered something else than the script")


def _is_expired(found: _FoundItem) -> bool:
    """Also where it cannot be read: its place in the order of ends says so."""
    request = found.request
    return bool(found.data) and (request is None or request.ends_at <= found.now)
