"""What the engine needs from outside, as arguments: so that one engine serves blocking callers, asyncio and
tests that run in memory on a clock of their own.

The engine is written as coroutines. With blocking ports nothing in them ever suspends, so ``drive`` finishes
one with a single ``send``: no event loop, and none of its start-up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from llmfail.core.model import Call, Reply, Secret
from llmfail.core.record import Values
from llmfail.store.base import Change, Store

if TYPE_CHECKING:
    from llmfail.tokens import Token

T = TypeVar("T")
R = TypeVar("R")

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


Send = Callable[[Call, float], Awaitable[Reply]]


class Keeper(Protocol):
    """The store's two verbs, awaitable."""

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]: ...

    async def update(self, keys: Sequence[str], change: Change[R]) -> R: ...


class Ports(Struct, frozen=True):
    """``send`` raises WireError. ``google_token`` is None without any credentials, and raises TokenRefused.
    ``monotonic`` measures durations, ``wall`` names moments, both in seconds.
    """

    send: Send
    google_token: Callable[[], Awaitable[Secret | None]]
    keeper: Keeper
    sleep: Callable[[float], Awaitable[None]]
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]
    new_id: Callable[[], str]


class BlockingKeeper(Struct, frozen=True):
    store: Store

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return self.store.read(keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        return self.store.update(keys, change)


class ThreadedKeeper(Struct, frozen=True):
    """The same for asyncio: a store may wait for another process, the event loop may not."""

    store: Store

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        from asyncio import to_thread  # noqa: PLC0415 - start-up: only asyncio callers need it

        return await to_thread(self.store.read, keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        from asyncio import to_thread  # noqa: PLC0415 - start-up: only asyncio callers need it

        return await to_thread(self.store.update, keys, change)


class GoogleTokens:
    """The token of this process, fetched when it is first needed and kept until it expires."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._token: Token | None = None

    async def __call__(self) -> Secret | None:
        from llmfail import tokens  # noqa: PLC0415 - start-up: only Vertex needs it

        now = time.time()
        if self._token is None or self._token.expires_at <= now:
            self._token = await tokens.google_token(os.environ, tokens.run_command, self._send, now)
        return None if self._token is None else self._token.secret


class Onlooker(Struct, frozen=True):
    """The same results without the writes: for those who only want to know."""

    keeper: Keeper

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return await self.keeper.read(keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        _, result = change(*await self.keeper.read(keys))
        return result


def blocking(send: Callable[[Call, float], Reply], store: Store) -> Ports:
    """Ports that block: for one ask at a time per thread, with ``drive``."""

    async def send_now(call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        return send(call, timeout)

    async def sleep_now(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop here

    return _ports(send_now, BlockingKeeper(store), sleep_now)


def aio(send: Send, store: Store) -> Ports:
    """Ports for asyncio."""
    from asyncio import sleep  # noqa: PLC0415 - start-up: only asyncio callers need it

    return _ports(send, ThreadedKeeper(store), sleep)


def _ports(send: Send, keeper: Keeper, sleep: Callable[[float], Awaitable[None]]) -> Ports:
    return Ports(
        send=send,
        google_token=GoogleTokens(send),
        keeper=keeper,
        sleep=sleep,
        monotonic=time.monotonic,
        wall=time.time,
        draw=draw,
        new_id=new_id,
    )


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a blocking port suspended")


def draw() -> float:
    """A random number in [0, 1)."""
    return int.from_bytes(os.urandom(7)) / 2**56


def new_id() -> str:
    """A ULID: 26 characters that sort by time, 80 bits of them random."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
