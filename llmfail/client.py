"""The Python API: a blocking client, and its twin for asyncio over the same engine.

    from llmfail import Client

    with Client() as llm:
        print(llm.ask("Say hello", feature="vpr").answer)

``ask`` and ``embed`` return a Receipt, or raise the AskError that fits, which carries the receipt.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

from msgspec import Struct

from llmfail.core.ask import Ask, question
from llmfail.core.errors import (
    AskError,
    CredentialsMissing,
    DeadlinePassed,
    IncompleteAnswer,
    LlmfailError,
    OverBudget,
    RequestRefused,
    StoreError,
    Unavailable,
    UsageError,
)
from llmfail.core.expect import Expectation
from llmfail.core.model import Attachment, Call, Message, Reply, Target
from llmfail.core.receipt import PICO, Receipt
from llmfail.engine import book, ports
from llmfail.engine.door import at_hand
from llmfail.prices import REFRESHED, Catalogue
from llmfail.settings import load
from llmfail.settings.kinds import YEARS
from llmfail.settings.settings import Settings
from llmfail.settings.state import state_directory
from llmfail.store import open_answers, open_store
from llmfail.store.guarded import Guarded
from llmfail.store.memory import Memory

if TYPE_CHECKING:
    from llmfail.core.estimate import Estimate
    from llmfail.core.overview import Holdings, Status
    from llmfail.core.preview import Preview
    from llmfail.core.report import By, Days, Report
    from llmfail.core.scenario import Wanted
    from llmfail.core.usage import Entry
    from llmfail.engine.batch import Batch, Limits
    from llmfail.engine.engine import Engine
    from llmfail.engine.operator import Operator
    from llmfail.engine.runner import Output, Pass
    from llmfail.store.answers import Stock
    from llmfail.store.base import Store
    from llmfail.store.queue import Queue
    from llmfail.wire.aio import AsyncWire
    from llmfail.wire.blocking import Wire

_ERRORS: dict[int, type[AskError]] = {
    error.exit_code: error
    for error in (
        Unavailable,
        OverBudget,
        RequestRefused,
        CredentialsMissing,
        DeadlinePassed,
        IncompleteAnswer,
    )
}

LONGEST_USER = 256
"""Characters of a user's id."""
MOST_USD = 1_000_000


class Options(TypedDict, total=False):
    """What may be said of a question besides itself; the default is what the feature says."""

    feature: str
    model: str | Sequence[str]
    """A target, or several in the order in which they are tried, instead of the feature's chain."""
    attachments: Sequence[Attachment]
    system: str | None
    schema: Mapping[str, Any] | None
    max_tokens: int | None
    temperature: float | None
    stop: tuple[str, ...]
    timeout: float | None
    deadline: float | None
    fallback: bool
    ref: str | int | None
    max_cost: Decimal | float | str | None
    """What it may cost altogether, in US dollars; what may cost more is refused."""
    user: str | None
    """Whose budget it goes on: any text of at most 256 characters."""
    template: str | None
    """The name of a prompt template of the configuration, instead of the feature's own."""
    parameters: Mapping[str, str]
    """What the template's ``$names`` stand for."""
    expect: str | Sequence[str]
    """What an answer must be besides what the feature says: ``json``, ``nonempty``, ``complete``,
    ``regex:…``.
    """
    cache: Literal["use", "refresh", "off"]
    """Stored answers: ``refresh`` asks a model all the same, ``off`` stores nothing either."""
    strict: bool
    """No degraded answers."""
    wait: float
    """How many seconds to wait for the first trial when every circuit is open."""
    queue: bool
    """Keep the request for ``llmfail queue run`` when nothing can answer."""


def ask_of(prompt: str | Sequence[Message], **options: Unpack[Options]) -> Ask:
    """An Ask from what a caller writes. Raises UsageError for a target that is none."""
    model = options.get("model", ())
    attachments = options.get("attachments", ())
    if attachments and not isinstance(prompt, str):
        raise UsageError("attachments go with a prompt; in a conversation each Message has its own")
    for name in ("max_tokens", "timeout", "deadline"):
        if (value := options.get(name)) is not None and not 0 < value <= YEARS:  # type: ignore[operator]
            raise UsageError(f"{name} must be a number above 0 and at most {YEARS:.0f}, got {value!r}")
    messages = question(prompt, *attachments) if isinstance(prompt, str) else tuple(prompt)
    try:
        targets = tuple(map(Target.parse, [model] if isinstance(model, str) else model))
    except ValueError as error:
        raise UsageError(str(error)) from error
    temperature = options.get("temperature")
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise UsageError(f"temperature must be a number from 0, got {temperature!r}")
    if isinstance(options.get("stop"), str):
        raise UsageError("stop is a list of texts, got one text")
    if (user := options.get("user")) is not None:
        _check_user(user)
    if not 0 <= options.get("wait", 0.0) <= YEARS:
        raise UsageError(f"wait is a number of seconds from 0 to {YEARS:.0f}, got {options['wait']!r}")
    if (schema := options.get("schema")) is not None:
        _check_schema(schema)
    own = {"model", "attachments", "max_cost", "expect"}
    rest: dict[str, Any] = {key: options[key] for key in options.keys() - own}  # type: ignore[literal-required]
    return Ask(
        messages,
        targets=targets,
        max_cost=_pico(options.get("max_cost")),
        expect=_expectation(options.get("expect", ())),
        **rest,
    )


def _check_schema(schema: Mapping[str, Any]) -> None:
    """A schema that is none would reject every answer, once it is paid for."""
    from llmfail.core.expect import flaw  # noqa: PLC0415 - start-up

    if (problem := flaw(Expectation(schema=schema))) is not None:
        raise UsageError(problem)


def _expectation(wanted: str | Sequence[str]) -> Expectation:
    from llmfail.core.expect import both, parse  # noqa: PLC0415 - start-up

    expected = Expectation()
    for one in [wanted] if isinstance(wanted, str) else wanted:
        try:
            expected = both(expected, parse(one))
        except ValueError as error:
            raise UsageError(f"expect: {error}") from None
    return expected


def _check_user(user: str) -> None:
    if not 0 < len(user) <= LONGEST_USER:
        raise UsageError(f"user is a text of 1 to {LONGEST_USER} characters, got {len(user)}")
    try:
        user.encode()
    except UnicodeEncodeError:
        raise UsageError("user is a text that UTF-8 can encode") from None


def _pico(usd: Decimal | float | str | None) -> int | None:
    """Whole pico-dollars; a float is taken for what it prints as."""
    if usd is None:
        return None
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise UsageError(f"max_cost is an amount of 0 to {MOST_USD:,} US dollars, got {usd!r}")
    return int(amount * PICO)


def checked(receipt: Receipt) -> Receipt:
    """The receipt, or the error that it tells of."""
    if receipt.error is None:
        return receipt
    raise _ERRORS[receipt.error.code](receipt)


class Client:
    """Asks through the fallback chains of a configuration, each call blocking its own thread.

    ``config`` and ``state_dir`` default to what the command line uses. ``warn`` hears what a person should
    know while the work goes on, such as a store that is down; without it, ``warnings.warn``. ``pause`` waits
    so many seconds, for a rate limit or an open circuit.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        warn: Callable[[str], None] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._opened = _open(config, state_dir, settings, warn or _warn)
        self.settings = self._opened.settings
        self._store = self._opened.state
        self._wire: Wire | None = None
        self._process = os.getpid()
        self._opening = Lock()
        self._ports = ports.blocking(
            self._send, self._opened.stores, self._opened.catalogue, self._connected, pause
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
        if "queue" in vars(self):
            self.queue.close()
        self._opened.close()

    @cached_property
    def _engine(self) -> Engine:
        """Imported when somebody has to be asked: a stored answer is found without it."""
        from llmfail.engine.engine import Engine  # noqa: PLC0415 - start-up

        return Engine(self.settings, self._ports)

    def ask(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> Receipt:
        """The receipt of an answer. Raises the AskError that fits when there is none."""
        return checked(self.receipt(ask_of(prompt, **options)))

    def receipt(self, ask: Ask) -> Receipt:
        """The receipt, with or without an answer; raises only UsageError."""
        stored = None if "_engine" in vars(self) else ports.drive(at_hand(self.settings, self._ports, ask))
        return stored or ports.drive(self._engine.ask(ask))

    def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """One vector per text, in ``receipt.embedding.vectors``."""
        return checked(self.embedded(_texts_of(texts, options)))

    def embedded(self, ask: Ask) -> Receipt:
        """The receipt, with or without one vector per message; raises only UsageError."""
        return ports.drive(self._engine.embed(ask))

    def plan(self, prompt: str, **options: Unpack[Options]) -> Preview:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        return ports.drive(self._engine.plan(ask_of(prompt, **options)))

    def status(self) -> Status:
        """Circuits, rates, latencies and alerts over the last 24 hours."""
        return ports.drive(_operator(self.settings, self._ports).status(self._store, _holdings(self._opened)))

    def stats(self) -> dict[str, Any]:
        """The figures of ``status`` about all asks: rates, average and 95th percentile latency."""
        routing: dict[str, Any] = self.status().to_json()["routing"]
        return routing

    def reset(self, name: str | None = None) -> tuple[str, ...]:
        """Close circuits and re-enable credentials: of a provider, a target, or all. The names of what there
        was to reset; UsageError when it could not be recorded.
        """
        return _recorded(ports.drive(_operator(self.settings, self._ports).reset(name)), self._store)

    def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """Hold a provider or target open, for so long or until ``reset``. UsageError when it could not be
        recorded.
        """
        return _recorded(ports.drive(_operator(self.settings, self._ports).trip(name, seconds)), self._store)

    def probed(self, name: str | None = None) -> tuple[Target, ...]:
        """Whom a probe of this name would ask; None: one target of each provider that has a key."""
        return _operator(self.settings, self._ports).probed(name)

    def probe(self, target: Target) -> Receipt:
        """Ask this target something tiny, and record how it did."""
        return ports.drive(self._engine.probe(target))

    def log(self, most: int = 20) -> list[dict[str, Any]]:
        """The last receipts, the newest first, each with its moment ``at``."""
        return ports.drive(book.recent(self._ports, most))

    def usage(self, by: By = "feature", days: Days | None = None) -> Report:
        """What was used and paid for, by feature, target, provider, user or day; else of the last 30 days."""
        return ports.drive(_usage(self.settings, self._ports, by, days))

    def recorded(self, days: Days | None = None) -> list[Entry]:
        """The records that ``usage`` sums up: one for each day, feature, target and user."""
        return ports.drive(_recorded_usage(self.settings, self._ports, days))

    def estimate(self, wanted: Wanted) -> Estimate:
        """What features cost per request and per month, on every target and in every scenario."""
        from llmfail.engine.estimates import Estimator  # noqa: PLC0415 - start-up: an ask needs none

        return ports.drive(Estimator(self.settings, self._ports).estimate(wanted))

    def clear_cache(self) -> int:
        """Forget every stored answer; how many there were. UsageError when that cannot be done."""
        return _clear(self._opened)

    @cached_property
    def queue(self) -> Queue:
        """The requests kept for later, whose verbs raise StoreError. UsageError where there is no queue."""
        return self._opened.queue()

    def runner(self, output: Output, say: Callable[[str], None]) -> Callable[[], Pass]:
        """Asks again whatever is due in the queue, each time it is called."""
        from llmfail.engine.runner import Runner  # noqa: PLC0415 - start-up: an ask needs none

        runner = Runner(self._engine, self.queue, output, say)
        return lambda: ports.drive(runner.once())

    def _connected(self) -> Wire:
        if self._process != os.getpid():
            # The connections of a process that forked are its own.
            self._process, self._wire, self._opening = os.getpid(), None, Lock()
        if self._wire is None:
            from llmfail.wire.blocking import Wire  # noqa: PLC0415 - start-up: httpx takes 95 ms

            with self._opening:
                self._wire = self._wire or Wire()
        return self._wire

    def _send(self, call: Call, timeout: float) -> Reply:
        return self._connected().send(call, timeout)


class AsyncClient:
    """The same for asyncio: any number of calls at once. Use it within one event loop."""

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        from llmfail.engine.engine import Engine  # noqa: PLC0415 - start-up: not for a blocking client

        self._opened = _open(config, state_dir, settings, warn or _warn)
        self.settings = self._opened.settings
        self._store = self._opened.state
        self._wire: AsyncWire | None = None
        self._ports = ports.aio(self._send, self._opened.stores, self._opened.catalogue, self._connected)
        self._engine = Engine(self.settings, self._ports)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
        self._opened.close()

    async def ask(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> Receipt:
        """As ``Client.ask``."""
        return checked(await self._engine.ask(ask_of(prompt, **options)))

    def batch(
        self,
        write: Callable[[Sequence[Receipt]], Awaitable[None]],
        limits: Limits,
        *,
        max_cost: int | None = None,
        spent: int = 0,
    ) -> Batch:
        """Asks many, within so many pico-dollars altogether, of which some are ``spent``."""
        from llmfail.engine.batch import Batch  # noqa: PLC0415 - few asyncio callers need it
        from llmfail.engine.purse import Purse  # noqa: PLC0415 - as above

        purse = None if max_cost is None else Purse(max_cost, spent, self._engine.plan)
        return Batch(self._engine.ask, write, limits, self._ports, purse)

    async def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """As ``Client.embed``."""
        return checked(await self._engine.embed(_texts_of(texts, options)))

    async def status(self) -> Status:
        """As ``Client.status``."""
        return await _operator(self.settings, self._ports).status(self._store, _holdings(self._opened))

    async def stats(self) -> dict[str, Any]:
        """As ``Client.stats``."""
        routing: dict[str, Any] = (await self.status()).to_json()["routing"]
        return routing

    async def reset(self, name: str | None = None) -> tuple[str, ...]:
        """As ``Client.reset``."""
        return _recorded(await _operator(self.settings, self._ports).reset(name), self._store)

    async def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """As ``Client.trip``."""
        return _recorded(await _operator(self.settings, self._ports).trip(name, seconds), self._store)

    async def usage(self, by: By = "feature", days: Days | None = None) -> Report:
        """As ``Client.usage``."""
        return await _usage(self.settings, self._ports, by, days)

    async def recorded(self, days: Days | None = None) -> list[Entry]:
        """As ``Client.recorded``."""
        return await _recorded_usage(self.settings, self._ports, days)

    def _connected(self) -> AsyncWire:
        if self._wire is None:
            from llmfail.wire.aio import AsyncWire  # noqa: PLC0415 - start-up: aiohttp and httpx take 190 ms

            self._wire = AsyncWire()
        return self._wire

    async def _send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        return await self._connected().send(call, timeout)


class _Opened(Struct, frozen=True):
    """A configuration, and what outlives the process under it."""

    settings: Settings
    catalogue: Catalogue
    state: Guarded
    shelf: Store
    answers: Guarded
    """The same, for those whose work goes on without it."""

    directory: Path
    warn: Callable[[str], None]

    @property
    def stores(self) -> ports.Stores:
        kept = self.settings.store != "memory"
        return ports.Stores(self.state, self.answers, self.enqueue if kept else None, lambda: self.state.down)

    def queue(self) -> Queue:
        """The requests kept for later. Nothing is touched before the first verb."""
        from llmfail.store.queue import Queue  # noqa: PLC0415 - start-up: an ask seldom needs it

        if self.settings.store == "memory":
            raise UsageError("there is no queue with `store: memory`: nothing outlives the process")
        limits = self.settings.queue
        return Queue(
            self.directory,
            max_items=limits.max_items,
            max_age=limits.max_age,
            timeout=self.settings.store_timeout,
            clock=time.time,
            warn=self.warn,
        )

    def enqueue(self, ask: Ask, retry_at: float | None) -> str:
        """The id under which the request is kept. Raises StoreError."""
        from llmfail.core.queued import dump_ask  # noqa: PLC0415 - start-up: an ask seldom needs it

        number = ports.new_id()
        with closing(self.queue()) as queue:
            queue.put(number, ask.feature, dump_ask(ask), retry_at)
        return number

    def close(self) -> None:
        self.state.close()
        self.answers.close()


def _open(
    config: str | os.PathLike[str] | None,
    state_dir: str | os.PathLike[str] | None,
    settings: Settings | None,
    warn: Callable[[str], None],
) -> _Opened:
    directory = state_directory(None if state_dir is None else Path(state_dir), os.environ)
    if settings is None:
        settings = load(None if config is None else Path(config), os.environ, Path.cwd(), directory)
    state = Guarded(
        open_store(settings.store, directory, settings.store_timeout, warn), Memory(time.time), warn
    )

    def warn_once(text: str) -> None:
        """What is wrong with the whole directory is told once, of the state."""
        state.read(())
        if not state.down:
            warn(text)

    answers = open_answers(settings.store, directory, settings.cache.max_size, settings.store_timeout, warn)
    return _Opened(
        settings,
        Catalogue(directory / REFRESHED, warn),
        state,
        answers,
        Guarded(answers, Memory(time.time), warn_once, "stored answers", remembers=False),
        directory,
        warn,
    )


def _stock(opened: _Opened) -> Stock:
    from llmfail.store.answers import Answers, Stock  # noqa: PLC0415 - start-up: an ask needs none

    return opened.shelf.stock() if isinstance(opened.shelf, Answers) else Stock(0, 0)


def _holdings(opened: _Opened) -> Holdings:
    """What cannot be read is not there."""
    from llmfail.core.overview import Holdings  # noqa: PLC0415 - start-up: an ask needs none

    try:
        stock = _stock(opened)
        pending = _pending(opened)
    except LlmfailError:
        return Holdings()
    return Holdings(stock.entries, stock.bytes, pending)


def _pending(opened: _Opened) -> int:
    if opened.settings.store == "memory":
        return 0
    with closing(opened.queue()) as queue:
        return queue.pending()


def _clear(opened: _Opened) -> int:
    from llmfail.store.answers import Answers  # noqa: PLC0415 - start-up: an ask needs none

    try:
        return opened.shelf.clear() if isinstance(opened.shelf, Answers) else 0
    except StoreError as error:
        raise UsageError(str(error)) from error


def _operator(settings: Settings, used: ports.Ports) -> Operator:
    from llmfail.engine.operator import Operator  # noqa: PLC0415 - start-up: an ask needs none

    return Operator(settings, used)


async def _usage(settings: Settings, used: ports.Ports, by: By, days: Days | None) -> Report:
    from llmfail.engine import spending  # noqa: PLC0415 - start-up: an ask needs none

    return await spending.usage(settings, used, by, days or spending.USUAL)


async def _recorded_usage(settings: Settings, used: ports.Ports, days: Days | None) -> list[Entry]:
    from llmfail.engine import spending  # noqa: PLC0415 - start-up: an ask needs none

    return await spending.recorded(settings, used, days or spending.USUAL)


def _recorded(names: tuple[str, ...], store: Guarded) -> tuple[str, ...]:
    """What an operator does has no effect but the record of it."""
    if store.down:
        raise UsageError("nothing was recorded: the state cannot be written; see the warning, or --state-dir")
    return names


def _texts_of(texts: Sequence[str], options: Options) -> Ask:
    return ask_of([Message("user", text) for text in texts], **options)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)
