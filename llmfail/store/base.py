"""The two verbs of a store.

Values are JSON text; ``core.records`` knows what they mean. An ``update`` is atomic over all its keys, in
this process and in every other: its function gets the values of the named keys (None where there is none) and
the store's clock (epoch seconds), and returns what to write and a result. The function must be pure, because
a store may run it more than once, and must not use the store. It may write keys that it did not read. When it
raises, nothing is written. A value with an ``expires_at`` is gone from that moment on; the store decides when
its space is used again. A store never keeps its lock across anything slow.

Keys and values are any text that UTF-8 can encode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from llmfail.core.records.record import Values, Writes

R = TypeVar("R")
Change = Callable[[Values, float], tuple[Writes, R]]


class Store(Protocol):
    """Every verb raises StoreError when the store cannot do its work within its timeout."""

    @property
    def name(self) -> str:
        """``disk``, ``memory`` or ``redis``, as ``status`` shows it."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether an update that does not wait takes microseconds, so that an event loop may make it."""
        ...

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        """The values of the keys, as one consistent snapshot, and the store's clock."""
        ...

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:
        """Run the change on the values of the keys and write all that it returns, or nothing. Without
        ``waits``, a store that is locked or needs a repair raises at once.
        """
        ...

    def close(self) -> None: ...
