"""What an ask would do now: nothing is sent, nothing is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import reservation
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.records.record import NameSet, load_or_default
from llmfail.core.request.ask import Ask
from llmfail.core.routing.attempt_steps import max_rate_limit_wait
from llmfail.core.routing.candidates import find_skip, requirements_of
from llmfail.core.routing.plan import CacheState, Plan, PlanStep, build_step, describe_share
from llmfail.core.routing.rejected_parameters import describe_left_out, names_to_leave_out
from llmfail.engine.answers.answer_cache import reader_of
from llmfail.engine.answers.degrade import step_name
from llmfail.engine.attempt.settlement import refuse_when_store_down
from llmfail.engine.planning.job import Job, plan_job, reservation_request_of

if TYPE_CHECKING:
    from llmfail.engine.engine import Engine


async def preview(engine: Engine, ask: Ask) -> Plan:
    """As ``Engine.plan``."""
    job = await plan_job(engine.settings, engine.routes, ask, engine.read_only_ports, is_preview=True)
    moment = engine.ports.wall()
    reservation_requests = [
        _preview_reservation(engine, job, place, moment) for place in range(len(job.candidates))
    ]
    gates_of = [engine.routes[candidate.target].gate for candidate in job.candidates]
    keys = (
        key
        for gate, reservation_request in zip(gates_of, reservation_requests, strict=True)
        for key in gate.keys_with_budgets(reservation_request)
    )
    values, now = await engine.ports.store.read(list(dict.fromkeys(keys)))
    steps = []
    for candidate, gate, reservation_request in zip(
        job.candidates, gates_of, reservation_requests, strict=True
    ):
        view = gates.view(gate, values, now, reservation_request)
        obstacle = (
            find_skip(candidate, requirements_of(job.request, job.size))
            or refuse_when_store_down(engine.ports, job, reservation_request)
            or view.refusal
        )
        refused = load_or_default(values[gate.dropped_parameters_key], NameSet).names
        left_out = describe_left_out(names_to_leave_out(refused, job.request), job.request)
        known = reservation.load_calibration(gate.address, values)
        hints = "; ".join(filter(None, (left_out, describe_share(view.share))))
        steps.append(build_step(candidate, reservation_request, known, obstacle, hints))
    degrade = tuple(map(step_name, engine.settings.find_feature(ask.feature).degrade))
    return Plan(job.feature, tuple(steps), degrade, await _preview_cache(engine, job, steps), job.arm)


async def _preview_cache(engine: Engine, job: Job, steps: Sequence[PlanStep]) -> CacheState:
    """What a stored answer would do: one of a target before or instead of the first that would be called
    is a hit.
    """
    reader = reader_of(engine.ports, job.cache_policy, job.expected)
    if reader is None:
        return "off"
    prints = engine.fingerprints_of(job)
    first = next((place for place, step in enumerate(steps) if step.decision == "call"), len(prints))
    if await reader.find_fresh(prints[: first + 1]):
        return "hit"
    return "stale" if await reader.find_stale(prints) else "miss"


def _preview_reservation(engine: Engine, job: Job, place: int, moment: float) -> ReservationRequest:
    """What an ask would request of the gate of its candidate at this index, if its turn came at once."""
    candidate, later = job.candidates[place], job.candidates[place + 1 :]
    covers = engine.routes.budget_scopes(job.feature, job.caller, candidate.target, moment)
    others = any(find_skip(one, requirements_of(job.request, job.size)) is None for one in later)
    reservation_request = reservation_request_of(job, candidate, covers, moment, priced=True)
    return replace(reservation_request, max_wait=max_rate_limit_wait(job.deadline, others=others))
