"""What an ask and a call add to the metrics of their configuration."""

from __future__ import annotations

from functools import partial

from llmfail.core.model import Target, Usage
from llmfail.core.receipt import Receipt
from llmfail.core.records.metric_counters import (
    OTHER,
    AskMetrics,
    CountedEntry,
    UseMetrics,
    count_ask_metrics,
    count_use_metrics,
    join_labels,
)
from llmfail.core.records.state_keys import ask_metrics_key, use_metrics_key
from llmfail.core.records.statistics import Count
from llmfail.settings.schema.settings import Settings

ANSWERED = "ok"
"""The status of an ask that has an answer; of any other it is the kind of its error."""


def count_ask_in_metrics(receipt: Receipt, settings: Settings) -> Count:
    status = ANSWERED if receipt.error is None else receipt.error.kind
    request = join_labels(receipt.feature, receipt.source, str(receipt.tier), status)
    trail = [
        CountedEntry(entry.action, label_of(settings, entry.target), str(entry.outcome))
        for entry in receipt.trail
    ]
    add = partial(count_ask_metrics, request=request, trail=trail, latency_ms=receipt.latency_ms)
    return Count(ask_metrics_key(settings.configuration_id), AskMetrics, add)


def count_call_in_metrics(
    settings: Settings, feature: str, target: Target, usage: Usage | None, cost: int | None
) -> Count:
    """A call that answered, or may have been charged; ``cost`` in pico-dollars."""
    used = usage or Usage()
    tokens = {
        "input": used.input_tokens,
        "cached_input": used.cached_input_tokens,
        "cache_write": used.cache_write_tokens,
        "output": used.output_tokens,
    }
    label = label_of(settings, target)
    add = partial(count_use_metrics, target=label, feature=feature, tokens=tokens, cost=cost)
    return Count(use_metrics_key(settings.configuration_id), UseMetrics, add)


def label_of(settings: Settings, target: Target) -> str:
    """Any caller may name a target; one that the configuration does not have is ``other``."""
    return str(target) if settings.names_target(target) else OTHER
