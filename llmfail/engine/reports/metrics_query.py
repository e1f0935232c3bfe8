"""The metrics of this configuration as they are read from the store."""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.records.metric_counters import AskMetrics, UseMetrics
from llmfail.core.records.record import load_or_default
from llmfail.core.records.state_keys import ask_metrics_key, use_metrics_key
from llmfail.core.reports.metric import MetricFamily, MetricSources, build_families
from llmfail.core.reports.status import Status
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.settings import Settings


async def load_metrics(settings: Settings, ports: Ports, status: Status) -> tuple[MetricFamily, ...]:
    """Beside a status, so that both say the same."""
    asks, use = ask_metrics_key(settings.configuration_id), use_metrics_key(settings.configuration_id)
    values, _ = await ports.store.read([asks, use])
    named = tuple(one for one in status.targets if settings.names_target(one.target))
    sources = MetricSources(
        replace(status, targets=named),
        load_or_default(values[asks], AskMetrics),
        load_or_default(values[use], UseMetrics),
        tuple(settings.features),
    )
    return build_families(sources)
