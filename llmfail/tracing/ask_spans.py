"""The spans of asks, made of what listeners are told: an ask has one, and each call to a target one below it;
a target that was skipped is an event of the ask's span.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field
from opentelemetry.trace import SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.reports.watch_event import (
    AskBegun,
    AttemptEnded,
    CircuitChanged,
    FellBack,
    TargetSkipped,
    WatchEvent,
)
from llmfail.settings.schema.settings import Settings
from llmfail.tracing.span_attributes import (
    Attributes,
    describe_answer,
    describe_ask,
    describe_end,
    describe_provider,
    name_attributes,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_PROPAGATOR = TraceContextTextMapPropagator()
CANCELLED = "cancelled"
"""The error of what was under way when its ask was broken off."""


class _OpenAsk(Struct):
    """``calls`` are those under way, by their targets; ``answered`` is the call that has answered last, with
    the moment of its end.
    """

    begun: AskBegun
    span: Span
    calls: dict[str, Span] = field(default_factory=dict)
    answered: tuple[str, Span, int] | None = None


class AskSpans:
    """``default_parent`` is the traceparent of asks that name none and are begun within no span."""

    def __init__(
        self,
        tracer: Tracer,
        settings: Settings,
        close: Callable[[], None],
        *,
        latest: bool = False,
        default_parent: str | None = None,
    ) -> None:
        self.close = close
        self._tracer = tracer
        self._settings = settings
        self._latest = latest
        self._default_parent = default_parent
        self._open: dict[str, _OpenAsk] = {}

    def begin_ask(self, begun: AskBegun) -> None:
        span = self._tracer.start_span(
            f"llmfail.ask {begun.feature}",
            context=self._find_parent(begun.traceparent),
            kind=SpanKind.INTERNAL,
            attributes=self._name({"ask": begun.id, "feature": begun.feature, "conversation": begun.session}),
        )
        self._open[begun.id] = _OpenAsk(begun, span)

    def begin_call(self, ask_id: str, target: str) -> Mapping[str, str]:
        """The headers that tell the provider of the span of this call."""
        ask = self._open.get(ask_id)
        if ask is None:
            return {}
        begun, model = ask.begun, Target.parse(target).model
        attributes = {
            "operation": begun.operation,
            "model": model,
            "max_tokens": begun.max_tokens or None,
            "stream": begun.stream or None,
            "target": target,
            **describe_provider(self._settings.provider_of(Target.parse(target))),
        }
        span = self._tracer.start_span(
            f"{begun.operation} {model}",
            context=set_span_in_context(ask.span),
            kind=SpanKind.CLIENT,
            attributes=self._name(attributes),
        )
        ask.calls[target] = span
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, set_span_in_context(span))
        return headers

    def tell(self, event: WatchEvent) -> None:
        ask = self._open.get(event.id)
        if ask is None:
            return
        match event:
            case AttemptEnded():
                self._end_call(ask, event)
            case TargetSkipped():
                # Nothing was sent, where its call had begun.
                ask.calls.pop(event.target, None)
                self._add_event(
                    ask,
                    "llmfail.target_skipped",
                    {"target": event.target, "reason": event.reason, "note": event.note or None},
                )
            case CircuitChanged():
                reason = f"{event.old} -> {event.new}"
                self._add_event(
                    ask,
                    "llmfail.circuit_changed",
                    {"target": event.target, "reason": reason, "note": event.why},
                )
            case FellBack():
                self._add_event(ask, "llmfail.fell_back", {"target": event.target, "reason": event.outcome})
            case _:
                pass

    def end_ask(self, ask_id: str, receipt: Receipt | None) -> None:
        """``receipt`` is None for an ask that was broken off."""
        ask = self._open.pop(ask_id, None)
        if ask is None:
            return
        if ask.answered is not None:
            target, span, moment = ask.answered
            if receipt is not None and str(receipt.target) == target:
                span.set_attributes(self._name(describe_answer(receipt)))
            span.end(moment)
        for span in ask.calls.values():
            self._fail(span, CANCELLED)
            span.end()
        if receipt is None:
            self._fail(ask.span, CANCELLED)
        else:
            ask.span.set_attributes(self._name(describe_ask(receipt)))
            if receipt.error is not None:
                ask.span.set_status(StatusCode.ERROR, receipt.error.message)
        ask.span.end()

    def _end_call(self, ask: _OpenAsk, event: AttemptEnded) -> None:
        """The one that answers is ended with its ask, which knows its usage, as of now."""
        span = ask.calls.pop(event.target, None)
        if span is None:
            return
        span.set_attributes(self._name(describe_end(event)))
        if event.outcome != "ok":
            span.set_status(StatusCode.ERROR, event.note or event.outcome)
            span.end()
            return
        if ask.answered is not None:
            ask.answered[1].end(ask.answered[2])
        ask.answered = (event.target, span, time.time_ns())

    def _add_event(self, ask: _OpenAsk, name: str, values: Mapping[str, object]) -> None:
        ask.span.add_event(name, self._name(values))

    def _fail(self, span: Span, error: str) -> None:
        span.set_attributes(self._name({"error": error}))
        span.set_status(StatusCode.ERROR, error)

    def _name(self, values: Mapping[str, object]) -> Attributes:
        return name_attributes(values, latest=self._latest)

    def _find_parent(self, traceparent: str | None) -> Context | None:
        """What the ask names, else the span in which it was begun (None), else that of the environment."""
        if traceparent is None and not get_current_span().get_span_context().is_valid:
            traceparent = self._default_parent
        return None if traceparent is None else _PROPAGATOR.extract({"traceparent": traceparent})
