"""When some targets may be asked, by what their gates say now, and whether a failure is asked again then.
Nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from llmfail.core.admission import gate as gates
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt, Repeat
from llmfail.core.routing.next_opening import find_next_opening
from llmfail.core.routing.repeat import RepeatRules, find_hopeful, find_repeat
from llmfail.engine.planning.job import Job, reservation_request_of
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports


async def decide_repeat(
    ports: Ports, routes: TargetRoutes, job: Job, receipt: Receipt, rules: RepeatRules
) -> Repeat | None:
    """When a batch asks again what has failed."""
    hopeful = find_hopeful(receipt.trail)
    if receipt.error is None or not hopeful:
        return None
    opening = await _find_opening(ports, routes, job, hopeful)
    return find_repeat(
        receipt.error,
        receipt.trail,
        opening,
        ports.wall(),
        max_pause=rules.max_pause,
        random_number=ports.random(),
    )


async def _find_opening(
    ports: Ports, routes: TargetRoutes, job: Job, targets: AbstractSet[Target]
) -> float | None:
    """In epoch seconds, at least now; None when none of these will be admitted by itself."""
    moment = ports.wall()
    asked = []
    for candidate in job.candidates:
        if candidate.target in targets:
            scopes = routes.budget_scopes(job.feature, job.caller, candidate.target, moment)
            request = reservation_request_of(job, candidate, scopes, moment, priced=False)
            asked.append((routes[candidate.target].gate, request))
    keys = dict.fromkeys(key for gate, request in asked for key in gate.keys_with_budgets(request))
    values, now = await ports.store.read(list(keys))
    return find_next_opening((gates.view(gate, values, now, request) for gate, request in asked), now)
