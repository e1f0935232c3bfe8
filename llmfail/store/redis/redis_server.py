"""The server that has the state of a namespace: found, followed when it moves, and called.

``redis://`` names it, Sentinel knows it, or a cluster tells which of its nodes it is (MOVED). What was found
is used until it cannot be reached or says that it is not the one any more; then it is looked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmfail.core.errors import StoreError, UsageError
from llmfail.core.store_url import RedisUrl, ServerAddress
from llmfail.store.redis.redis_connection import (
    Command,
    ConnectionLost,
    RedisConnection,
    TripDeadline,
    Unreachable,
)
from llmfail.store.redis.resp import RefusedCommand, Reply
from llmfail.store.redis.script import Script

MAX_LOST_TRIPS = 20
"""An attempt whose reply was lost is sent again, with its mark, this often within one verb."""
MAX_MOVES = 3
SENTINEL_SHARE = 0.25
"""Of the time left, for each Sentinel that is asked."""
REPLICA_WAIT_MS = 200
_NOT_MASTER_CODES = frozenset({"READONLY", "MASTERDOWN"})
_REFUSED_CODES = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})
_REFUSED_WORDS = (
    "can't run this command",
    "unauthenticated",
    "DB index",
    "AUTH <password>",
    "SELECT is not allowed",
)
_MOVING_CODES = frozenset({"ASK", "TRYAGAIN"})


class AccessRefused(StoreError):
    """The server is there, and does not let this user do it."""


class NotMaster(StoreError):
    """The server takes no writes: another one is the master now."""


class RedisServer:
    """One connection, for one thread at a time. Raises StoreError; UsageError where the server has never
    accepted anything from this process and refuses the user, which waiting does not mend. ``setting`` names
    where the URL was written; ``on_memory`` gets what the server tells of its memory with its first answer.
    """

    def __init__(
        self, url: RedisUrl, setting: str = "store", on_memory: Callable[[Reply], None] | None = None
    ) -> None:
        self.url = url
        self.setting = setting
        self._on_memory = on_memory
        self.address: ServerAddress | None = None
        self._connection: RedisConnection | None = None
        self._has_answered = False
        self._replicas: set[ServerAddress] = set()

    def run_script(
        self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes], deadline: TripDeadline
    ) -> Reply:
        """The reply of a script that may be run again where its reply was lost."""
        moves = lost = 0
        while True:
            try:
                return self._run_once(script, [len(keys), *keys, *arguments], deadline)
            except ConnectionLost:
                lost += 1
                self.disconnect()
                if lost > MAX_LOST_TRIPS:
                    raise
            except NotMaster:
                moves += 1
                if moves > MAX_MOVES:
                    raise
            except BaseException:
                self.disconnect()
                raise

    def run_together(
        self, commands: Sequence[Command], deadline: TripDeadline
    ) -> list[Reply | RefusedCommand]:
        """The reply to each of some commands that may be sent again where a reply was lost."""
        lost = 0
        while True:
            try:
                replies = self._connect(deadline).run(commands, deadline)
            except ConnectionLost:
                lost += 1
                self.disconnect()
                if lost > MAX_LOST_TRIPS:
                    raise
            except RefusedCommand as error:
                raise self.explain(error) from error
            except BaseException:
                self.disconnect()
                raise
            else:
                self._has_answered |= not any(isinstance(reply, RefusedCommand) for reply in replies)
                return replies

    def run(self, command: Command, deadline: TripDeadline) -> Reply:
        """The reply to one command, sent once."""
        try:
            return self._unwrap(self._connect(deadline).run([command], deadline)[0])
        except RefusedCommand as error:
            raise self.explain(error) from error
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run_once(self, script: Script, arguments: list[bytes | str | int], deadline: TripDeadline) -> Reply:
        waits: list[Command] = [("WAIT", self.url.replicas, REPLICA_WAIT_MS)] if self.url.replicas else []
        asks: list[Command] = [] if self._on_memory is None or self._has_answered else [("INFO", "memory")]
        try:
            connection = self._connect(deadline)
            # What it asks comes first: whoever has no right to the rest may lose the connection by it.
            found = connection.run([*asks, ("EVALSHA", script.digest, *arguments), *waits], deadline)
            memory, replies = found[: len(asks)], found[len(asks) :]
            if isinstance(replies[0], RefusedCommand) and replies[0].code == "NOSCRIPT":
                replies = connection.run([("EVAL", script.text, *arguments), *waits], deadline)
            reply = self._unwrap(replies[0])
        except RefusedCommand as error:
            raise self.explain(error) from error
        self._has_answered = True
        self._replicas.clear()
        for told in memory:
            if self._on_memory is not None and not isinstance(told, RefusedCommand):
                self._on_memory(told)
        if waits and isinstance(replies[1], int) and replies[1] < self.url.replicas:
            raise StoreError(
                f"{self.url}: {replies[1]} of {self.url.replicas} replicas have what was written (?wait=)"
            )
        return reply

    def _unwrap(self, reply: Reply | RefusedCommand) -> Reply:
        if isinstance(reply, RefusedCommand):
            raise reply
        return reply

    def explain(self, error: RefusedCommand) -> Exception:
        """The same as an error of a store; what follows from it is done."""
        known = self._connection.address.host if self._connection is not None else ""
        moved_to = read_moved_address(error, known)
        if moved_to is not None:
            self.disconnect()
            self.address = moved_to
            return NotMaster(f"{self.url}: the state has moved to {moved_to}")
        at = self._connection.address if self._connection is not None else self.url
        text = f"{at}: {_shorten(str(error))}"
        if error.code in _NOT_MASTER_CODES or "READONLY" in str(error):
            if self._connection is not None:
                self._replicas.add(self._connection.address)
            self.disconnect()
            self.address = None
            return NotMaster(text)
        if error.code in _MOVING_CODES:
            return StoreError(f"{at}: the state is moving to another node ({error.code})")
        if error.code in _REFUSED_CODES or any(words in str(error) for words in _REFUSED_WORDS):
            if not self._has_answered:
                return UsageError(f"{self.setting}: {text}")
            return AccessRefused(text)
        return StoreError(text)

    def _connect(self, deadline: TripDeadline) -> RedisConnection:
        if self._connection is None:
            self._connection = self._open(deadline)
            self.address = self._connection.address
        return self._connection

    def _open(self, deadline: TripDeadline) -> RedisConnection:
        if self.url.master:
            return RedisConnection(self._ask_sentinel(deadline), self.url, deadline)
        failure: StoreError | None = None
        last_known = () if self.address is None else (self.address,)
        known = dict.fromkeys((*last_known, *self.url.endpoints))
        for endpoint in sorted(known, key=self._replicas.__contains__):
            try:
                return RedisConnection(endpoint, self.url, deadline)
            except Unreachable as error:
                failure = error
        raise failure or Unreachable(f"{self.url} names no server")

    def _ask_sentinel(self, deadline: TripDeadline) -> ServerAddress:
        """Where the master is, by the first Sentinel that knows."""
        reasons = []
        for endpoint in self.url.endpoints:
            share = TripDeadline(
                deadline.require(self.url) * (1 if len(self.url.endpoints) == 1 else SENTINEL_SHARE)
            )
            try:
                found = _find_master(endpoint, self.url, share)
            except StoreError as error:
                reasons.append(str(error))
                continue
            if found is not None:
                return found
            reasons.append(f"{endpoint} knows no master {self.url.master!r}")
        raise Unreachable(f"Sentinel: {'; '.join(reasons)}")


def _shorten(refusal: str) -> str:
    """A long command of somebody who is not known is refused for its length."""
    if "unauthenticated" in refusal:
        return "NOAUTH Authentication required."
    return refusal.partition(" script: ")[0]


def read_moved_address(refused: RefusedCommand, known_host: str) -> ServerAddress | None:
    """``MOVED slot host:port``; without a host it is the one that said so. None for anything else."""
    host, _, port = str(refused).rsplit(maxsplit=1)[-1].rpartition(":")
    if refused.code != "MOVED" or not port.isdigit():
        return None
    return ServerAddress(host.strip("[]") or known_host, int(port))


def _find_master(sentinel: ServerAddress, url: RedisUrl, deadline: TripDeadline) -> ServerAddress | None:
    """Sentinel mostly asks for no password; where it does, it is that of the server."""
    question: Command = ("SENTINEL", "get-master-addr-by-name", url.master)
    login: Command = ("AUTH", url.user, url.password) if url.user else ("AUTH", url.password)
    connection = RedisConnection(sentinel, _without_login(url), deadline)
    try:
        reply = connection.run([question], deadline)[0]
        if isinstance(reply, RefusedCommand) and reply.code == "NOAUTH" and url.password:
            reply = connection.run([login, question], deadline)[1]
    except RefusedCommand as error:
        raise StoreError(f"{sentinel}: {error}") from error
    finally:
        connection.close()
    if isinstance(reply, RefusedCommand):
        raise StoreError(f"{sentinel}: {reply}")
    match reply:
        case [bytes() as host, bytes() as port]:
            return ServerAddress(host.decode(), int(port))
        case _:
            return None


def _without_login(url: RedisUrl) -> RedisUrl:
    return RedisUrl(url.scheme, url.endpoints)
