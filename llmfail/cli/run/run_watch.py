"""A watch as it was typed: judge, tell, wait, until somebody stops it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import say
from llmfail.cli.run.open_client import load_settings
from llmfail.cli.signals import stop_signals
from llmfail.core.errors import ExitCode
from llmfail.core.receipt import Receipt
from llmfail.core.reports.alert_notice import AlertNotice
from llmfail.watch.watch_client import WatchClient

MIN_WAIT_SECONDS = 0.2
"""Between two looks, so that a circuit that others hold does not keep the watch busy."""


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
            from llmfail.http_server.listen_address import parse_listen
            from llmfail.watch.health_pages import serve_health

            host, port = parse_listen(listen)
            found = await stack.enter_async_context(serve_health(client, host, port))
            say(f"health and metrics on http://{host}:{found}", quiet=options.quiet)
        return await _judge_until_stopped(options, client, interval, stopped)


async def _judge_until_stopped(
    options: GlobalOptions, client: WatchClient, interval: float | None, stopped: asyncio.Future[int]
) -> int:
    while True:
        looking = asyncio.ensure_future(_look(options, client))
        either: set[asyncio.Future[Any]] = {looking, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not looking.done():
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            return 128 + stopped.result()
        look = looking.result()
        if interval is None:
            return ExitCode.ANSWERED if look.is_readable else ExitCode.USAGE
        wait = look.wait
        await asyncio.wait({stopped}, timeout=interval if wait is None else min(wait, interval))
        if stopped.done():
            return 128 + stopped.result()


class _Look(NamedTuple):
    """``wait``: seconds until it is worth to look again sooner than usual; without a readable state nothing
    could be judged.
    """

    wait: float | None
    is_readable: bool


async def _look(options: GlobalOptions, client: WatchClient) -> _Look:
    """Probe and judge."""
    for receipt in await client.probe_due():
        say(_describe_probe(receipt), quiet=options.quiet or options.verbose == 0)
    status, notices = await client.judge_alerts()
    for notice in notices:
        say(_describe(notice), quiet=options.quiet)
    wait = client.seconds_to_trial(status)
    return _Look(None if wait is None else max(wait, MIN_WAIT_SECONDS), status.readable)


def _describe_probe(receipt: Receipt) -> str:
    entry = receipt.trail[0]
    return f"probe {entry.target}: {entry.outcome}"


def _describe(notice: AlertNotice) -> str:
    state = notice.level if notice.state == "raised" else "over"
    return f"alert {notice.alert} ({state}): {notice.message}"


def _stop(stopped: asyncio.Future[int], number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)
