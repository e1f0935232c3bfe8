"""The token with which Vertex is called: fetched when it is first needed, kept while it lasts."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from llmfail.core.model import Call, Reply, Secret

if TYPE_CHECKING:
    from llmfail.google_auth import AccessToken

Send = Callable[[Call, float], Awaitable[Reply]]
RunTokenCommand = Callable[[Sequence[str], Mapping[str, str]], Coroutine[Any, Any, str | None]]


async def run_token_command(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Run a command and wait for it."""
    from llmfail.google_auth import run_command

    return await run_command(argv, environ)


class GoogleTokens:
    """The token of this process. ``turn`` lets one fetch it while the others wait."""

    def __init__(
        self,
        send: Send,
        run: RunTokenCommand = run_token_command,
        lock: AbstractAsyncContextManager[Any] | None = None,
    ) -> None:
        self._send = send
        self._run = run
        self._lock = lock or nullcontext()
        self._token: AccessToken | None = None

    async def get(self, limit: float) -> Secret | None:
        """None without any credentials. Raises TokenRefused and WireError, within ``limit`` seconds."""
        from llmfail.google_auth import fetch_google_token

        async with self._lock:
            now = time.time()
            if self._token is None or self._token.expires_at <= now:
                self._token = await fetch_google_token(os.environ, self._run, self._send_within(limit), now)
            return None if self._token is None else self._token.secret

    def forget(self) -> None:
        """The token was refused: the next one is a new one."""
        self._token = None

    def _send_within(self, limit: float) -> Send:
        ends_at = time.monotonic() + limit

        async def send(call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
            return await self._send(call, min(timeout, ends_at - time.monotonic()))

        return send
