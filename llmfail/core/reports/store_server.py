"""What the server of a shared store tells of itself, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

OLDEST_VERSION = (6, 2)
CLOCK_TOLERANCE_SECONDS = 1.0
MAX_LAG_SECONDS = 10


class StoreServer(Struct, frozen=True):
    """None for what it does not tell, because that needs a right of its own. ``clock_difference`` is how many
    seconds its clock is ahead of this machine's; ``lag`` is how many seconds its slowest replica is behind.
    """

    address: str
    clock_difference: float
    role: str | None = None
    version: str | None = None
    eviction_policy: str | None = None
    persistence: str | None = None
    replicas: int | None = None
    lag: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "role": self.role,
            "version": self.version,
            "eviction_policy": self.eviction_policy,
            "persistence": self.persistence,
            "replicas": self.replicas,
            "lag_seconds": self.lag,
            "clock_difference_seconds": round(self.clock_difference, 3),
        }

    @property
    def is_evicting(self) -> bool:
        """Whether it forgets what is in use when its memory is full."""
        return self.eviction_policy not in {None, "noeviction"}

    @property
    def is_forgetful(self) -> bool:
        """Whether it is known to forget all when it is started again."""
        return self.persistence not in {None, "append-only"}

    @property
    def description(self) -> str:
        """The same in one line."""
        parts = (
            f"version {self.version}" if self.version else "",
            self.role or "",
            f"eviction {self.eviction_policy}" if self.eviction_policy else "",
            f"persistence {self.persistence}" if self.persistence else "",
            f"replicas {self.replicas}" if self.replicas else "",
            f"lag {self.lag} s" if self.lag is not None else "",
            f"clock {self.clock_difference:+.3f} s from this host's",
        )
        return f"{self.address}: {', '.join(filter(None, parts))}"


class StoreCheck(Struct, frozen=True):
    """What was found when a store was tried; ``server`` is None for one of this host, and when it could not
    be asked. ``setting`` is the path of what names the store.
    """

    setting: tuple[str, ...] = ("store",)
    server: StoreServer | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parse_info(reply: object) -> dict[str, str]:
    """The fields of INFO; none where it was not told."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in lines}


def read_server_info(address: str, info: Mapping[str, str], clock_difference: float) -> StoreServer:
    """Of the fields of INFO, any of which may be missing."""
    append_only = {"1": "append-only", "0": "no append-only file"}.get(info.get("aof_enabled", ""))
    lags = [
        int(part.removeprefix("lag="))
        for name, value in info.items()
        if name.startswith("slave") and "=" in value
        for part in value.split(",")
        if part.startswith("lag=") and part.removeprefix("lag=").isdigit()
    ]
    replicas = info.get("connected_slaves", "")
    return StoreServer(
        address=address,
        clock_difference=clock_difference,
        role=info.get("role"),
        version=info.get("valkey_version") or info.get("redis_version"),
        eviction_policy=info.get("maxmemory_policy"),
        persistence=append_only,
        replicas=int(replicas) if replicas.isdigit() else None,
        lag=max(lags, default=None),
    )


def find_version_problem(server: StoreServer) -> str | None:
    """Why it cannot be used at all."""
    numbers = [int(part) for part in (server.version or "").split(".")[:2] if part.isdigit()]
    if len(numbers) == len(OLDEST_VERSION) and tuple(numbers) < OLDEST_VERSION:
        return f"{server.address} is version {server.version}, and 6.2 is the oldest that can be used"
    return None


def describe_eviction(server: StoreServer, what: str) -> str:
    return (
        f"{server.address} evicts ({server.eviction_policy}): {what} may be forgotten when its memory is "
        "full; set maxmemory-policy noeviction"
    )


def _describe_restart(server: StoreServer, what: str) -> str:
    return f"{server.address} has no append-only file: a restart forgets {what}; set appendonly yes"


def _find_time_warnings(server: StoreServer) -> Iterator[str]:
    if abs(server.clock_difference) > CLOCK_TOLERANCE_SECONDS:
        ahead = "ahead of" if server.clock_difference > 0 else "behind"
        yield (
            f"its clock is {abs(server.clock_difference):.1f} s {ahead} this host's: waits are kept by it, "
            "and times are shown by it"
        )
    if server.lag is not None and server.lag > MAX_LAG_SECONDS:
        yield f"a replica is {server.lag} s behind: a failover forgets what was written meanwhile"


def find_queue_warnings(server: StoreServer) -> Iterator[str]:
    """What will lose a queued request one day."""
    if server.is_evicting:
        yield describe_eviction(server, "queued requests")
    if server.is_forgetful:
        yield _describe_restart(server, "queued requests")
    yield from _find_time_warnings(server)


def find_answer_warnings(server: StoreServer, *, is_for_answers_only: bool) -> Iterator[str]:
    """What makes stored answers a trouble for others, or no longer stored."""
    if not is_for_answers_only:
        yield (
            f"{server.address} has stored answers besides what must not be forgotten, and they may fill its "
            "memory; give them a server of their own, with maxmemory-policy allkeys-lfu"
        )
    elif server.eviction_policy == "noeviction":
        yield (
            f"{server.address} does not evict: once its memory is full no more answers are stored; "
            "set maxmemory, and maxmemory-policy allkeys-lfu"
        )


def find_server_warnings(server: StoreServer, *, has_budgets: bool) -> Iterator[str]:
    """What is allowed, and will lose something one day."""
    if server.is_evicting:
        yield describe_eviction(server, "circuits and budgets")
    if has_budgets and server.is_forgetful:
        yield _describe_restart(server, "what budgets have spent")
    yield from _find_time_warnings(server)
