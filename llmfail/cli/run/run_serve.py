"""A gateway as it was typed: the address, the workers, the configuration or the simulator, and what is said
at its start.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import say
from llmfail.cli.run.open_client import load_settings
from llmfail.core.errors import LlmfailError, UsageError
from llmfail.core.loopback import is_loopback
from llmfail.core.reports.figures import count_of
from llmfail.http_server.listen_address import bind, bind_file, find_socket_file, parse_listen, url_of
from llmfail.http_server.tls_files import TlsFiles
from llmfail.server.serving import ServeOptions, serve
from llmfail.server.worker_gauges import SharedGauges
from llmfail.server.workers import Workers, hold_reloads
from llmfail.settings.schema.serve_settings import ServeSettings
from llmfail.settings.schema.settings import Settings


def run_serve(
    options: GlobalOptions, listen: str | None = None, workers: int | None = None, drill: str | None = None
) -> int:
    """Until a signal ends it. The exit code. Raises UsageError."""
    settings = load_settings(options)
    where = listen or settings.serve.listen
    file = find_socket_file(where)
    host, port = parse_listen(where) if file is None else ("localhost", 0)

    def load() -> Settings:
        fresh = load_settings(options)
        _require_keys(fresh.serve, host)
        return fresh

    _require_keys(settings.serve, host)
    count = workers or settings.serve.workers
    tls = _load_tls(settings)
    hold_reloads()
    listener = bind(host, port) if file is None else bind_file(file)
    _greet(options, settings, (listener, tls), drill)
    gauges = SharedGauges(count)
    parent = None if count == 1 else os.getpid()

    def run_worker(index: int) -> int:
        with ExitStack() as stack:
            place = (listener, host, gauges, index, parent, tls)
            return _run_worker(options, (settings, load), drill, stack, place)

    def reload() -> None:
        """For workers that begin later; those that run tell what is wrong with it."""
        nonlocal settings
        with suppress(LlmfailError):
            settings = load()

    try:
        if count == 1:
            return run_worker(0)
        return Workers(count, run_worker, reload, lambda text: say(text, quiet=options.quiet)).supervise()
    finally:
        if file is not None:
            file.unlink(missing_ok=True)


def _run_worker(
    options: GlobalOptions,
    configuration: tuple[Settings, Callable[[], Settings]],
    faults: str | None,
    stack: ExitStack,
    place: tuple[socket.socket, str, SharedGauges, int, int | None, TlsFiles | None],
) -> int:
    listener, host, gauges, index, parent, tls = place
    settings, load = configuration
    if faults is not None:
        from llmfail.drill.simulated_client import start_simulation

        point = stack.enter_context(start_simulation(settings, faults))
        settings, read = point(settings), load

        def load() -> Settings:
            return point(read())

    serve_options = ServeOptions(
        load=load,
        say=lambda text: say(text, quiet=options.quiet),
        state_dir=options.state_dir,
        host=host,
        directory=_directory_of(settings),
        gauges=gauges,
        index=index,
        parent=parent,
        tls=tls,
    )
    return asyncio.run(serve(listener, settings, serve_options))


def _directory_of(settings: Settings) -> Path:
    """Where relative names of files begin."""
    return Path() if settings.source is None else settings.source.path.parent


def _load_tls(settings: Settings) -> TlsFiles | None:
    """Raises UsageError."""
    tls, directory = settings.serve.tls, _directory_of(settings)
    return None if tls is None else TlsFiles(directory / tls.certificate, directory / tls.key)


def _require_keys(serve: ServeSettings, host: str) -> None:
    """Who reaches another address than loopback, or a proxy before it, would spend the owner's money."""
    if any(key.key or key.sha256 for key in serve.keys):
        return
    make = "`llmfail keys new NAME` makes one; put its entry under `serve: keys:`"
    if not is_loopback(host):
        raise UsageError(
            f"other machines may reach {host}, so programs need keys there: {make}, or listen at 127.0.0.1"
        )
    if serve.behind_proxy:
        raise UsageError(
            f"other machines may ask through the proxy, so programs need keys: {make}, or leave out "
            "`behind_proxy: true`"
        )


def _greet(
    options: GlobalOptions,
    settings: Settings,
    place: tuple[socket.socket, TlsFiles | None],
    faults: str | None,
) -> None:
    listener, tls = place
    url, is_file = url_of(listener, is_tls=tls is not None), listener.family == socket.AF_UNIX
    what = "the simulator" if faults is not None else count_of(len(settings.features), "feature")
    base = "" if is_file else f" (OpenAI's base URL: {url}/v1)"
    say(f"serving {what} on {url}{base}", quiet=options.quiet)
    is_far = not is_file and not is_loopback(listener.getsockname()[0])
    if is_far and tls is None and not settings.serve.behind_proxy:
        say(
            "warning: what is sent there can be read on the way: name a certificate under `serve: tls:`, or "
            "put a proxy with TLS before it, and say `behind_proxy: true`"
        )
    if faults is None and not settings.list_targets():
        say("warning: nothing can answer yet; `llmfail config init` writes a configuration")
