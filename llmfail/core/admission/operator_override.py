"""What an operator does to a gate: close it, hold it open, let it go. Pure changes for a store."""

from __future__ import annotations

from llmfail.core.admission import breaker
from llmfail.core.admission.breaker import Circuit, State
from llmfail.core.admission.gate import (
    Gate,
    Hold,
    circuit_write,
    named,
)
from llmfail.core.records.record import (
    Values,
    Write,
    Writes,
    dump,
    ours,
    recall,
)


def reset(gate: Gate, values: Values, now: float) -> tuple[Writes, bool]:
    """Close the circuit and forget blocks and quirks of this target; whether anything changed."""
    circuit = recall(values[gate.circuit_key], Circuit)
    writes: dict[str, Write | None] = {
        gate.circuit_key: circuit_write(breaker.reset(circuit, now), gate.rules)
    }
    writes |= {key: None for key in (gate.credential_key, gate.quirks_key) if values[key] is not None}
    changed = breaker.view(circuit, now).state is not State.CLOSED or circuit.failures > 0 or len(writes) > 1
    return ours(writes, values), changed


def trip(gate: Gate, seconds: float | None, values: Values, now: float) -> tuple[Writes, None]:
    """Hold the circuit open for so long, or (None) until it is reset. Needs ``TARGETS`` besides the keys."""
    until = None if seconds is None else now + seconds
    held = breaker.hold(recall(values[gate.circuit_key], Circuit), now, until)
    writes = {gate.circuit_key: circuit_write(held, gate.rules), **named(gate, values)}
    return ours(writes, values), None


def hold_provider(key: str, seconds: float | None, values: Values, now: float) -> tuple[Writes, None]:
    """Hold every target of a provider, whichever they are, under its ``hold_key``."""
    until = None if seconds is None else now + seconds
    return ours({key: Write(dump(Hold(until)), until)}, values), None


def release_provider(key: str, values: Values, _now: float) -> tuple[Writes, bool]:
    """End a provider's hold; whether there was one."""
    return ours({key: None}, values), values[key] is not None
