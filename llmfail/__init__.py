"""Fallback chains, circuit breakers that outlive the process, and honest exit codes for LLM calls."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from llmfail._version import __version__

if TYPE_CHECKING:
    from llmfail.client.aio import AsyncClient
    from llmfail.client.blocking import Client
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
    from llmfail.core.model import Attachment, Message, Target
    from llmfail.core.receipt import Receipt

__all__ = [
    "AskError",
    "AsyncClient",
    "Attachment",
    "Client",
    "CredentialsMissing",
    "DeadlinePassed",
    "IncompleteAnswer",
    "LlmfailError",
    "Message",
    "OverBudget",
    "Receipt",
    "RequestRefused",
    "SettingsError",
    "Target",
    "Unavailable",
    "UsageError",
    "__version__",
]

_PUBLIC_MODULES = (
    "llmfail.client.blocking",
    "llmfail.client.aio",
    "llmfail.core.errors",
    "llmfail.core.model",
    "llmfail.core.receipt",
)


def __getattr__(name: str) -> object:
    """The public names, imported when they are first used: the package itself costs nothing."""
    if name in __all__:
        for home in _PUBLIC_MODULES:
            found = getattr(import_module(home), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module 'llmfail' has no attribute {name!r}")
