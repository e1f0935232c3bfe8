"""The state that many hosts share, on Redis or Valkey.

An update reads, runs its change, and sends all that the change has read along with what it writes: the server
writes only if nothing of it has changed, and else answers with what it has now. What was last seen is
remembered, so that the next update needs one trip. After three misses the keys are leased for a moment, so
that many that want the same take turns.

Each attempt has a mark. Where its reply was lost it is sent again and told apart, so that it counts once;
where it comes too late, when nobody waits for it any more, it is not made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Values, Writes
from llmfail.core.store_url import RedisUrl
from llmfail.store.base import Change, R
from llmfail.store.redis.known_values import KnownValues, encode_guards, encode_writes
from llmfail.store.redis.redis_client import RedisClient
from llmfail.store.redis.redis_connection import Command, TripDeadline
from llmfail.store.redis.redis_scripts import READ, WRITE
from llmfail.store.redis.redis_server import RedisServer
from llmfail.store.redis.resp import Reply
from llmfail.store.redis.script import Script

MISSES_BEFORE_LEASE = 3
LARGE_UPDATE_KEYS = 64
"""An update of more keys, such as several in one, takes so long that it seldom wins a race: it takes a lease
after its first miss.
"""
LEASE_MICROS = 250_000
FIRST_PAUSE_SECONDS = 0.0005
LONGEST_PAUSE_SECONDS = 0.1
"""However many wait for a lease, they must not keep the server busy with asking for it."""
MAX_BUSY_TIMEOUTS = 10
"""While others get on, a server is busy and not out of order: it is waited for so many times as long."""
LEASES = "!leases"
SCANNED_KEYS = 500
MADE, LEASED = 1, 2


class ScriptReply(Struct, frozen=True):
    """What a script answers: its clock, values, and the places of the keys that did not fit or are leased."""

    status: int
    micros: int
    values: list[Reply]
    places: list[int]


class RedisStore(RedisClient):
    """``remembers``: whether values are kept between two verbs. ``warn`` is told of a server that evicts."""

    name = "redis"
    is_local = False

    def __init__(
        self,
        url: RedisUrl,
        timeout: float,
        *,
        remembers: bool = True,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._warn = warn
        self._remembers = remembers
        self._prefix = f"{{llmfail:{url.namespace}}}:"
        super().__init__(url, timeout)

    def start(self) -> None:
        super().start()
        self._known = KnownValues(remembers=self._remembers)
        self._mark = f"!mark/{os.urandom(8).hex()}"
        self._attempts = 0

    def _make_server(self) -> RedisServer:
        return RedisServer(self.url, on_memory=self._judge_memory if self._warn is not None else None)

    def _judge_memory(self, reply: Reply) -> None:
        """Told once, also where a forked child comes to the same server."""
        warn, self._warn = self._warn, None
        if warn is None or not isinstance(reply, bytes) or b"maxmemory_policy:noeviction" in reply:
            return
        from llmfail.core.reports.store_server import describe_eviction, parse_info, read_server_info

        server = read_server_info(str(self.server.address), parse_info(reply), 0.0)
        if server.is_evicting:
            warn(describe_eviction(server, "circuits and budgets"))

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        deadline = self._take_turn()
        try:
            return self._read(tuple(dict.fromkeys(keys)), deadline)
        finally:
            self._lock.release()

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:  # noqa: ARG002
        """It waits for the server in any case, never longer than the timeout: no event loop may call it."""
        deadline = self._take_turn()
        try:
            return self._update(tuple(dict.fromkeys(keys)), change, deadline)
        finally:
            self._lock.release()

    def scan_keys(self) -> Iterator[list[str]]:
        """The keys of all records, some at a time; one may come twice where others write meanwhile."""
        cursor = b"0"
        while True:
            reply = self._run_command(("SCAN", cursor, "MATCH", f"{self._prefix}*", "COUNT", SCANNED_KEYS))
            match reply:
                case [bytes() as cursor, list() as found]:
                    names = [one.decode()[len(self._prefix) :] for one in found if isinstance(one, bytes)]
                    yield [name for name in names if not name.startswith("!")]
                case _:
                    raise StoreError(f"{self.url} answered something else than keys")
            if cursor == b"0":
                return

    def read_lifetimes(self, keys: Sequence[str]) -> list[float | None]:
        """The seconds after which each ends; None for ever."""
        lefts = [self._run_command(("PTTL", self._prefix + key)) for key in keys]
        return [left / 1000 if isinstance(left, int) and left >= 0 else None for left in lefts]

    def _update(self, keys: tuple[str, ...], change: Change[R], deadline: TripDeadline) -> R:
        contention = _Contention(self._timeout)
        recalled = self._known.recall(keys)
        values, now = recalled or self._read(keys, deadline)
        is_fresh = recalled is None
        while True:
            began = time.monotonic()
            writes, result = change(values, now)
            deadline.extend(time.monotonic() - began)
            if is_fresh and not writes:
                self._end_lease(contention)
                return result
            reply = self._try_write(keys, writes, now, contention.token, deadline) if writes else None
            if reply is not None and reply.status == MADE:
                return result
            if reply is not None:
                contention.note(reply, list(dict.fromkeys((*keys, *writes))), self._known.is_guessed)
                deadline = contention.renew(deadline)
            if contention.wants_lease(keys):
                values, now = self._take_lease(keys, contention, deadline)
            elif reply is None or reply.status == LEASED:
                contention.pause(reply)
                values, now = self._read(keys, deadline)
            else:
                values, now = self._known.learn(keys, reply.micros, reply.values)
            is_fresh = True

    def _read(self, keys: Sequence[str], deadline: TripDeadline) -> tuple[Values, float]:
        reply = self._run(READ, [LEASES, *keys], ("", "", "0"), deadline)
        return self._known.learn(keys, reply.micros, reply.values)

    def _try_write(
        self, keys: Sequence[str], writes: Writes, now: float, token: str, deadline: TripDeadline
    ) -> ScriptReply | None:
        """One attempt; None when something has to be read again before it can be compared."""
        encoded = encode_writes(writes, self._known, self._prefix)
        guards = encode_guards(keys, self._known, encoded)
        if guards is None:
            return None
        lasts = int(deadline.require(self.url) * 1_000_000)
        names = list(dict.fromkeys((*keys, *encoded)))
        places = {name: place for place, name in enumerate(names, 1)}
        parts = [(one.arguments[0], places[key], *one.arguments[1:]) for key, one in encoded.items()]
        self._attempts += 1
        head = (str(self._attempts), int(now * 1_000_000), lasts, token, len(keys))
        packed = msgspec.msgpack.encode((*head, *guards[:-1], parts))
        reply = self._run(WRITE, [self._mark, LEASES, *names], (packed, *guards.wanted), deadline)
        if reply.status == MADE:
            self._known.learn_writes(encoded, reply.micros, reply.values)
        return reply

    def _take_lease(
        self, keys: Sequence[str], contention: _Contention, deadline: TripDeadline
    ) -> tuple[Values, float]:
        """The values, once nobody else may write what is contended."""
        contention.token = os.urandom(8).hex()
        arguments = (contention.token, str(LEASE_MICROS), str(len(contention.keys)))
        while True:
            reply = self._run(READ, [LEASES, *contention.keys, *keys], arguments, deadline)
            if reply.status != LEASED:
                return self._known.learn(keys, reply.micros, reply.values)
            deadline = contention.renew(deadline)
            contention.pause(reply)

    def _end_lease(self, contention: _Contention) -> None:
        """Where nothing is written after all; else the write ends it."""
        if contention.token:
            names = [self._prefix + name for name in contention.keys]
            with suppress(StoreError):  # it ends by itself
                deadline = TripDeadline(LEASE_MICROS / 1e6)
                self.server.run(("HDEL", self._prefix + LEASES, *names), deadline)

    def _run(
        self, script: Script, names: Sequence[str], arguments: Sequence[bytes | str], deadline: TripDeadline
    ) -> ScriptReply:
        found = self.server.run_script(script, [self._prefix + name for name in names], arguments, deadline)
        match found:
            case bytes():
                return ScriptReply(MADE, int(found), [], [])
            case [int() as status, bytes() as micros, list() as values, list() as places]:
                return ScriptReply(
                    status, int(micros), values, [one for one in places if isinstance(one, int)]
                )
            case _:
                raise StoreError(f"{self.url} answered something else than the script")

    def _run_command(self, command: Command) -> Reply:
        deadline = self._take_turn()
        try:
            return self.server.run(command, deadline)
        finally:
            self._lock.release()


class _Contention:
    """What others write at the same moment as one update wants to."""

    def __init__(self, timeout: float) -> None:
        self.keys: dict[str, None] = {}
        self.token = ""
        self._timeout = timeout
        self._misses = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._patience_ends_at = time.monotonic() + MAX_BUSY_TIMEOUTS * timeout

    def note(self, reply: ScriptReply, names: Sequence[str], is_guessed: Callable[[str], bool]) -> None:
        """That an attempt was not made. What was only guessed of a key says nothing of others."""
        missed = [name for place in reply.places if not is_guessed(name := names[place - 1])]
        if not missed or reply.status == LEASED:
            return
        self._misses += 1
        self.keys.update(dict.fromkeys(missed))

    def wants_lease(self, keys: Sequence[str]) -> bool:
        limit = MISSES_BEFORE_LEASE if len(keys) <= LARGE_UPDATE_KEYS else 1
        return bool(self.keys) and self._misses >= limit

    def pause(self, reply: ScriptReply | None) -> None:
        """Leave the server alone while another has a lease."""
        if reply is not None and reply.status == LEASED:
            time.sleep(self._pause * (0.5 + os.urandom(1)[0] / 256))
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def renew(self, deadline: TripDeadline) -> TripDeadline:
        """The server answers, and others get on: that is no outage for a while."""
        left = self._patience_ends_at - time.monotonic()
        return TripDeadline(min(left, self._timeout)) if left > 0 else deadline
