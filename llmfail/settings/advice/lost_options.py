"""Options of a configuration that a target has no word for: what the configuration alone can tell."""

from __future__ import annotations

from collections.abc import Iterator

from llmfail.core.conversation import OPTION_NAMES, GenerationOptions, Message
from llmfail.core.model import Endpoint, Request, Target
from llmfail.core.request.wire_capabilities import judge_request
from llmfail.core.vendors import find_signing_vendor
from llmfail.settings.reading.plain_values import Finding
from llmfail.settings.schema.provider_types import OptionsPatch
from llmfail.settings.schema.settings import Settings


def check_lost_options(settings: Settings) -> Iterator[Finding]:
    """One finding for each place and target. Those of ``defaults`` are for whoever takes them."""
    for name, feature in settings.features.items():
        for link in feature.chain:
            for text in _describe_lost(settings, feature.options, link.target):
                yield ("features", name, "options"), text
    for target in settings.list_targets():
        model = settings.model_of(target)
        for text in _describe_lost(settings, model.options, target):
            yield ("models", str(target), "options"), text


def _describe_lost(settings: Settings, patch: OptionsPatch, target: Target) -> Iterator[str]:
    options = GenerationOptions(**{name: getattr(patch, name) for name in OPTION_NAMES})
    request = Request((Message("user", ""),), options=options)
    if not request.is_plain:
        dropped = judge_request(request, _endpoint_of(settings, target)).dropped
        if dropped:
            yield f"{target} has no word for {', '.join(dropped)}: left out there"


def _endpoint_of(settings: Settings, target: Target) -> Endpoint:
    provider, model = settings.provider_of(target), settings.model_of(target)
    vendor = find_signing_vendor(provider.api, provider.name, provider.address[0], target.model)
    door = model.endpoint or provider.endpoint or "chat"
    return Endpoint(provider.api, provider.base_url or "", target.model, None, door=door, vendor=vendor)
