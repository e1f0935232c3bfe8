"""An ask that has been answered before, answered from the cache without the engine, which takes longer to
import than the answer takes to find.

Only for the first target of a chain whose order is known beforehand. What is not found here, the engine looks
for too.
"""

from __future__ import annotations

from llmfail.core.cache.cache_key import describe_asked, digest_of, fingerprint
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.engine.answers.answer_cache import reader_of
from llmfail.engine.planning.request_builder import (
    endpoint_of_target,
    expectation_of,
    request_of,
)
from llmfail.engine.planning.resolved_feature import resolve_feature
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.ports.store_access import write
from llmfail.engine.reports import request_log
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature


async def find_cached_receipt(settings: Settings, ports: Ports, ask: Ask) -> Receipt | None:
    """None when somebody has to be asked. Raises UsageError for what is not configured."""
    started = ports.monotonic()
    feature = resolve_feature(settings, ask)
    target = _first_target(settings, feature.written, ask)
    if target is None or feature.cache_policy is None:
        return None
    expected = expectation_of(settings, feature.written, ask)
    reader = reader_of(ports, feature.cache_policy, expected)
    if reader is None:
        return None
    request = request_of(settings, feature, ask, expected)
    endpoint = endpoint_of_target(settings, target)
    digest = digest_of(request)
    found = await reader.find_fresh([fingerprint(digest, endpoint)])
    if found is None:
        return None
    receipt = Receipt(
        id=ports.new_id(),
        feature=feature.name,
        answer=found.text,
        source="cache",
        tier=0,
        target=target,
        response_model=found.model,
        finish_reason=found.finish_reason,
        parts=found.parts,
        latency_ms=round((ports.monotonic() - started) * 1000),
        ref=ask.ref,
        request=describe_asked(digest, feature.name, ask.targets, expected),
        looked=True,
    )
    prompt = ask.prompt if settings.privacy.log_prompts else None
    await write(ports.store, request_log.log_step(receipt, prompt, settings, ports.wall()))
    return receipt


def _first_target(settings: Settings, feature: Feature, ask: Ask) -> Target | None:
    """The target that is asked first, if nothing but the configuration decides on it."""
    if ask.targets:
        for target in ask.targets:
            settings.provider_of(target)
        return ask.targets[0]
    listed = feature.order in {None, "listed"}
    may_downgrade = any(budget.downgrade_at is not None for budget in settings.budgets)
    has_arms = any(one.feature == feature.name for one in settings.experiments)
    return feature.primary if listed and not may_downgrade and not has_arms else None
