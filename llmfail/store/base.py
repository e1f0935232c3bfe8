"""The two verbs of a store.

Values are JSON text; what they mean is ``core.record``'s business. An ``update`` is atomic over all its
keys, in this process and in every other: its function gets the values of the named keys (None where there
is none) and the store's clock (epoch seconds), and returns what to write and a result. The function must be
pure: a store may run it more than once. It may write keys that it did not read. A store never keeps its
lock across anything slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

R = TypeVar("R")
Values = Mapping[str, str | None]


class Write(NamedTuple):
    """A value to keep, until ``expires_at`` (epoch seconds) or for ever."""

    text: str
    expires_at: float | None = None


Writes = Mapping[str, Write | None]
"""What to write, per key; None deletes."""
Change = Callable[[Values, float], tuple[Writes, R]]


class Store(Protocol):
    """Every verb raises StoreError when the store cannot do its work within its timeout."""

    name: str
    """``disk``, ``memory`` or ``redis``: what ``status`` shows."""

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        """The values of the keys, as one consistent snapshot, and the store's clock."""
        ...

    def update(self, keys: Sequence[str], change: Change[R]) -> R: ...

    def close(self) -> None: ...
