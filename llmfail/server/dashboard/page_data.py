"""What the pages show, as it is read: values that status, log, plan, usage and the queue have."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Any, Literal

from msgspec import Struct

from llmfail.core.degrade.queue_item import QueueItem
from llmfail.core.errors import LlmfailError
from llmfail.core.pricing.usage_report import UsageReport
from llmfail.core.reports.activity import HISTORY_SECONDS, PORTION, Entry, merge_requests
from llmfail.core.reports.status import Status
from llmfail.core.routing.plan import Plan
from llmfail.server.gateway_client import GatewayClient

Topic = Literal["requests", "plans", "usage", "queue"]
"""What a page needs besides the status."""
SAMPLE_PROMPT = "Hello"
"""With which a plan is made for each feature. Nothing is sent."""
MAX_QUEUED = 200
"""Queued requests that are shown."""


class PageData(Struct, frozen=True):
    """Everything of one moment. ``requests`` are the newest first, of the last hour and 50 at least."""

    now: float
    status: Status
    requests: tuple[Entry, ...] = ()
    plans: tuple[Plan, ...] = ()
    by_day: UsageReport | None = None
    by_feature: UsageReport | None = None
    by_target: UsageReport | None = None
    queue: tuple[QueueItem, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read, in words."""
    banner: str = ""
    """What the server has to say of itself."""


class PageReader:
    """Reads what pages need, of one client. What was logged is read once and remembered for an hour."""

    def __init__(self, client: GatewayClient) -> None:
        self.client = client
        self._requests: tuple[Entry, ...] = ()

    async def read(self, topics: frozenset[Topic], banner: str = "") -> PageData:
        problems: list[str] = []
        found: dict[str, Any] = {}
        for topic in ("requests", "plans", "usage", "queue"):
            if topic in topics:
                try:
                    found |= await self._read_topic(topic)
                except LlmfailError as error:
                    problems.append(str(error))
        status = await self.client.status()
        return PageData(time.time(), status, **found, problems=tuple(dict.fromkeys(problems)), banner=banner)

    async def _read_topic(self, topic: Topic) -> dict[str, Any]:
        match topic:
            case "requests":
                return {"requests": await self._read_requests()}
            case "plans":
                features = self.client.settings.features
                return {
                    "plans": tuple([await self.client.plan(SAMPLE_PROMPT, feature=one) for one in features])
                }
            case "usage":
                return {
                    "by_day": await self.client.usage("day"),
                    "by_feature": await self.client.usage("feature"),
                    "by_target": await self.client.usage("target"),
                }
            case "queue":
                return {"queue": await asyncio.to_thread(self._list_queued)}

    def _list_queued(self) -> tuple[QueueItem, ...]:
        kept = self.client.settings.queue_place is not None
        return tuple(islice(self.client.queue.items(), MAX_QUEUED)) if kept else ()

    async def _read_requests(self) -> tuple[Entry, ...]:
        """The log is asked for more until it meets what is known already, or is older than an hour."""
        since = time.time() - HISTORY_SECONDS
        limit, merged = PORTION, None
        while merged is None:
            merged = merge_requests(self._requests, await self.client.log(limit), limit, since)
            limit *= 4
        self._requests = merged
        return merged
