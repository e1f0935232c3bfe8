"""What the engine needs from outside, as arguments: so that one engine serves blocking callers, asyncio and
tests that run in memory on a clock of their own.

The engine is written as coroutines. With blocking ports nothing in them ever suspends, so ``run_sync``
finishes one with a single ``send``: no event loop, and none of its start-up. Only a piece of an answer that
is shown suspends them, see ``client.streams``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from llmfail.core.model import Call, Reply
from llmfail.core.records.record import StoreChange, Values
from llmfail.core.request.ask import Ask
from llmfail.engine.ports.google_token import GoogleTokens, Send
from llmfail.engine.ports.process_liveness import ProcessIdentity
from llmfail.store.base import Change, Store

if TYPE_CHECKING:
    from llmfail.prices import Catalogue

T = TypeVar("T")
R = TypeVar("R")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Executor(Protocol):
    """Runs work that blocks where it holds up nobody else."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class AsyncReply(Protocol):
    """A reply whose head is here, and whose body is read as it comes. Header names are lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def waited(self) -> float:
        """Seconds that passed before it was sent, waiting for a turn of our own."""
        ...

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the wire keeps to it
        """The next piece, within so many seconds; empty once the body is over. Raises WireError."""
        ...

    async def close(self) -> None:
        """The end of it, whether or not it was read to its end."""
        ...


class AsyncStore(Protocol):
    """The store's two verbs, awaitable."""

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]: ...

    async def update(self, keys: Sequence[str], change: Change[R]) -> R: ...

    async def run_shielded(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:
        """Do the work to its end, also when the caller is stopped meanwhile; then stop. Where nothing goes on
        by itself once the caller is stopped, only the ``last`` work has to be protected from that.
        """
        ...


def random_fraction() -> float:
    """A random number in [0, 1)."""
    return int.from_bytes(os.urandom(7)) / 2**56


def new_id() -> str:
    """A ULID: 26 characters that sort by time, 80 bits of them random."""
    number = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


async def write(store: AsyncStore, step: StoreChange) -> None:
    """Make a change that has no result."""
    await store.update(step.keys, lambda values, now: (step.change(values, now), None))


def run_command(argv: Sequence[str], text: str, timeout: float, directory: Path) -> str:
    from llmfail.subprocess_answer import run

    return run(argv, text, timeout, directory)


async def run_inline(work: Callable[[], T]) -> T:
    return work()


@contextmanager
def block_signals() -> Iterator[None]:
    """What asks this thread to stop has to wait until the block is over."""
    before: Collection[int] | None = None
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        yield
    finally:
        # One that came just before the block is told by the call that begins it, which then gives no mask.
        how, mask = (signal.SIG_UNBLOCK, STOP_SIGNALS) if before is None else (signal.SIG_SETMASK, before)
        signal.pthread_sigmask(how, mask)


OpenStream = Callable[[Call, float], Awaitable[AsyncReply]]
"""Sends a call and gives its reply once the head is here, within so many seconds. Raises WireError."""
OnText = Callable[[str], Awaitable[None]]
"""Hears an answer piece by piece, as it comes."""
Enqueue = Callable[[Ask, "float | None"], str]
"""Keeps a request for later, until that moment at least, and gives its id. Raises StoreError."""
RunCommand = Callable[[Sequence[str], str, float, Path], str]
"""What a program says to a text, within so many seconds, in a directory. Raises CommandFailed."""


class Ports(Struct, frozen=True):
    """``send`` and ``open`` raise WireError; ``prepare`` makes them ready, so that a call leaves without
    delay. ``is_down`` says that what is kept is not shared with other processes any more. ``answers`` are the
    stored ones and ``enqueue`` the queue, None where nothing is kept. ``run_blocking`` runs what blocks.
    ``concurrent``: two targets can be asked at once (asyncio); ``lock`` makes what keeps one task out while
    another is in. ``monotonic`` measures durations, ``wall`` names moments, in seconds.
    """

    send: Send
    open: OpenStream
    google_tokens: GoogleTokens
    store: AsyncStore
    catalogue: Catalogue
    sleep: Callable[[float], Awaitable[None]]
    prepare: Callable[[], object]
    is_down: Callable[[], bool]
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random_fraction
    new_id: Callable[[], str] = new_id
    answers: AsyncStore | None = None
    enqueue: Enqueue | None = None
    run_command: RunCommand = run_command
    run_blocking: Executor = run_inline
    process: ProcessIdentity = ProcessIdentity()
    concurrent: bool = False
    lock: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext


class InlineStore(Struct, frozen=True):
    store: Store

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return self.store.read(keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        return self.store.update(keys, change)

    async def run_shielded(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:
        if not writes:
            return await work
        with block_signals():
            return await work


class ReadOnlyStore(Struct, frozen=True):
    """The same results without the writes: for those who only want to know."""

    store: AsyncStore

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return await self.store.read(keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        _, result = change(*await self.store.read(keys))
        return result

    async def run_shielded(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:  # noqa: ARG002
        return await work


class Stores(Struct, frozen=True):
    """What outlives the ask: the state, the stored answers, the queue."""

    state: Store
    answers: Store | None = None
    enqueue: Enqueue | None = None
    is_down: Callable[[], bool] = lambda: False


class BlockingReply(Protocol):
    """As a wire that blocks gives it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def read(self, timeout: float) -> bytes: ...

    def close(self) -> None: ...


class BlockingTransport(Protocol):
    def send(self, call: Call, timeout: float) -> Reply: ...

    def open(self, call: Call, timeout: float) -> BlockingReply: ...


class AsyncTransport(Protocol):
    async def send(self, call: Call, timeout: float) -> Reply: ...  # noqa: ASYNC109 - the wire keeps to it

    async def open(self, call: Call, timeout: float) -> AsyncReply: ...  # noqa: ASYNC109 - as above


class _InlineReply:
    """The reply of a wire that blocks, as the engine reads it."""

    waited = 0.0

    def __init__(self, reply: BlockingReply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._reply = reply

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the wire keeps to it
        return self._reply.read(timeout)

    async def close(self) -> None:
        self._reply.close()


def build_blocking_ports(
    wire: BlockingTransport,
    stores: Stores,
    catalogue: Catalogue,
    prepare: Callable[[], object] = lambda: None,
    pause: Callable[[float], None] = time.sleep,
) -> Ports:
    """Ports that block: for one ask at a time per thread, with ``run_sync``."""

    async def send(call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        return wire.send(call, timeout)

    async def open_(call: Call, timeout: float) -> AsyncReply:  # noqa: ASYNC109 - until its head is here
        return _InlineReply(wire.open(call, timeout))

    async def sleep(seconds: float) -> None:
        pause(seconds)

    return Ports(
        send=send,
        open=open_,
        google_tokens=GoogleTokens(send, run_inline),
        store=InlineStore(stores.state),
        catalogue=catalogue,
        sleep=sleep,
        prepare=prepare,
        is_down=stores.is_down,
        answers=None if stores.answers is None else InlineStore(stores.answers),
        enqueue=stores.enqueue,
    )


def build_asyncio_ports(
    wire: AsyncTransport, stores: Stores, catalogue: Catalogue, prepare: Callable[[], object] = lambda: None
) -> Ports:
    """Ports for asyncio."""
    import asyncio

    async def run_in_a_thread(work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    return Ports(
        send=wire.send,
        open=wire.open,
        google_tokens=GoogleTokens(wire.send, run_in_a_thread, asyncio.Lock()),
        store=_async_store_of(stores.state),
        catalogue=catalogue,
        sleep=asyncio.sleep,
        prepare=prepare,
        is_down=stores.is_down,
        answers=None if stores.answers is None else _async_store_of(stores.answers),
        enqueue=stores.enqueue,
        run_blocking=run_in_a_thread,
        concurrent=True,
        lock=asyncio.Lock,
    )


def _async_store_of(store: Store) -> AsyncStore:
    """For asyncio: what is in memory is at hand."""
    from llmfail.engine.ports.threaded_store import GroupCommitStore

    return InlineStore(store) if store.name == "memory" else GroupCommitStore(store)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a blocking port suspended")
