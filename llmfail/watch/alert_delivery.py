"""How somebody is told of an alert: by webhooks, and by a command. What cannot be delivered costs no ask
anything: three tries, then a warning.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call, Reply
from llmfail.core.reports.alert_notice import SIGNATURE_HEADER, AlertNotice, sign_body, write_body
from llmfail.settings.schema.scalars import split_url
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Webhook

TRIES = 3
WAITS = (1.0, 4.0)
"""Seconds before the second and the third try."""
TIMEOUT_SECONDS = 10.0
"""For one try."""
COMMAND_TIMEOUT_SECONDS = 30.0

Send = Callable[[Call, float], Awaitable[Reply]]
Recipient = Callable[[Sequence[AlertNotice]], Awaitable[None]]


class AlertDelivery:
    """``warn`` gets what could not be delivered. ``sleep`` waits so many seconds between two tries."""

    def __init__(
        self,
        settings: Settings,
        send: Send,
        warn: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._send = send
        self._warn = warn
        self._sleep = sleep
        self._host = socket.gethostname()

    @property
    def recipients(self) -> Iterator[Recipient]:
        alerts = self._settings.alerts
        for number, webhook in enumerate(alerts.webhooks, 1):
            if webhook.url is not None:
                yield partial(self._post_all, number, webhook)
        if alerts.command:
            yield self._run_command

    async def _post_all(self, number: int, webhook: Webhook, notices: Sequence[AlertNotice]) -> None:
        for notice in notices:
            if notice.matches(webhook.on):
                problem = await self._post(self._call_of(webhook, notice))
                if problem:
                    self._warn(f"alert {notice.alert} was not delivered by webhook {number}: {problem}")

    def _call_of(self, webhook: Webhook, notice: AlertNotice) -> Call:
        body = write_body(notice, webhook.format, self._host)
        headers = {"content-type": "application/json"}
        secret = self._settings.alerts.webhook_secret
        if secret is not None:
            headers[SIGNATURE_HEADER] = sign_body(body, secret.reveal())
        assert webhook.url is not None, "one without a URL is no recipient"
        return Call("POST", webhook.url.reveal(), headers, body)

    async def _post(self, call: Call) -> str:
        """Why it was not taken, without the URL, which is a secret; empty when it was."""
        if split_url(call.url.partition("?")[0]) is None:
            return "its URL is none"
        problem = ""
        for wait in (*WAITS, None):
            try:
                reply = await self._send(call, TIMEOUT_SECONDS)
            except (WireError, UsageError) as error:
                problem = getattr(error, "cause", "it cannot be reached")
            else:
                if 200 <= reply.status < 300:
                    return ""
                problem = f"it answered {reply.status}"
            if wait is not None:
                await self._sleep(wait)
        return f"{problem}, {TRIES} times"

    async def _run_command(self, notices: Sequence[AlertNotice]) -> None:
        """Once for each, with the JSON of a webhook on its standard input."""
        argv = self._settings.alerts.command
        directory = None if self._settings.source is None else self._settings.source.path.parent
        for notice in notices:
            text = msgspec.json.encode(notice.to_json(self._host))
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv, cwd=directory, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
                )
            except OSError as error:
                self._warn(f"alert {notice.alert}: cannot run {argv[0]}: {error.strerror}")
                continue
            try:
                async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                    await process.communicate(text)
            except TimeoutError:
                self._warn(f"alert {notice.alert}: {argv[0]} took longer than {COMMAND_TIMEOUT_SECONDS:g} s")
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            if process.returncode:
                self._warn(f"alert {notice.alert}: {argv[0]} ended with {process.returncode}")
