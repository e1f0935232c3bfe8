"""Metrics in the text format of Prometheus. The only place that imports prometheus_client, which takes as
long as an ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from llmfail.core.reports.metric import MetricFamily

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of ``format_metrics``."""


def format_metrics(families: Iterable[MetricFamily]) -> str:
    """The text, with its help lines."""
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry).decode()


class _Families(Collector):
    """Metrics that are at hand already."""

    def __init__(self, families: Iterable[MetricFamily]) -> None:
        self._metrics = [_metric_of(family) for family in families]

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _metric_of(family: MetricFamily) -> Metric:
    if family.histogram is not None:
        return HistogramMetricFamily(
            family.name, family.help, buckets=list(family.histogram.buckets), sum_value=family.histogram.total
        )
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = make(family.name, family.help, labels=family.labels)
    for sample in family.samples:
        metric.add_metric(sample.labels, sample.value)
    return metric
