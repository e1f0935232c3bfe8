"""Stored answers that many hosts share, on a server of their own, which may forget them whenever it likes.

Each has a hash tag of its own, so that a cluster spreads them, and is written by itself: an update of several
is not one. What is compared is a version, not the text. Not the place for leases of asks: those belong with
the state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from llmfail.core.cache.single_flight import ANSWER_PREFIX
from llmfail.core.errors import StoreError, UsageError
from llmfail.core.records.record import Values, Write, Writes
from llmfail.core.store_url import RedisUrl
from llmfail.store.base import Change, R
from llmfail.store.redis.cluster_nodes import KeyCommand, RedisNodes
from llmfail.store.redis.known_values import encode_end
from llmfail.store.redis.redis_client import RedisClient
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.redis_server import RedisServer
from llmfail.store.redis.resp import Reply
from llmfail.store.redis.text_version import add_version, text_of, version_of

MAX_ANSWER_BYTES = 256_000
"""A larger one is not stored: it would hold up all others for a millisecond."""
MAX_ROUNDS = 3
"""Whoever is overtaken so often leaves what others have stored, which is as good."""
SCANNED_KEYS = 1000
_ANY = b"*"
_PUT = """\
local there = redis.call('GETRANGE', KEYS[1], 0, 16)
if ARGV[2] ~= '' and there == ARGV[2]:sub(1, 17) then return 1 end
if ARGV[1] ~= '*' and there ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
elseif ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3]) end
return 1
"""
"""A key is written unless it has another version than the first argument, with the second until the third (in
milliseconds). Sent again, it finds its own version.
"""


class _FoundAnswers(Struct, frozen=True):
    """What the server has: each with the version by which it is compared."""

    values: Values
    versions: Mapping[str, bytes]
    now: float


class RedisAnswerStore(RedisClient):
    """Every verb raises StoreError where the server refuses the user, too: answers are no reason to fail."""

    name = "redis"
    is_local = False
    setting = "cache.store"

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._tag = f"llmfail:{url.namespace}"
        super().__init__(url, timeout)

    def start(self) -> None:
        super().start()
        self._nodes = RedisNodes(self.server)

    def disconnect(self) -> None:
        self._nodes.disconnect()

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        with self._turn() as deadline:
            found = self._read(keys, deadline)
            return found.values, found.now

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:  # noqa: ARG002
        """It waits for the server in any case, never longer than the timeout: no event loop may call it."""
        with self._turn() as deadline:
            for _ in range(MAX_ROUNDS):
                found = self._read(keys, deadline)
                writes, result = change(found.values, found.now)
                if self._write(writes, found.versions, deadline):
                    break
            return result

    def clear(self) -> int:
        """Delete every answer of the namespace. Returns how many there were. Raises StoreError."""
        with self._turn() as deadline:
            servers = self._nodes.list_all(deadline)
        return sum(map(self._clear_server, servers))

    def _clear_server(self, server: RedisServer) -> int:
        count, cursor = 0, b""
        while cursor != b"0":
            with self._turn() as deadline:
                pattern = self._name_of(f"{ANSWER_PREFIX}*")
                scan = ("SCAN", cursor or b"0", "MATCH", pattern, "COUNT", SCANNED_KEYS)
                match server.run(scan, deadline):
                    case [bytes() as cursor, list() as found]:
                        keys = [key for key in found if isinstance(key, bytes)]
                        replies = server.run_together([("DEL", key) for key in keys], deadline)
                        count += sum(reply == 1 for reply in replies)
                    case _:
                        raise StoreError(f"{self.url} answered something else than keys")
        return count

    def _read(self, keys: Sequence[str], deadline: TripDeadline) -> _FoundAnswers:
        wanted = {key: self._name_of(key) for key in keys}
        replies, now = self._run([(name, ("GET", name)) for name in wanted.values()], deadline)
        texts = [reply if isinstance(reply, bytes) else b"" for reply in replies]
        found = dict(zip(wanted, texts, strict=True))
        values = {key: text_of(data) if data else None for key, data in found.items()}
        return _FoundAnswers(values, {key: version_of(data) for key, data in found.items()}, now)

    def _write(self, writes: Writes, versions: Mapping[str, bytes], deadline: TripDeadline) -> bool:
        """Whether nobody was faster."""
        commands: list[tuple[str, KeyCommand]] = []
        for key, write in writes.items():
            text = b"" if write is None else add_version(write.text).encode()
            if len(text) <= MAX_ANSWER_BYTES:
                name, version = self._name_of(key), versions.get(key, _ANY)
                commands.append((name, ("EVAL", _PUT, 1, name, version, text, _encode_end_of(write))))
        replies, _ = self._run(commands, deadline) if commands else ([], 0.0)
        return all(reply == 1 for reply in replies)

    def _run(
        self, commands: Sequence[tuple[str, KeyCommand]], deadline: TripDeadline
    ) -> tuple[list[Reply], float]:
        try:
            return self._nodes.run(commands, deadline)
        except UsageError as error:
            raise StoreError(str(error)) from error

    def _name_of(self, key: str) -> str:
        """What follows the last slash of a key is its hash tag."""
        kind, _, tag = key.rpartition("/")
        return f"{{{self._tag}:{tag}}}:{kind}"


def _encode_end_of(write: Write | None) -> str:
    return encode_end(None if write is None else write.expires_at)
