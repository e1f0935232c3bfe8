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


def label_trail(receipt: Receipt, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The calls of an ask, and the targets that it skipped."""
    called: list[str] = []
    skipped: list[str] = []
    for entry in receipt.trail:
        label = join_labels(label_of(settings, entry.target), entry.outcome)
        (called if entry.action == "called" else skipped).append(label)
    return tuple(called), tuple(skipped)
