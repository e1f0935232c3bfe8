"""A configuration as it was opened, and what outlives the process under it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.client.event_listener import EventListener
from llmfail.core.errors import LlmfailError, StoreError, UsageError
from llmfail.core.records.record import Write, Writes
from llmfail.core.request.ask import Ask
from llmfail.core.store_url import LOCAL_STORES
from llmfail.engine.ports.ids import new_id
from llmfail.engine.ports.protocols import Stores
from llmfail.prices import REFRESHED_DIRECTORY, Catalogue
from llmfail.settings import load
from llmfail.settings.schema.settings import Settings
from llmfail.settings.state_path import find_state_directory
from llmfail.store import open_answer_store, open_queue, open_store
from llmfail.store.failover import FailoverStore
from llmfail.store.memory import MemoryStore

if TYPE_CHECKING:
    from llmfail.core.reports.status import StorageCounts
    from llmfail.core.reports.watch_event import OnEvent
    from llmfail.store.base import Store
    from llmfail.store.request_queue import RequestQueue
    from llmfail.tracing.ask_spans import AskSpans


class Resources(Struct, frozen=True):
    """A configuration, and what outlives the process under it."""

    settings: Settings
    catalogue: Catalogue
    state: FailoverStore
    answer_store: Store
    answers: FailoverStore
    """The same, for those whose work goes on without it."""

    directory: Path
    warn: Callable[[str], None]
    listener: EventListener

    @property
    def stores(self) -> Stores:
        kept = self.settings.queue_place is not None
        return Stores(
            self.state,
            self.answers,
            self.enqueue if kept else None,
            lambda: self.state.is_down,
            self.listener,
            self.state.wall,
            self._are_flights_in_state,
        )

    def _are_flights_in_state(self) -> bool:
        """Answers that others have too are waited for where the state is, as long as they can be had."""
        return self.settings.answers_place not in LOCAL_STORES and not self.answers.is_down

    def open_queue(self) -> RequestQueue:
        """The requests kept for later. Nothing is touched before the first verb."""
        place, limits = self.settings.queue_place, self.settings.queue
        if place is None:
            raise UsageError("there is no queue with `store: memory`: nothing outlives the process")
        timeout = self.settings.store_timeout
        most = (limits.max_items, limits.max_age)
        return open_queue(place, self.directory, most, timeout, self.state.wall, self.warn)

    def enqueue(self, ask: Ask, retry_at: float | None) -> str:
        """The id under which the request is kept. Raises StoreError."""
        from llmfail.core.degrade.queue_item import dump_ask
        from llmfail.engine.planning.queue_origin import origin_of

        number = new_id()
        with closing(self.open_queue()) as queue:
            # It is asked again under an id of its own: what was settled under one is settled once.
            text = dump_ask(replace(ask, id=None))
            queue.put(number, ask.feature, text, retry_at, origin_of(self.settings, ask))
        return number

    def close(self) -> None:
        self.listener.close()
        self.state.close()
        self.answers.close()


def open_resources(
    config: str | os.PathLike[str] | None,
    state_dir: str | os.PathLike[str] | None,
    settings: Settings | None,
    warn: Callable[[str], None] | None,
    on_event: OnEvent | None = None,
) -> Resources:
    """``config`` and ``state_dir`` default to what the command line uses. Raises UsageError."""
    warn = warn or _warn
    directory = find_state_directory(None if state_dir is None else Path(state_dir), os.environ)
    if settings is None:
        settings = load(None if config is None else Path(config), os.environ, Path.cwd(), directory)
    # Names of a file that nobody has chosen say nothing about the records of others.
    migrate = None if settings.namespace else partial(_migrate_records, settings)
    state = FailoverStore(
        open_store(settings.store, directory, settings.store_timeout, warn, migrate),
        MemoryStore(time.time),
        warn,
    )

    def warn_once(text: str) -> None:
        """What is wrong with the whole directory is told once, of the state."""
        state.read(())
        if not state.is_down:
            warn(text)

    answers = open_answer_store(
        settings.answers_place, directory, settings.cache.max_size, settings.store_timeout, warn
    )
    return Resources(
        settings,
        Catalogue(directory / REFRESHED_DIRECTORY, warn),
        state,
        answers,
        FailoverStore(answers, MemoryStore(time.time), warn_once, "stored answers", remembers=False),
        directory,
        warn,
        EventListener(on_event, _open_spans(settings)),
    )


def _open_spans(settings: Settings) -> AskSpans | None:
    """Raises UsageError."""
    if settings.traces == "none":
        return None
    from llmfail.tracing.tracer import open_tracing

    return open_tracing(settings, os.environ)


def _migrate_records(settings: Settings, rows: Mapping[str, Write]) -> Writes:
    from llmfail.core.records.migration import move_records
    from llmfail.engine.planning.budget_scope import find_renamed_periods
    from llmfail.engine.planning.request_builder import endpoint_of

    addresses = {name: endpoint_of(provider, "").address for name, provider in settings.providers.items()}
    periods = find_renamed_periods(settings, time.time())
    return move_records(rows, addresses, settings.configuration_id, periods)


def count_storage(resources: Resources) -> StorageCounts:
    """What cannot be read is not zero."""
    from llmfail.core.reports.status import StorageCounts

    entries = size = pending = None
    with suppress(LlmfailError):
        entries, size = _measure_cache(resources)
    with suppress(LlmfailError):
        pending = _count_pending(resources)
    from llmfail.client.shared_store import describe_server, places_of

    settings = resources.settings
    server = None if settings.store in LOCAL_STORES else describe_server(settings)
    return StorageCounts(entries, size, pending, server, places_of(settings))


def _measure_cache(resources: Resources) -> tuple[int | None, int | None]:
    """Answers and their bytes; None on a server, which would have to look at each."""
    if resources.settings.answers_place != "disk":
        return (0, 0) if resources.settings.answers_place == "memory" else (None, None)
    from llmfail.store.answer_store import AnswerStore

    assert isinstance(resources.answer_store, AnswerStore)
    return resources.answer_store.measure_size()


def _count_pending(resources: Resources) -> int:
    if resources.settings.queue_place is None:
        return 0
    with closing(resources.open_queue()) as queue:
        return queue.count_pending()


def clear_cache(resources: Resources) -> int:
    """How many answers there were."""
    if resources.settings.answers_place == "memory":
        return 0
    from llmfail.store.answer_store import AnswerStore
    from llmfail.store.redis.redis_answer_store import RedisAnswerStore

    assert isinstance(resources.answer_store, AnswerStore | RedisAnswerStore)
    try:
        return resources.answer_store.clear()
    except StoreError as error:
        raise UsageError(str(error)) from error


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)
