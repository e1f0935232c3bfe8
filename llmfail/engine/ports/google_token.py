"""The token with which Vertex is called: fetched when it is first needed, kept while it lasts."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmfail.core.errors import CommandFailed
from llmfail.core.model import Call, Reply, Secret

if TYPE_CHECKING:
    from llmfail.google_auth import AccessToken

Send = Callable[[Call, float], Awaitable[Reply]]
RunBlocking = Callable[[Callable[[], "str | None"]], Awaitable["str | None"]]


def run_token_command(argv: Sequence[str], timeout: float) -> str | None:
    """What it prints; None when it is not there, fails, prints nothing or takes longer."""
    from llmfail.subprocess_answer import run

    try:
        return run(argv, "", timeout, Path())
    except CommandFailed:
        return None


class GoogleTokens:
    """The token of this process. ``lock`` lets one fetch it while the others wait."""

    def __init__(
        self, send: Send, run_blocking: RunBlocking, lock: AbstractAsyncContextManager[Any] | None = None
    ) -> None:
        self._send = send
        self._run_blocking = run_blocking
        self._lock = lock or nullcontext()
        self._token: AccessToken | None = None

    async def get(self, limit: float) -> Secret | None:
        """None without any credentials. Raises TokenRefused and WireError, within ``limit`` seconds."""
        from llmfail.google_auth import fetch_google_token

        async with self._lock:
            now = time.time()
            if self._token is None or self._token.expires_at <= now:
                ends_at = time.monotonic() + limit

                async def send(call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
                    return await self._send(call, min(timeout, ends_at - time.monotonic()))

                async def run(argv: Sequence[str], timeout: float) -> str | None:  # noqa: ASYNC109 - as above
                    left = min(timeout, ends_at - time.monotonic())
                    return await self._run_blocking(lambda: run_token_command(argv, left))

                self._token = await fetch_google_token(os.environ, run, send, now)
            return None if self._token is None else self._token.secret

    def forget(self) -> None:
        """The token was refused: the next one is a new one."""
        self._token = None
