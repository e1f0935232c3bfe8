"""An operator's changes to a gate: close it, force it open, stop forcing it. Pure changes for a store."""

from __future__ import annotations

from llmfail.core.admission import breaker
from llmfail.core.admission import pause as pauses
from llmfail.core.admission.circuit import Circuit, CircuitState
from llmfail.core.admission.gate import (
    Gate,
    ProviderOverride,
    circuit_write,
)
from llmfail.core.admission.gate_settlement import register_target
from llmfail.core.admission.pause import Pause
from llmfail.core.records.record import (
    Values,
    Write,
    Writes,
    dump,
    load_or_default,
    without_newer,
)


def reset(gate: Gate, values: Values, now: float) -> tuple[Writes, bool]:
    """Close the circuit, forget the pause, blocks and dropped parameters of this target. Whether anything
    changed.
    """
    circuit = load_or_default(values[gate.circuit_key], Circuit)
    writes: dict[str, Write | None] = {
        gate.circuit_key: circuit_write(breaker.reset(circuit, now), gate.rules)
    }
    writes |= {
        key: None for key in (gate.credential_key, gate.dropped_parameters_key) if values[key] is not None
    }
    is_paused = pauses.find_end(load_or_default(values[gate.pause_key], Pause), now) is not None
    is_closed = breaker.view(circuit, now).state is CircuitState.CLOSED and not circuit.failures
    changed = is_paused or not is_closed or len(writes) > 1
    return without_newer({**writes, gate.pause_key: None}, values), changed


def trip(gate: Gate, seconds: float | None, values: Values, now: float) -> tuple[Writes, None]:
    """Force the circuit open for so many seconds, or until a reset (None). Needs the
    ``known_targets_key`` besides the keys.
    """
    until = None if seconds is None else now + seconds
    forced_open = breaker.force_open(load_or_default(values[gate.circuit_key], Circuit), now, until)
    writes = {gate.circuit_key: circuit_write(forced_open, gate.rules), **register_target(gate, values)}
    return without_newer(writes, values), None


def force_open_provider(key: str, seconds: float | None, values: Values, now: float) -> tuple[Writes, None]:
    """Force every target of a provider open; ``key`` is its ``provider_override_key``."""
    until = None if seconds is None else now + seconds
    return without_newer({key: Write(dump(ProviderOverride(until)), until)}, values), None


def reset_provider(key: str, values: Values, _now: float) -> tuple[Writes, bool]:
    """End the override of a provider. Whether there was one."""
    return without_newer({key: None}, values), values[key] is not None
