"""How each record looks as JSON, and back. A field of the wrong type makes the whole record damaged."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from llmfail.core.breaker import Circuit, Lease, Slot, State
from llmfail.core.credential import Block, Credential
from llmfail.core.outcome import Kind
from llmfail.core.record import dump, load
from llmfail.core.stats import Routing, Tally

FOR_EVER = "for ever"
"""A hold without an end; JSON has no infinity."""


def dump_circuit(circuit: Circuit) -> str:
    return dump(
        {
            "state": circuit.state,
            "generation": circuit.generation,
            "at": circuit.at,
            "failures": circuit.failures,
            "slots": circuit.slots,
            "until": circuit.until,
            "reopenings": circuit.reopenings,
            "successes": circuit.successes,
            "leases": circuit.leases,
            "held_until": FOR_EVER if circuit.held_until == inf else circuit.held_until,
        }
    )


def load_circuit(text: str | None) -> Circuit:
    return load(text, _circuit) or Circuit()


def dump_credential(credential: Credential) -> str:
    return dump({"blocks": credential.blocks})


def load_credential(text: str | None) -> Credential:
    return load(text, _credential) or Credential()


def dump_tally(tally: Tally) -> str:
    return dump(
        {
            "calls": tally.calls,
            "ok": tally.ok,
            "fallbacks": tally.fallbacks,
            "cost": tally.cost,
            "unpriced": tally.unpriced,
            "latencies": tally.latencies,
            "last_error": tally.last_error,
        }
    )


def load_tally(text: str | None) -> Tally:
    return load(text, _tally) or Tally()


def dump_routing(routing: Routing) -> str:
    return dump(
        {
            "asks": routing.asks,
            "fallbacks": routing.fallbacks,
            "degraded": routing.degraded,
            "errors": routing.errors,
            "met_open": routing.met_open,
            "latency_ms": routing.latency_ms,
            "latencies": routing.latencies,
        }
    )


def load_routing(text: str | None) -> Routing:
    return load(text, _routing) or Routing()


def dump_names(names: frozenset[str]) -> str:
    return dump({"names": sorted(names)})


def load_names(text: str | None) -> frozenset[str]:
    """A set of names: the quirks of a target, the targets ever called."""
    return load(text, lambda fields: frozenset(map(_text, fields["names"]))) or frozenset()


def _circuit(fields: dict[str, Any]) -> Circuit:
    held_until = inf if fields["held_until"] == FOR_EVER else fields["held_until"]
    return Circuit(
        state=State(fields["state"]),
        generation=_whole(fields["generation"]),
        at=_number(fields["at"]),
        failures=_whole(fields["failures"]),
        slots=tuple(Slot(*map(_whole, slot)) for slot in fields["slots"]),
        until=_number(fields["until"]),
        reopenings=_whole(fields["reopenings"]),
        successes=_whole(fields["successes"]),
        leases=tuple(Lease(_text(name), _number(until)) for name, until in fields["leases"]),
        held_until=None if held_until is None else _number(held_until),
    )


def _credential(fields: dict[str, Any]) -> Credential:
    return Credential({_text(scope): _block(*block) for scope, block in fields["blocks"].items()})


def _block(kind: str, until: float | None, note: str) -> Block:
    return Block(Kind(kind), None if until is None else _number(until), _text(note))


def _tally(fields: dict[str, Any]) -> Tally:
    last_error = fields["last_error"]
    return Tally(
        calls=_whole(fields["calls"]),
        ok=_whole(fields["ok"]),
        fallbacks=_whole(fields["fallbacks"]),
        cost=_whole(fields["cost"]),
        unpriced=_whole(fields["unpriced"]),
        latencies=_histogram(fields["latencies"]),
        last_error=None if last_error is None else _text(last_error),
    )


def _routing(fields: dict[str, Any]) -> Routing:
    return Routing(
        asks=_whole(fields["asks"]),
        fallbacks=_whole(fields["fallbacks"]),
        degraded=_whole(fields["degraded"]),
        errors=_whole(fields["errors"]),
        met_open=_whole(fields["met_open"]),
        latency_ms=_whole(fields["latency_ms"]),
        latencies=_histogram(fields["latencies"]),
    )


def _histogram(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(bucket): _whole(count) for bucket, count in counts.items()}


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError


def _number(value: object) -> float:
    """A moment; NaN would make every comparison with it false."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:  # noqa: PLR0124
        return float(value)
    raise TypeError


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError
