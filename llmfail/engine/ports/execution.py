"""How the engine's coroutines and the work in them are run without an event loop.

The engine is written as coroutines. With blocking ports nothing in them ever suspends, so ``run_sync``
finishes one with a single ``send``: no event loop, and none of its start-up. Only a piece of an answer that
is shown suspends them, see ``client.streams``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a blocking port suspended")


def run_command(argv: Sequence[str], text: str, timeout: float, directory: Path) -> str:
    from llmfail.subprocess_answer import run

    return run(argv, text, timeout, directory)


async def run_inline(work: Callable[[], T]) -> T:
    return work()
