"""One process of a gateway, from its socket to its end: it answers, judges alerts, reloads on SIGHUP and
drains on SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from llmfail.core.errors import LlmfailError
from llmfail.core.receipt import format_time
from llmfail.core.store_url import LOCAL_STORES
from llmfail.http_server.http_app import ConnectionLimits, HttpServer
from llmfail.http_server.listen_address import url_of
from llmfail.http_server.tls_files import TlsFiles
from llmfail.server.dashboard.dashboard import Dashboard
from llmfail.server.gateway import Gateway
from llmfail.server.gateway_client import GatewayClient
from llmfail.server.request_log_file import RequestLogFile
from llmfail.server.served_configuration import ServedConfiguration
from llmfail.server.worker_gauges import SharedGauges, WorkerGauges
from llmfail.server.workers import hear_reloads
from llmfail.settings.schema.settings import Settings

JUDGE_INTERVAL_SECONDS = 30.0
MIN_JUDGE_WAIT_SECONDS = 0.2
PARENT_INTERVAL_SECONDS = 0.5
UNUSED_INTERVAL_SECONDS = 0.5
WRITE_DELAY, SHARED_WRITE_DELAY = 0.25, 0.5
"""Seconds for which answers wait to be counted together, in files of this host and on a server."""
FORWARDED_PORT = 4000
"""In the advice how to reach a socket file with a browser."""
LAST_WORDS_SECONDS = 1.0
"""How long those have whose answers are broken off."""


class ServeOptions(Struct, frozen=True):
    """``load`` reads the configuration anew, ``say`` tells people, ``directory`` is where relative names of
    files begin. ``index`` counts the workers; the first of them also judges alerts. ``parent`` is the
    process that supervises them, without which they end; ``tls`` is read again with the configuration.
    """

    load: Callable[[], Settings]
    say: Callable[[str], None]
    state_dir: Path
    host: str
    directory: Path
    gauges: SharedGauges
    index: int = 0
    parent: int | None = None
    tls: TlsFiles | None = None


async def serve(listener: socket.socket, settings: Settings, options: ServeOptions) -> int:
    """Until a signal ends it. The exit code."""
    return await _Worker(settings, options).run(listener)


class _Worker:
    def __init__(self, settings: Settings, options: ServeOptions) -> None:
        self._options = options
        self._configuration = self._open(settings)
        serve = settings.serve
        self._gauges = WorkerGauges(options.gauges, options.index)
        self._log = RequestLogFile(None if serve.log is None else options.directory / serve.log)
        token = serve.admin_token
        self._dashboard = Dashboard(
            self._configuration.client, None if token is None else token.reveal(), options.say
        )
        self._gateway = Gateway(self._configuration, self._gauges, self._log, self._dashboard)
        self._server = HttpServer(self._gateway.handle, ConnectionLimits(serve.max_connections))
        self._closing: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._is_hurried = asyncio.Event()

    def _open(self, settings: Settings) -> ServedConfiguration:
        warn = self._options.say
        client = GatewayClient(
            settings=settings,
            state_dir=self._options.state_dir,
            warn=lambda text: warn(f"warning: {text}"),
            write_delay=WRITE_DELAY if settings.store in LOCAL_STORES else SHARED_WRITE_DELAY,
        )
        return ServedConfiguration(client, self._options.host)

    async def run(self, listener: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        hear_reloads()
        tls = self._options.tls
        await self._server.open(listener, None if tls is None else tls.context)
        link = await self._dashboard.start()
        if link is not None and self._options.index == 0:
            self._options.say(_describe_link(listener, link, is_tls=tls is not None))
        beside = [asyncio.create_task(self._gauges.measure_lag())]
        if self._options.parent is not None:
            beside.append(asyncio.create_task(self._watch_parent(self._options.parent)))
        if self._options.index == 0:
            beside.append(asyncio.create_task(self._watch()))
        try:
            await self._stopped.wait()
            await self._drain()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._server.close()
            for task in self._closing:
                task.cancel()
            await asyncio.gather(*self._closing, return_exceptions=True)
            await self._configuration.client.close()
            self._log.close()
        return 0

    def _stop(self) -> None:
        """A second signal ends what is under way."""
        if self._stopped.is_set():
            self._is_hurried.set()
        self._stopped.set()

    async def _drain(self) -> None:
        """New connections are refused; what is under way is answered, as long as there is time for it."""
        self._gateway.health.is_draining = True
        self._server.stop_listening()
        await self._dashboard.close()
        under_way = self._gauges.inflight
        if not under_way:
            return
        grace = self._configuration.serve.shutdown_grace
        self._options.say(f"draining: {under_way} under way, at most {grace:g} s")
        idle, hurried = (
            asyncio.create_task(self._wait_until_idle()),
            asyncio.create_task(self._is_hurried.wait()),
        )
        await asyncio.wait({idle, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurried):
            task.cancel()
        if self._gauges.inflight:
            self._options.say(f"ended {self._gauges.inflight} that were under way")
            self._gateway.end_requests()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._wait_until_idle()

    async def _wait_until_idle(self) -> None:
        while self._gauges.inflight:  # noqa: ASYNC110 - waited for at the end alone
            await asyncio.sleep(0.02)

    def _reload(self) -> None:
        """A configuration that cannot be used changes nothing, and is told."""
        try:
            settings = self._options.load()
            if self._options.tls is not None:
                self._options.tls.load()
            fresh = self._open(settings)
        except LlmfailError as error:
            self._dashboard.banner = f"config: stale since {format_time(time.time())}: {error}"
            self._options.say(f"the configuration stays as it was: {error}")
            return
        self._dashboard.banner = ""
        old, self._configuration = self._configuration, fresh
        self._gateway.replace_configuration(fresh)
        task = asyncio.create_task(_close_when_unused(old))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._options.say("the configuration was read again")

    async def _watch_parent(self, parent: int) -> None:
        """Until it is no more."""
        while os.getppid() == parent:  # noqa: ASYNC110 - a process tells nobody of its death
            await asyncio.sleep(PARENT_INTERVAL_SECONDS)
        self._stopped.set()

    async def _watch(self) -> None:
        """Probe and judge, for ever; what goes wrong is told and tried again."""
        while True:
            client, wait = self._configuration.client, JUDGE_INTERVAL_SECONDS
            try:
                await client.probe_due()
                status, notices = await client.judge_alerts()
                for notice in notices:
                    state = notice.level if notice.state == "raised" else "over"
                    self._options.say(f"alert {notice.alert} ({state}): {notice.message}")
                soon = client.seconds_to_trial(status)
                wait = wait if soon is None else min(max(soon, MIN_JUDGE_WAIT_SECONDS), wait)
            except LlmfailError as error:
                self._options.say(f"alerts cannot be judged now: {error}")
            await asyncio.sleep(wait)


def _describe_link(listener: socket.socket, link: str, *, is_tls: bool) -> str:
    """Where a browser finds the dashboard; it opens no socket file itself."""
    if listener.family != socket.AF_UNIX:
        return f"dashboard, by a link for one use: {url_of(listener, is_tls=is_tls)}{link}"
    file = Path(listener.getsockname()).absolute()
    port = f"{'https' if is_tls else 'http'}://localhost:{FORWARDED_PORT}"
    return (
        f"dashboard: a browser needs a port, which `ssh -N -L {FORWARDED_PORT}:{file} localhost` makes; "
        f"then, by a link for one use: {port}{link}"
    )


async def _close_when_unused(replaced: ServedConfiguration) -> None:
    """When the last of its requests has ended."""
    try:
        while replaced.is_in_use:  # noqa: ASYNC110 - seldom, and nobody waits for it
            await asyncio.sleep(UNUSED_INTERVAL_SECONDS)
    finally:
        await replaced.client.close()
