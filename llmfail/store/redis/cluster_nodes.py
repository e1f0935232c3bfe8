"""The servers that have keys of many hash tags: one, or the nodes of a cluster, each with slots of its own.

A node says which other one has a slot (MOVED); that is remembered until it cannot be reached any more.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from llmfail.core.errors import StoreError
from llmfail.core.store_url import ServerAddress
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.redis_server import MAX_MOVES, NotMaster, RedisServer, read_moved_address
from llmfail.store.redis.resp import RefusedCommand, Reply

SLOTS = 16_384

KeyCommand = tuple[bytes | str | int, ...]
"""A command that may be sent again."""


def slot_of(key: str) -> int:
    """The slot of what stands between its braces."""
    return crc_hqx(key.partition("{")[2].partition("}")[0].encode(), 0) % SLOTS


class RedisNodes:
    """``first`` is asked where nothing is known of a slot. For one thread at a time."""

    def __init__(self, first: RedisServer) -> None:
        self._first = first
        self._others: dict[ServerAddress, RedisServer] = {}
        self._owners: dict[int, ServerAddress] = {}

    def run(
        self, commands: Sequence[tuple[str, KeyCommand]], deadline: TripDeadline
    ) -> tuple[list[Reply], float]:
        """The reply to each, of which the first part is its key, and the latest of the servers' clocks, in
        epoch seconds: those of a server go in one trip. Raises StoreError, UsageError as RedisServer does.
        """
        replies: list[Reply] = [None] * len(commands)
        left, now = list(range(len(commands))), 0.0
        for _ in range(1 + MAX_MOVES):
            moved: list[int] = []
            for server, places in self._group(commands, left):
                found, clock = self._run_on(server, [commands[place][1] for place in places], deadline)
                now = max(now, clock)
                for place, reply in zip(places, found, strict=True):
                    if isinstance(reply, RefusedCommand):
                        self._learn_owner(reply, server)
                        moved.append(place)
                    else:
                        replies[place] = reply
            left = moved
            if not left:
                return replies, now
        raise StoreError(f"{self._first.url}: its keys are on the move")

    def disconnect(self) -> None:
        for server in (self._first, *self._others.values()):
            server.disconnect()

    def list_all(self, deadline: TripDeadline) -> list[RedisServer]:
        """Every master of a cluster, or the one server."""
        try:
            found = self._first.run(("CLUSTER", "SLOTS"), deadline)
        except StoreError:  # it is none
            return [self._first]
        addresses = {
            ServerAddress(host.decode(), port)
            for entry in (found if isinstance(found, list) else ())
            if isinstance(entry, list) and len(entry) > 2
            for host, port in [_read_node(entry[2])]
            if host
        }
        return [self._server_at(address) for address in sorted(addresses, key=str)] or [self._first]

    def _group(
        self, commands: Sequence[tuple[str, KeyCommand]], places: Sequence[int]
    ) -> list[tuple[RedisServer, list[int]]]:
        """By the server that has the key."""
        groups: defaultdict[ServerAddress | None, list[int]] = defaultdict(list)
        for place in places:
            groups[self._owners.get(slot_of(commands[place][0]))].append(place)
        if not commands:
            groups[None] = []
        return [
            (self._first if address is None else self._server_at(address), some)
            for address, some in groups.items()
        ]

    def _run_on(
        self, server: RedisServer, commands: Sequence[KeyCommand], deadline: TripDeadline
    ) -> tuple[list[Reply | RefusedCommand], float]:
        """The replies and the clock, which is read after them, so that no value is of a later moment."""
        try:
            *replies, clock = server.run_together([*commands, ("TIME",)], deadline)
        except (StoreError, OSError):
            self._owners = {slot: at for slot, at in self._owners.items() if self._others.get(at) != server}
            raise
        match clock:
            case [bytes() as seconds, bytes() as micros]:
                return replies, int(seconds) + int(micros) / 1e6
            case RefusedCommand():
                raise server.explain(clock)
            case _:
                raise StoreError(f"{server.url} answered something else than the time")

    def _learn_owner(self, refused: RefusedCommand, server: RedisServer) -> None:
        """Raises StoreError for anything else than that another one has it."""
        known = server.address.host if server.address is not None else ""
        address = read_moved_address(refused, known)
        if address is None:
            error = server.explain(refused)
            if isinstance(error, NotMaster):
                return
            raise error
        self._owners[int(str(refused).split()[1])] = address

    def _server_at(self, address: ServerAddress) -> RedisServer:
        if address not in self._others:
            url = replace(self._first.url, endpoints=(address,), master="")
            self._others[address] = RedisServer(url, self._first.setting)
        return self._others[address]


def _read_node(node: Reply) -> tuple[bytes, int]:
    match node:
        case [bytes() as host, int() as port, *_]:
            return host, port
        case _:
            return b"", 0
