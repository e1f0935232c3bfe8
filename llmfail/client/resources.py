"""A configuration as it was opened, and what outlives the process under it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from llmfail.core.errors import LlmfailError, StoreError, UsageError
from llmfail.core.request.ask import Ask
from llmfail.engine.ports import ports
from llmfail.prices import REFRESHED, Catalogue
from llmfail.settings import load
from llmfail.settings.schema.settings import Settings
from llmfail.settings.state_path import state_directory
from llmfail.store import open_answers, open_store
from llmfail.store.failover import Guarded
from llmfail.store.memory import Memory

if TYPE_CHECKING:
    from llmfail.core.reports.status import Holdings
    from llmfail.store.answer_store import Stock
    from llmfail.store.base import Store
    from llmfail.store.queue import Queue


class Opened(Struct, frozen=True):
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
        from llmfail.store.queue import Queue

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
        from llmfail.core.degrade.queue_item import dump_ask

        number = ports.new_id()
        with closing(self.queue()) as queue:
            queue.put(number, ask.feature, dump_ask(ask), retry_at)
        return number

    def close(self) -> None:
        self.state.close()
        self.answers.close()


def open_(
    config: str | os.PathLike[str] | None,
    state_dir: str | os.PathLike[str] | None,
    settings: Settings | None,
    warn: Callable[[str], None] | None,
) -> Opened:
    """``config`` and ``state_dir`` default to what the command line uses. Raises UsageError."""
    warn = warn or _warn
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
    return Opened(
        settings,
        Catalogue(directory / REFRESHED, warn),
        state,
        answers,
        Guarded(answers, Memory(time.time), warn_once, "stored answers", remembers=False),
        directory,
        warn,
    )


def _stock(opened: Opened) -> Stock:
    from llmfail.store.answer_store import Answers, Stock

    return opened.shelf.stock() if isinstance(opened.shelf, Answers) else Stock(0, 0)


def holdings(opened: Opened) -> Holdings:
    """What cannot be read is not there."""
    from llmfail.core.reports.status import Holdings

    try:
        stock = _stock(opened)
        pending = _pending(opened)
    except LlmfailError:
        return Holdings()
    return Holdings(stock.entries, stock.bytes, pending)


def _pending(opened: Opened) -> int:
    if opened.settings.store == "memory":
        return 0
    with closing(opened.queue()) as queue:
        return queue.pending()


def clear(opened: Opened) -> int:
    from llmfail.store.answer_store import Answers

    try:
        return opened.shelf.clear() if isinstance(opened.shelf, Answers) else 0
    except StoreError as error:
        raise UsageError(str(error)) from error


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)
