"""What the engine needs from outside, as arguments: so that one engine serves blocking callers, asyncio and
tests that run in memory on a clock of their own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from llmfail.core.model import Call, Reply
from llmfail.core.records.record import Values
from llmfail.core.request.ask import Ask
from llmfail.engine.ports.execution import run_command, run_inline
from llmfail.engine.ports.google_token import GoogleTokens, Send
from llmfail.engine.ports.ids import new_id, random_fraction
from llmfail.engine.ports.process_liveness import ProcessIdentity
from llmfail.store.base import Change, Store

if TYPE_CHECKING:
    from llmfail.core.answer_piece import AnswerPiece
    from llmfail.core.receipt import Receipt
    from llmfail.core.reports.watch_event import AskBegun, WatchEvent
    from llmfail.engine.ports.deferred_writes import DeferredWrites
    from llmfail.prices import Catalogue

T = TypeVar("T")
R = TypeVar("R")


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
        by itself once the caller is stopped, only work that ``writes`` has to be protected from that.
        """
        ...


class StoreInfo(Protocol):
    """What a store tells of itself."""

    @property
    def name(self) -> str: ...

    @property
    def is_down(self) -> bool:
        """Whether what is kept is not shared with other processes any more."""
        ...


class WatchListener(Protocol):
    """Whoever is told what happens."""

    @property
    def is_listening(self) -> bool:
        """Whether anybody would hear it now."""
        ...

    def tell(self, event: WatchEvent) -> None:
        """Raises nothing."""
        ...

    def begin_ask(self, begun: AskBegun) -> None: ...

    def begin_call(self, ask_id: str, target: str) -> Mapping[str, str]:
        """Headers that go with the call."""
        ...

    def end_ask(self, ask_id: str, receipt: Receipt | None) -> None:
        """``receipt`` is None for an ask that was broken off."""
        ...


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


OpenStream = Callable[[Call, float], Awaitable[AsyncReply]]
"""Sends a call and gives its reply once the head is here, within so many seconds. Raises WireError."""
OnText = Callable[[str], Awaitable[None]]
"""Gets the text of an answer piece by piece, as it comes."""
OnPiece = Callable[["AnswerPiece"], Awaitable[None]]
"""Gets all of an answer piece by piece, as it comes."""


class AnswerReader(Struct, frozen=True):
    """Who gets an answer as it comes: people its text, from the first that is not blank; a program all of it,
    from the first sign of life.
    """

    on_text: OnText | None = None
    on_piece: OnPiece | None = None


Enqueue = Callable[[Ask, "float | None"], str]
"""Keeps a request for later, until that moment at least, and gives its id. Raises StoreError."""
RunCommand = Callable[[Sequence[str], str, float, Path], str]
"""What a program says to a text, within so many seconds, in a directory. Raises CommandFailed."""


class Ports(Struct, frozen=True):
    """``send`` and ``open`` raise WireError; ``prepare`` makes them ready, so that a call leaves without
    delay. ``is_down`` says that what is kept is not shared with other processes any more. ``answers`` are the
    stored ones and ``enqueue`` the queue, None where nothing is kept; ``are_flights_in_state``: the leases of
    asks that get an answer are in ``store`` now, and not with the answers. ``run_blocking`` runs what blocks.
    ``concurrent``: two targets can be asked at once (asyncio); ``lock`` makes what keeps one task out while
    another is in; ``deferred`` is what need not be written at once, None where all is. ``monotonic``
    measures durations, ``wall`` names moments by the store's clock, in seconds.
    """

    send: Send
    open: OpenStream
    google_tokens: GoogleTokens
    store: AsyncStore
    catalogue: Catalogue
    sleep: Callable[[float], Awaitable[None]]
    prepare: Callable[[], object]
    is_down: Callable[[], bool]
    listener: WatchListener | None = None
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random_fraction
    new_id: Callable[[], str] = new_id
    answers: AsyncStore | None = None
    are_flights_in_state: Callable[[], bool] = lambda: False
    enqueue: Enqueue | None = None
    run_command: RunCommand = run_command
    run_blocking: Executor = run_inline
    process: ProcessIdentity = ProcessIdentity()
    concurrent: bool = False
    lock: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext
    deferred: DeferredWrites | None = None

    @property
    def active_listener(self) -> WatchListener | None:
        """None where nobody listens now."""
        listener = self.listener
        return None if listener is None or not listener.is_listening else listener


class Stores(Struct, frozen=True):
    """What outlives the ask: the state, the stored answers, the queue; and who is told of it. ``wall`` is the
    clock of the state, in epoch seconds. ``are_flights_in_state``: the leases of asks that get an answer
    are there now, and not with the answers.
    """

    state: Store
    answers: Store | None = None
    enqueue: Enqueue | None = None
    is_down: Callable[[], bool] = lambda: False
    listener: WatchListener | None = None
    wall: Callable[[], float] = time.time
    are_flights_in_state: Callable[[], bool] = lambda: False
