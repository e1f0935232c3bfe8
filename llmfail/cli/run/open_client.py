"""The client that a command works with, from the options that all commands share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmfail.cli.arguments.global_options import GlobalOptions, current_directory
from llmfail.cli.io.output import say
from llmfail.client.receipts import ReceiptClient
from llmfail.prices import REFRESHED_DIRECTORY, Catalogue
from llmfail.settings import load
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.client.aio_receipts import AsyncReceiptClient
    from llmfail.core.reports.watch_event import OnEvent


def load_settings(options: GlobalOptions) -> Settings:
    return load(options.config, os.environ, current_directory(), options.state_dir)


def with_whole_targets(options: GlobalOptions, typed: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was typed, with whole names for bare names of models, which the configuration tells. Raises
    UsageError.
    """
    models = typed.get("model") or ()
    if all("/" in name for name in models):
        return typed
    from llmfail.settings.reading.target_lookup import find_target

    settings = load_settings(options)
    return {**typed, "model": tuple(str(find_target(settings, name)) for name in models)}


def open_client(
    options: GlobalOptions,
    pause: Callable[[float], None] = time.sleep,
    on_event: OnEvent | None = None,
) -> ReceiptClient:
    return ReceiptClient(
        settings=load_settings(options),
        state_dir=options.state_dir,
        warn=lambda text: say(f"warning: {text}", quiet=options.quiet),
        pause=pause,
        on_event=on_event,
    )


def open_catalogue(options: GlobalOptions) -> Catalogue:
    return Catalogue(
        options.state_dir / REFRESHED_DIRECTORY, lambda text: say(f"warning: {text}", quiet=options.quiet)
    )


def open_async_client(options: GlobalOptions) -> AsyncReceiptClient:
    from llmfail.client.aio_receipts import AsyncReceiptClient

    return AsyncReceiptClient(
        settings=load_settings(options),
        state_dir=options.state_dir,
        warn=lambda text: say(f"warning: {text}", quiet=options.quiet),
    )
