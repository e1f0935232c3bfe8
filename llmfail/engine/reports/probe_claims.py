"""Which targets this process asks by itself now, as one step of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from llmfail.core.admission import gate as gates
from llmfail.core.admission.circuit import Circuit, CircuitState
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.records.record import Values, Write, Writes, dump, load_or_default, without_newer
from llmfail.core.records.state_keys import probes_key
from llmfail.core.reports.probe_choice import ProbeCandidate, ProbeLog, choose_probes
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports


async def claim_probes(ports: Ports, routes: TargetRoutes) -> tuple[Target, ...]:
    """Empty where the configuration has no ``probe``."""
    rules = routes.settings.probe
    if rules is None:
        return ()
    targets = [one for one in routes.settings.list_targets() if routes[one].missing_key is None]
    key = probes_key(routes.settings.configuration_id)

    def change(values: Values, now: float) -> tuple[Writes, tuple[Target, ...]]:
        log = load_or_default(values[key], ProbeLog)
        candidates = [_look_at(routes, target, values, now) for target in targets]
        after, chosen = choose_probes(log, candidates, rules.targets, rules.every, now)
        return ({} if after is log else without_newer({key: Write(dump(after))}, values)), chosen

    keys = dict.fromkeys([key, *(one for target in targets for one in routes[target].gate.keys)])
    return await ports.store.update(list(keys), change)


async def probe_until_decided(
    ports: Ports, routes: TargetRoutes, target: Target, probe: Callable[[Target], Awaitable[Receipt]]
) -> list[Receipt]:
    """As many trials as close its circuit, as long as they succeed."""
    receipts = [await probe(target)]
    trials = routes[target].gate.rules.success_threshold
    while receipts[-1].ok and len(receipts) < trials and await _is_half_open(ports, routes, target):
        receipts.append(await probe(target))
    return receipts


async def _is_half_open(ports: Ports, routes: TargetRoutes, target: Target) -> bool:
    """Whether a further trial would be admitted, and would tell something."""
    gate = routes[target].gate
    values, now = await ports.store.read(gate.keys)
    view = gates.view(gate, values, now)
    return view.state == CircuitState.HALF_OPEN and view.refusal is None


def _look_at(routes: TargetRoutes, target: Target, values: Values, now: float) -> ProbeCandidate:
    gate = routes[target].gate
    view = gates.view(gate, values, now)
    last = load_or_default(values[gate.circuit_key], Circuit).at
    return ProbeCandidate(target, view.state != CircuitState.CLOSED, view.refusal is None, last)
