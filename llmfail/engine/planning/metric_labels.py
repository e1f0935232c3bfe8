"""How the metrics of a configuration name what is counted in them."""

from __future__ import annotations

from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.records.metric_counters import OTHER, join_labels
from llmfail.settings.schema.settings import Settings

ANSWERED = "ok"
"""The status of an ask that has an answer; of any other it is the kind of its error."""


def label_of(settings: Settings, target: Target) -> str:
    """Any caller may name a target; one that the configuration does not have is ``other``."""
    return str(target) if settings.names_target(target) else OTHER


def label_request(receipt: Receipt) -> str:
    status = ANSWERED if receipt.error is None else receipt.error.kind
    return join_labels(receipt.feature, receipt.source, str(receipt.tier), status)


def label_entries(receipt: Receipt, settings: Settings, action: str) -> tuple[str, ...]:
    """Those of its trail with this action."""
    return tuple(
        join_labels(label_of(settings, entry.target), entry.outcome)
        for entry in receipt.trail
        if entry.action == action
    )
