"""Trying the stores that many hosts share: whether they can be used, and what they tell of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmfail.core.errors import LlmfailError
from llmfail.core.reports.store_places import StorePlaces, name_place
from llmfail.core.reports.store_server import (
    StoreCheck,
    StoreServer,
    find_answer_warnings,
    find_queue_warnings,
    find_server_warnings,
    find_version_problem,
)
from llmfail.core.store_url import LOCAL_STORES, parse_redis_url

if TYPE_CHECKING:
    from llmfail.settings.schema.settings import Settings
    from llmfail.store.redis.server_info import SharedStore

STATE, ANSWERS, QUEUE = ("store",), ("cache", "store"), ("queue", "store")


def places_of(settings: Settings) -> StorePlaces:
    queue = settings.queue_place
    state, answers = name_place(settings.store), name_place(settings.answers_place)
    return StorePlaces(state, answers, None if queue is None else name_place(queue))


def check_stores(settings: Settings) -> list[StoreCheck]:
    """Of all that a configuration keeps on servers."""
    return [_check(settings, setting, _open(settings, setting)) for setting in _list_shared(settings)]


def describe_server(settings: Settings) -> StoreServer | None:
    """The one of the state; None where it does not tell now."""
    try:
        return _ask(settings, _open(settings, STATE))
    except LlmfailError:
        return None


def _list_shared(settings: Settings) -> Iterator[tuple[str, ...]]:
    for setting, place in (
        (STATE, settings.store),
        (ANSWERS, settings.answers_place),
        (QUEUE, settings.queue_place),
    ):
        if place is not None and place not in LOCAL_STORES:
            yield setting


def _open(settings: Settings, setting: tuple[str, ...]) -> SharedStore:
    if setting == ANSWERS:
        from llmfail.store.redis.redis_answer_store import RedisAnswerStore

        return RedisAnswerStore(parse_redis_url(settings.cache.store), settings.store_timeout)
    if setting == QUEUE:
        from llmfail.store.redis.redis_queue import RedisQueue

        limits = settings.queue
        url = parse_redis_url(limits.store)
        return RedisQueue(url, limits.max_items, limits.max_age, settings.store_timeout)
    from llmfail.store.redis.redis_store import RedisStore

    return RedisStore(parse_redis_url(settings.store), settings.store_timeout)


def _check(settings: Settings, setting: tuple[str, ...], store: SharedStore) -> StoreCheck:
    try:
        server = _ask(settings, store, writes=True)
    except LlmfailError as error:
        return StoreCheck(setting, problems=(str(error).removeprefix(f"{'.'.join(setting)}: "),))
    problem = find_version_problem(server)
    if problem is not None:
        return StoreCheck(setting, server, problems=(problem,))
    return StoreCheck(setting, server, warnings=tuple(_find_warnings(settings, setting, server)))


def _find_warnings(settings: Settings, setting: tuple[str, ...], server: StoreServer) -> Iterator[str]:
    if setting == STATE:
        return find_server_warnings(server, has_budgets=bool(settings.budgets))
    if setting == QUEUE:
        return find_queue_warnings(server)
    others = (one for one in (settings.store, settings.queue.store) if one not in LOCAL_STORES)
    mine = set(parse_redis_url(settings.cache.store).endpoints)
    is_alone = not any(mine & set(parse_redis_url(one).endpoints) for one in others)
    return find_answer_warnings(server, is_for_answers_only=is_alone)


def _ask(settings: Settings, store: SharedStore, *, writes: bool = False) -> StoreServer:
    from llmfail.store.redis.server_info import ask_server, check_writing

    try:
        if writes:
            check_writing(store)
        return ask_server(store, settings.store_timeout)
    finally:
        store.close()
