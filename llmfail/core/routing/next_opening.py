"""When a chain can be asked again: the moment at which the first of its gates admits a call."""

from __future__ import annotations

from collections.abc import Iterable

from llmfail.core.admission.gate import GateView
from llmfail.core.admission.refusal import Refusal
from llmfail.core.receipt import SkipReason

TRIAL_SECONDS = 1.0
"""Seconds after which to look again whether the trials of other processes are over, as they may be."""


def find_next_opening(views: Iterable[GateView], now: float) -> float | None:
    """When the first of these gates admits a call, in epoch seconds: ``now`` when one does already, None when
    none will by itself. Nobody waits for a budget. The views are those of ``gate.view`` with a request: they
    know of rate limits too.
    """
    moments = (now if view.refusal is None else _find_end(view.refusal, now) for view in views)
    return min((moment for moment in moments if moment is not None), default=None)


def _find_end(refusal: Refusal, now: float) -> float | None:
    if refusal.reason is SkipReason.OVER_BUDGET:
        return None
    if refusal.reason is not SkipReason.PROBING:
        return refusal.retry_at
    soon = now + TRIAL_SECONDS
    return soon if refusal.retry_at is None else min(refusal.retry_at, soon)
