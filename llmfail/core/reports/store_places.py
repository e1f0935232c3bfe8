"""Where state, stored answers and the queue are kept, and what of it many hosts have in common."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from llmfail.core.store_url import LOCAL_STORES, parse_redis_url


class StorePlaces(Struct, frozen=True):
    """``disk`` or ``memory`` of this host, or the URL of a server without its password; ``queue`` is None
    where there is none.
    """

    state: str = "disk"
    answers: str = "disk"
    queue: str | None = "disk"

    @property
    def single_flight(self) -> str:
        """Where equal asks wait for one another: with the state, where the answers are shared."""
        return self.answers if self.answers in LOCAL_STORES else self.state

    @property
    def are_local(self) -> bool:
        """Whether no other host has anything of it."""
        return {self.state, self.answers, self.queue or "disk"} <= LOCAL_STORES

    def to_json(self) -> dict[str, str | None]:
        return {
            "state": self.state,
            "answers": self.answers,
            "queue": self.queue,
            "single_flight": self.single_flight,
        }

    @property
    def description(self) -> str:
        """What is shared and what is not, in one line."""
        shared = ", ".join(self._list_parts(is_shared=True)) or "nothing"
        local = ", ".join(self._list_parts(is_shared=False)) or "nothing"
        return f"shared by all hosts: {shared}; of each host alone: {local}"

    def _list_parts(self, *, is_shared: bool) -> Iterator[str]:
        for place, name in (
            (self.state, "circuits, limits and budgets (store)"),
            (self.answers, "stored answers (cache.store)"),
            (self.queue, "the queue (queue.store)"),
            (self.single_flight, "single flight of equal asks"),
        ):
            if place is not None and (place not in LOCAL_STORES) == is_shared:
                yield name


def name_place(store: str) -> str:
    """A store's URL as it may be shown."""
    return store if store in LOCAL_STORES else str(parse_redis_url(store))
