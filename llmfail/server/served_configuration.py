"""A configuration as it is served: a reload replaces it as a whole, and its last request closes it."""

from __future__ import annotations

import time

from llmfail.core.loopback import is_loopback
from llmfail.core.routing.model_name import ModelNames
from llmfail.http_server.host_rule import HostRule
from llmfail.server.gateway_client import GatewayClient
from llmfail.server.program_keys import ProgramKeys
from llmfail.settings.schema.settings import Settings

SILENCE_SECONDS = 10.0
"""So long a program hears nothing of a streamed answer before it gets a keep-alive."""


class ServedConfiguration:
    """``listens_to`` is the host of the address at which programs connect; ``silence_seconds`` is how long a
    streamed answer may say nothing.
    """

    def __init__(
        self, client: GatewayClient, listens_to: str, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        serve = client.settings.serve
        self.client = client
        self.settings = client.settings
        self.serve = serve
        self.silence_seconds = silence_seconds
        self.names = collect_model_names(client.settings)
        self.keys = ProgramKeys(client.settings)
        self.features_of_keys = {
            key.name: frozenset(client.settings.find_feature(one).name for one in key.features)
            for key in serve.keys
        }
        self.host_rule = HostRule(
            listens_to_all=not is_loopback(listens_to),
            hosts=frozenset(host.lower() for host in serve.hosts),
            origins=frozenset(serve.origins),
        )
        self.opened_at = int(time.time())
        self._requests = 0

    def count(self, change: int) -> None:
        """So many requests more, or less, are under way."""
        self._requests += change

    @property
    def is_in_use(self) -> bool:
        return self._requests > 0


def collect_model_names(settings: Settings) -> ModelNames:
    named = {name: name for name in settings.features}
    aliases = {alias: one.name for one in settings.features.values() for alias in one.aliases}
    unknown = settings.serve.unknown_model
    return ModelNames(
        features={**named, **aliases},
        providers=frozenset(settings.providers),
        targets=settings.list_targets(),
        models=settings.serve.models,
        unknown=None if unknown == "refuse" else unknown,
    )
