"""Fallback chains, circuit breakers that outlive the process, and honest exit codes for LLM calls."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from llmfail._version import __version__

if TYPE_CHECKING:
    from llmfail.client.aio import AsyncClient
    from llmfail.client.blocking import Client
    from llmfail.core.conversation import (
        Attachment,
        Message,
        Text,
        Thought,
        Tool,
        ToolCall,
        ToolChoice,
        ToolResult,
    )
    from llmfail.core.errors import (
        AskError,
        CredentialsMissing,
        DeadlinePassed,
        IncompleteAnswer,
        LlmfailError,
        OverBudget,
        RequestRefused,
        SettingsError,
        Unavailable,
        UsageError,
    )
    from llmfail.core.model import Embedding, Target, Usage
    from llmfail.core.pricing.usage_report import DayRange, UsageReport
    from llmfail.core.receipt import Receipt, TrailEntry
    from llmfail.core.reports.cost_estimate import Estimate
    from llmfail.core.reports.scenario import EstimateRequest
    from llmfail.core.reports.status import Status
    from llmfail.core.reports.watch_event import (
        AlertRaised,
        AlertResolved,
        AttemptEnded,
        BudgetCrossed,
        CircuitChanged,
        CredentialDisabled,
        Degraded,
        FellBack,
        TargetSkipped,
    )
    from llmfail.core.routing.plan import Plan

__all__ = [
    "AlertRaised",
    "AlertResolved",
    "AskError",
    "AsyncClient",
    "Attachment",
    "AttemptEnded",
    "BudgetCrossed",
    "CircuitChanged",
    "Client",
    "CredentialDisabled",
    "CredentialsMissing",
    "DayRange",
    "DeadlinePassed",
    "Degraded",
    "Embedding",
    "Estimate",
    "EstimateRequest",
    "FellBack",
    "IncompleteAnswer",
    "LlmfailError",
    "Message",
    "OverBudget",
    "Plan",
    "Receipt",
    "RequestRefused",
    "SettingsError",
    "Status",
    "Target",
    "TargetSkipped",
    "Text",
    "Thought",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolResult",
    "TrailEntry",
    "Unavailable",
    "Usage",
    "UsageError",
    "UsageReport",
    "__version__",
]

_HOMES = {
    "AsyncClient": "llmfail.client.aio",
    "Client": "llmfail.client.blocking",
    "DayRange": "llmfail.core.pricing.usage_report",
    "Estimate": "llmfail.core.reports.cost_estimate",
    "EstimateRequest": "llmfail.core.reports.scenario",
    "Plan": "llmfail.core.routing.plan",
    "Receipt": "llmfail.core.receipt",
    "Status": "llmfail.core.reports.status",
    "TrailEntry": "llmfail.core.receipt",
    "UsageReport": "llmfail.core.pricing.usage_report",
    **dict.fromkeys(
        (
            "AlertRaised",
            "AlertResolved",
            "AttemptEnded",
            "BudgetCrossed",
            "CircuitChanged",
            "CredentialDisabled",
        ),
        "llmfail.core.reports.watch_event",
    ),
    **dict.fromkeys(("Degraded", "FellBack", "TargetSkipped"), "llmfail.core.reports.watch_event"),
    **dict.fromkeys(
        ("Attachment", "Message", "Text", "Thought", "Tool", "ToolCall", "ToolChoice", "ToolResult"),
        "llmfail.core.conversation",
    ),
    **dict.fromkeys(("Embedding", "Target", "Usage"), "llmfail.core.model"),
}
"""Where a public name is defined; the others are errors."""


def __getattr__(name: str) -> object:
    """The public names, imported when they are first used: the package itself costs nothing."""
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "llmfail.core.errors")), name)
    raise AttributeError(f"module 'llmfail' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is to be used, imported or not."""
    return sorted({*globals(), *__all__})
