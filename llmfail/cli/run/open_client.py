"""The client that a command works with, from the options that all commands share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmfail.cli.arguments.global_options import Globals, current_directory
from llmfail.cli.io.output import say
from llmfail.client.blocking import Client
from llmfail.prices import REFRESHED, Catalogue
from llmfail.settings import load
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.client.aio import AsyncClient


def settings_of(options: Globals) -> Settings:
    return load(options.config, os.environ, current_directory(), options.state_dir)


def client_of(options: Globals, pause: Callable[[float], None] = time.sleep) -> Client:
    return Client(
        settings=settings_of(options),
        state_dir=options.state_dir,
        warn=lambda text: say(f"warning: {text}", quiet=options.quiet),
        pause=pause,
    )


def catalogue_of(options: Globals) -> Catalogue:
    return Catalogue(options.state_dir / REFRESHED, lambda text: say(f"warning: {text}", quiet=options.quiet))


def async_client_of(options: Globals) -> AsyncClient:
    from llmfail.client.aio import AsyncClient

    return AsyncClient(
        settings=settings_of(options),
        state_dir=options.state_dir,
        warn=lambda text: say(f"warning: {text}", quiet=options.quiet),
    )
