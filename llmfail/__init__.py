"""Fallback chains, circuit breakers that outlive the process, and honest exit codes for LLM calls."""

__version__ = "0.1.0"
