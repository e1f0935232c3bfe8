"""Which features can be answered now, and how healthy a service is by that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmfail.core.admission.circuit import CircuitState
from llmfail.core.model import Target
from llmfail.core.reports.alert import Alert
from llmfail.core.reports.status import Health, TargetStatus


def find_unanswerable(
    targets: Sequence[TargetStatus], features: Mapping[str, Sequence[Target]]
) -> tuple[str, ...]:
    """The features that no model can answer now; ``features`` names the chain of each."""
    usable = {target.target for target in targets if target.is_usable}
    return tuple(name for name, chain in features.items() if not usable & set(chain))


def find_undecided(
    targets: Sequence[TargetStatus], features: Mapping[str, Sequence[Target]]
) -> tuple[str, ...]:
    """The features of which only targets on trial may answer."""
    on_trial = {target.target for target in targets if target.is_on_trial}
    proven = {target.target for target in targets if target.is_usable and not target.is_on_trial}
    return tuple(
        name for name, chain in features.items() if on_trial & set(chain) and not proven & set(chain)
    )


def health_of(
    targets: Sequence[TargetStatus], alerts: Sequence[Alert], unanswerable: Sequence[str], *, readable: bool
) -> Health:
    """A target without a key does not make the status degraded, but a feature without any usable target is
    unhealthy. A state that is not ``readable`` cannot be healthy.
    """
    if unanswerable:
        return "unhealthy"
    closed = all(target.state == CircuitState.CLOSED for target in targets if not target.missing_key)
    critical = any(alert.level == "critical" for alert in alerts)
    return "healthy" if closed and readable and not critical else "degraded"
