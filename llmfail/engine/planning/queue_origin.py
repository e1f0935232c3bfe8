"""Under which configuration a request waits in the queue, and which servers may get it."""

from __future__ import annotations

from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin
from llmfail.core.errors import UsageError
from llmfail.core.records.state_keys import digest_of
from llmfail.core.request.ask import Ask
from llmfail.engine.planning.request_builder import endpoint_of
from llmfail.engine.planning.resolved_feature import resolve_feature
from llmfail.settings.schema.settings import Settings


def origin_of(settings: Settings, ask: Ask) -> QueueOrigin:
    """The file, and the addresses of the chain that this ask has under it. Raises UsageError for what is not
    configured.
    """
    targets = [entry.target for entry in resolve_feature(settings, ask).chain]
    endpoints = [endpoint_of(settings.provider_of(target), target.model) for target in targets]
    addresses = frozenset(digest_of(endpoint.address) for endpoint in endpoints)
    return QueueOrigin(settings.configuration_name, addresses)


def is_of_configuration(settings: Settings, item: QueueItem) -> bool:
    """Whether a request was asked under this configuration, and all that its feature names now is a server
    that it might have gone to then.
    """
    if item.origin is None or item.ask is None:
        return False
    try:
        return item.origin.allows(origin_of(settings, item.ask))
    except UsageError:
        return item.origin.configuration == settings.configuration_name
