"""Trying a store that many hosts share: whether it can be used, and what it tells of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmfail.core.errors import LlmfailError
from llmfail.core.reports.store_server import (
    StoreCheck,
    StoreServer,
    find_server_warnings,
    find_version_problem,
)
from llmfail.core.store_url import parse_redis_url

if TYPE_CHECKING:
    from llmfail.settings.schema.settings import Settings

LOCAL_FILES = (
    "stored answers and the queue stay in files of each host, and equal asks of two hosts are both made"
)


def check_store(settings: Settings) -> StoreCheck:
    """Of a configuration whose store is a server."""
    try:
        server = _ask(settings, writes=True)
    except LlmfailError as error:
        return StoreCheck(problems=(str(error).removeprefix("store: "),))
    problem = find_version_problem(server)
    if problem is not None:
        return StoreCheck(server, problems=(problem,))
    return StoreCheck(
        server, (), (*find_server_warnings(server, has_budgets=bool(settings.budgets)), LOCAL_FILES)
    )


def describe_server(settings: Settings) -> StoreServer | None:
    """None where it does not tell now."""
    try:
        return _ask(settings)
    except LlmfailError:
        return None


def _ask(settings: Settings, *, writes: bool = False) -> StoreServer:
    from llmfail.store.redis.redis_store import RedisStore
    from llmfail.store.redis.server_info import ask_server, check_writing

    store = RedisStore(parse_redis_url(settings.store), settings.store_timeout)
    try:
        if writes:
            check_writing(store)
        return ask_server(store, settings.store_timeout)
    finally:
        store.close()
