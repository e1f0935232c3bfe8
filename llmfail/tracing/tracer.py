"""Where spans go: to the tracer of the program around us, where it has set one up, else by OTLP over HTTP to
what the variables ``OTEL_EXPORTER_OTLP_*`` name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmfail._version import __version__
from llmfail.core.errors import UsageError
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.tracing.ask_spans import AskSpans

EXPORT_SECONDS = 2
"""How long an export may take, unless a variable says otherwise: a command waits for it when it ends."""
PARENT_VARIABLE = "TRACEPARENT"


def open_tracing(settings: Settings, environ: Mapping[str, str]) -> AskSpans:
    """Raises UsageError where the extra is not installed."""
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError(f"`traces: otlp` needs an extra: pip install 'llmfail[otel]' ({error})") from error
    from llmfail.tracing.ask_spans import AskSpans
    from llmfail.tracing.span_attributes import LATEST, OPT_IN_VARIABLE

    provider, close = trace.get_tracer_provider(), lambda: None
    if not isinstance(provider, TracerProvider):
        named = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "llmfail"}
        provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        wanted = environ.get("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") or environ.get("OTEL_EXPORTER_OTLP_TIMEOUT")
        exporter = OTLPSpanExporter(timeout=None if wanted else EXPORT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        close = provider.shutdown
    return AskSpans(
        provider.get_tracer("llmfail", __version__),
        settings,
        close,
        latest=LATEST in environ.get(OPT_IN_VARIABLE, "").split(","),
        default_parent=environ.get(PARENT_VARIABLE),
    )
