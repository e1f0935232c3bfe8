"""Which of the logged requests somebody wants to see. A logged request is its receipt as JSON, with the
moment ``at``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct


class LogFilter(Struct, frozen=True):
    """All that is said must hold. ``since`` in epoch seconds. ``target`` is a target or a provider that was
    called, skipped or answered; ``text`` stands somewhere in it, in whatever case.
    """

    since: float | None = None
    feature: str | None = None
    target: str | None = None
    failed: bool = False
    text: str | None = None

    @property
    def takes_all(self) -> bool:
        return self == LogFilter()

    def matches(self, entry: Mapping[str, Any]) -> bool:
        return (
            (not self.failed or not entry["ok"])
            and (self.feature is None or entry["feature"] == self.feature)
            and (self.since is None or datetime.fromisoformat(entry["at"]).timestamp() >= self.since)
            and (self.target is None or any(map(self._is_wanted_target, _list_targets(entry))))
            and (self.text is None or self._stands_in(entry))
        )

    def _is_wanted_target(self, name: str) -> bool:
        return self.target in {name, name.partition("/")[0]}

    def _stands_in(self, entry: Mapping[str, Any]) -> bool:
        wanted = (self.text or "").casefold()
        return any(wanted in text.casefold() for text in _list_texts(entry))


def _list_targets(entry: Mapping[str, Any]) -> Iterator[str]:
    if entry["target"] is not None:
        yield entry["target"]
    for step in entry["trail"]:
        yield step["target"]


def _list_texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, the names of its fields left out."""
    if isinstance(value, str):
        yield value
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for child in children:
        yield from _list_texts(child)
