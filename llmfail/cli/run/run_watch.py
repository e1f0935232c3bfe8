"""A watch as it was typed: judge, tell, wait, until somebody stops it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import say
from llmfail.cli.run.open_client import load_settings
from llmfail.cli.signals import stop_signals
from llmfail.core.reports.alert_notice import AlertNotice
from llmfail.watch.watch_client import WatchClient


async def run_watch(options: GlobalOptions, interval: float | None, listen: str | None) -> int:
    """Every ``interval`` seconds, or once (None). The exit code: 128 and the number of the signal."""
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    if interval is not None:
        for number in stop_signals():
            asyncio.get_running_loop().add_signal_handler(number, _stop, stopped, number)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            WatchClient(
                settings=load_settings(options),
                state_dir=options.state_dir,
                warn=lambda text: say(f"warning: {text}", quiet=options.quiet),
            )
        )
        if listen is not None:
            from llmfail.watch.health_server import parse_listen, serve_health

            host, port = parse_listen(listen)
            found = await stack.enter_async_context(serve_health(client, host, port))
            say(f"health and metrics on http://{host}:{found}", quiet=options.quiet)
        return await _judge_until_stopped(options, client, interval, stopped)


async def _judge_until_stopped(
    options: GlobalOptions, client: WatchClient, interval: float | None, stopped: asyncio.Future[int]
) -> int:
    while True:
        judging = asyncio.ensure_future(client.judge_alerts())
        either: set[asyncio.Future[Any]] = {judging, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not judging.done():
            judging.cancel()
            with suppress(asyncio.CancelledError):
                await judging
            return 128 + stopped.result()
        _, notices = judging.result()
        for notice in notices:
            say(_describe(notice), quiet=options.quiet)
        if interval is None:
            return 0
        await asyncio.wait({stopped}, timeout=interval)
        if stopped.done():
            return 128 + stopped.result()


def _describe(notice: AlertNotice) -> str:
    state = notice.level if notice.state == "raised" else "over"
    return f"alert {notice.alert} ({state}): {notice.message}"


def _stop(stopped: asyncio.Future[int], number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)
