"""What an ask and a call add to the metrics of their configuration."""

from __future__ import annotations

from functools import partial

from llmfail.core.model import Target, Usage
from llmfail.core.receipt import Receipt
from llmfail.core.records.joint_write import ADDITION
from llmfail.core.records.metric_counters import (
    OTHER,
    AskMetrics,
    CountedEntry,
    UseMetrics,
    count_ask_metrics,
    count_use_metrics,
    join_labels,
)
from llmfail.core.records.record import (
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    load_or_default,
    without_newer,
)
from llmfail.core.records.state_keys import ask_metrics_key, use_metrics_key
from llmfail.settings.schema.settings import Settings

ANSWERED = "ok"
"""The status of an ask that has an answer; of any other it is the kind of its error."""


def ask_metrics_step(receipt: Receipt, settings: Settings) -> StoreChange:
    status = ANSWERED if receipt.error is None else receipt.error.kind
    request = join_labels(receipt.feature, receipt.source, str(receipt.tier), status)
    trail = [
        CountedEntry(entry.action, label_of(settings, entry.target), str(entry.outcome))
        for entry in receipt.trail
    ]
    key = ask_metrics_key(settings.configuration_id)

    def change(values: Values, _now: float) -> Writes:
        metrics = load_or_default(values[key], AskMetrics)
        counted = count_ask_metrics(metrics, request, trail, receipt.latency_ms)
        return without_newer({key: Write(dump(counted), how=ADDITION)}, values)

    return StoreChange((key,), change)


def use_metrics_step(
    settings: Settings, feature: str, target: Target, usage: Usage | None, cost: int | None
) -> StoreChange:
    """A call that answered, or may have been charged; ``cost`` in pico-dollars."""
    used = usage or Usage()
    tokens = {
        "input": used.input_tokens,
        "cached_input": used.cached_input_tokens,
        "cache_write": used.cache_write_tokens,
        "output": used.output_tokens,
    }
    key = use_metrics_key(settings.configuration_id)
    change = partial(_count_use, key, label_of(settings, target), feature, tokens, cost)
    return StoreChange((key,), change)


def label_of(settings: Settings, target: Target) -> str:
    """Any caller may name a target; one that the configuration does not have is ``other``."""
    return str(target) if settings.names_target(target) else OTHER


def _count_use(
    key: str,
    target: str,
    feature: str,
    tokens: dict[str, int],
    cost: int | None,
    values: Values,
    _now: float,
) -> Writes:
    counted = count_use_metrics(load_or_default(values[key], UseMetrics), target, feature, tokens, cost)
    return without_newer({key: Write(dump(counted), how=ADDITION)}, values)
