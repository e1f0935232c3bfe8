"""In which order the candidates of an ask are tried, and when the second one is asked beside a late first: by
what the feature says, what is spent of budgets, and how long targets took in the last day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import budget as budgets
from llmfail.core.admission import hedge_budget as hedges
from llmfail.core.admission.budget_holds import load_spending
from llmfail.core.model import Target
from llmfail.core.records.counters import (
    CallCounters,
    hour_of,
    percentile,
    sum_call_counters,
)
from llmfail.core.records.record import (
    Record,
    Write,
    Writes,
    dump,
    load_or_default,
)
from llmfail.core.request.ask import Ask
from llmfail.core.routing.candidates import (
    Candidate,
    OrderInputs,
    fractions_of,
    order_candidates,
    order_of,
)
from llmfail.engine.planning.budget_scope import Caller
from llmfail.engine.planning.experiment_arm import put_arm_first
from llmfail.engine.planning.resolved_feature import ResolvedFeature
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.types import Feature

LATENCY_HOURS = 24
TURN_LIFETIME = 30 * 24 * 3600.0


class RoundRobinTurn(Record, frozen=True):
    """How many turns a rotation has taken."""

    taken: int = 0


class CandidateOrder(Struct, frozen=True):
    """The candidates as the feature or the arm has them, as they are tried, and whether a budget near its
    limit has put the cheapest first.
    """

    listed: tuple[Candidate, ...]
    tried: tuple[Candidate, ...]
    is_near_budget: bool


async def choose_order(
    routes: TargetRoutes, resolved: ResolvedFeature, ask: Ask, candidates: tuple[Candidate, ...], ports: Ports
) -> CandidateOrder:
    feature = resolved.written
    listed = await _arrange(routes, feature, ask, candidates, ports)
    if resolved.arm is not None:
        listed = put_arm_first(listed, resolved.arm)
    may_downgrade = routes.may_downgrade and not ask.targets
    if not may_downgrade or not await _is_near_limit(routes, feature, ask, listed, ports):
        return CandidateOrder(listed, listed, is_near_budget=False)
    tried = order_candidates(listed, "cost", OrderInputs(at=ports.wall()))
    return CandidateOrder(listed, tried, is_near_budget=True)


async def _arrange(
    routes: TargetRoutes, feature: Feature, ask: Ask, candidates: tuple[Candidate, ...], ports: Ports
) -> tuple[Candidate, ...]:
    order = feature.order or ("listed" if feature.primary is not None else order_of(feature.priority))
    if ask.targets or order == "listed" or len(candidates) < 2:
        return candidates
    match order:
        case "latency":
            candidates = await _add_latency(routes, candidates, ports)
            return order_candidates(candidates, order, OrderInputs(ports.wall()))
        case "round_robin" | "weighted" if ask.session is not None:
            return _order_in_session(order, ask.session, candidates, ports.wall())
        case "round_robin":
            turn = await ports.store.update(*_turn_update(routes.turn_key(feature.name)))
            return order_candidates(candidates, order, OrderInputs(ports.wall(), turn=turn))
        case "weighted":
            return order_candidates(
                candidates, order, OrderInputs(ports.wall(), [ports.random() for _ in candidates])
            )
        case _:
            return order_candidates(candidates, order, OrderInputs(ports.wall()))


def _order_in_session(
    order: Literal["round_robin", "weighted"], session: str, candidates: tuple[Candidate, ...], at: float
) -> tuple[Candidate, ...]:
    """A change of the target would cost a session what the provider has cached of it, and its thoughts."""
    fractions = fractions_of(session, candidates)
    turn = fractions.index(max(fractions))
    return order_candidates(candidates, order, OrderInputs(at, fractions, turn))


async def _is_near_limit(
    routes: TargetRoutes, feature: Feature, ask: Ask, candidates: Sequence[Candidate], ports: Ports
) -> bool:
    """Whether any budget of theirs is so far spent that cheaper targets should come first."""
    moment = ports.wall()
    covers = [
        cover
        for one in candidates
        for cover in routes.budget_scopes(feature.name, Caller(ask.user, ask.key), one.target, moment)
        if cover.downgrade_at is not None
    ]
    if not covers:
        return False
    values, now = await ports.store.read(list({key for cover in covers for key in cover.keys}))
    return any(budgets.is_near_limit(load_spending(cover, values, now), cover) for cover in covers)


async def _add_latency(
    routes: TargetRoutes, candidates: tuple[Candidate, ...], ports: Ports
) -> tuple[Candidate, ...]:
    """The median latency of the last day; a target without one is tried first, so that it gets one."""
    tallies = await _load_last_day(routes, candidates, ports)
    return tuple(replace(one, latency_ms=_median(tallies[one.target])) for one in candidates)


async def _load_last_day(
    routes: TargetRoutes, candidates: Sequence[Candidate], ports: Ports
) -> dict[Target, CallCounters]:
    hour = hour_of(ports.wall())
    hours = range(hour - LATENCY_HOURS, hour + 1)
    gates = {one.target: routes[one.target].gate for one in candidates}
    keys = {target: [gate.call_counters_key(at) for at in hours] for target, gate in gates.items()}
    values, _ = await ports.store.read([key for found in keys.values() for key in found])
    return {
        target: sum_call_counters(
            load_or_default(values[key], CallCounters) for key in found if values[key] is not None
        )
        for target, found in keys.items()
    }


def _median(tally: CallCounters) -> float | None:
    """None without any call; a target that was called and never answered is the slowest of all."""
    if not tally.calls:
        return None
    return percentile(tally.latencies, 0.5) or inf


async def choose_hedge_delay(
    routes: TargetRoutes, feature: Feature, ask: Ask, candidates: Sequence[Candidate], ports: Ports
) -> float | None:
    """Seconds; None where nobody is to be asked besides the first."""
    wanted = feature.hedge if ask.hedge is None else ask.hedge
    if wanted is None or not ask.fallback or len(candidates) < 2:
        return None
    if not isinstance(wanted, str):
        return wanted
    first = next((one for one in candidates if one.missing_key is None), candidates[0])
    tallies = await _load_last_day(routes, [first], ports)
    return hedges.hedge_delay(tallies[first.target])


def _turn_update(key: str) -> tuple[list[str], partial[tuple[Writes, int]]]:
    return [key], partial(_take_turn, key)


def _take_turn(key: str, values: Mapping[str, str | None], now: float) -> tuple[Writes, int]:
    taken = load_or_default(values[key], RoundRobinTurn).taken
    return {key: Write(dump(RoundRobinTurn(taken + 1)), now + TURN_LIFETIME)}, taken
