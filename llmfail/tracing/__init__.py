"""Traces for OpenTelemetry, with an extra: a span for each ask, and one for each call within it."""
