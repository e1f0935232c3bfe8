"""What an operator sees and does: status, reset, trip, and whom a probe asks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from llmfail.core.admission import gate as gates
from llmfail.core.admission import operator_override
from llmfail.core.admission.gate import Gate
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.records import alert_window
from llmfail.core.records.counters import (
    AskCounters,
    CallCounters,
    hour_of,
    sum_ask_counters,
    sum_call_counters,
)
from llmfail.core.records.known_targets import TargetNames
from llmfail.core.records.record import Values, load, load_or_default
from llmfail.core.records.state_keys import (
    ask_counters_key,
    known_targets_key,
    provider_override_key,
)
from llmfail.core.reports.alert import Thresholds, find_alerts
from llmfail.core.reports.health import find_unanswerable, find_undecided, health_of
from llmfail.core.reports.status import Status, StorageCounts, TargetStatus, find_budget_alerts
from llmfail.engine.planning.budget_period import day_of, midnight, zone_of
from llmfail.engine.planning.request_builder import endpoint_of
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports, StoreInfo
from llmfail.engine.reports.budget_status import load_budget_statuses
from llmfail.settings.schema.quantity import LONGEST_DURATION_SECONDS
from llmfail.settings.schema.settings import Settings
from llmfail.store.base import Change

R = TypeVar("R")
SHOWN_HOURS = 24
DAY_SECONDS = 86400


class Operator:
    """Works on the records that the engine decides by."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings = settings
        self._routes = TargetRoutes(settings, ports.catalogue)
        self._ports = ports

    async def status(self, store: StoreInfo, storage: StorageCounts) -> Status:
        """Everything about the last 24 hours, as far as the store can tell."""
        targets = await self._list_targets()
        wall = self._ports.wall()
        hours = range(hour_of(wall) - SHOWN_HOURS, hour_of(wall) + 1)
        keys = [key for target in targets for key in self._record_keys(target, hours)]
        asks = [ask_counters_key(self._settings.configuration_id, hour) for hour in hours]
        lately = self._list_alert_keys()
        overrides = {name: self._override_key(name) for name in self._settings.providers}
        values, now = await self._ports.store.read([*keys, *asks, *lately, *overrides.values()])
        routing = sum_ask_counters(load_or_default(values[key], AskCounters) for key in asks)
        shown = [self._target_status(target, hours, wall, values, now) for target in targets]
        features = {
            name: [entry.target for entry in self._settings.chain_of(feature)]
            for name, feature in self._settings.features.items()
        }
        # Two names of one address show the same counters.
        costs = {self._routes[one.target].gate.address: one.counters.cost for one in shown}
        spent = sum(costs.values()) / float(PICO_PER_DOLLAR)
        budgets = await load_budget_statuses(self._settings, self._ports.store, wall)
        window = alert_window.load_window(lately, values)
        raised = (*find_alerts(window, spent, self._thresholds()), *find_budget_alerts(budgets))
        without = find_unanswerable(shown, features)
        return Status(
            health=health_of(shown, raised, without, readable=not store.is_down),
            targets=tuple(shown),
            counters=routing,
            alerts=raised,
            unanswerable=without,
            undecided=find_undecided(shown, features),
            store=store.name,
            readable=not store.is_down,
            forced_open=_find_unseen_overrides(overrides, shown, values, now),
            budgets=budgets,
            prices_as_of=self._routes.prices.as_of,
            storage=storage,
        )

    async def reset(self, name: str | None) -> tuple[str, ...]:
        """Close the circuits and re-enable the credentials of a provider, a target, or (None) all, and forget
        their asks for the alerts; returns the names of what there was to reset. Raises UsageError for an
        unknown name.
        """
        targets = await self._list_targets()
        named = targets if name is None else self._match_targets(targets, name)
        providers = [one for one in self._settings.providers if name in {None, one}]
        changed = [one for one in providers if await self._release_provider(one)]
        for target in named:
            gate = self._routes[target].gate
            if await self._update(gate, gate.keys, partial(operator_override.reset, gate)):
                changed.append(str(target))
        troubled = await self._forget_alert_window(name)
        return tuple(dict.fromkeys([*changed, *troubled]))

    async def _forget_alert_window(self, name: str | None) -> tuple[str, ...]:
        """Returns the targets whose asks had trouble."""
        keys = self._list_alert_keys()
        troubled = await self._ports.store.update(
            keys,
            partial(
                alert_window.forget_targets, lambda target: name in {None, target, target.partition("/")[0]}
            ),
        )
        return tuple(target for target in troubled if target != alert_window.NO_TARGET)

    async def trip(self, name: str, seconds: float | None) -> tuple[str, ...]:
        """Force a provider (all its targets, whichever they are) or one target open for so long, or (None)
        until ``reset``; returns the name. Raises UsageError for an unknown name and for a time that is none.
        """
        if seconds is not None and not 0 < seconds <= LONGEST_DURATION_SECONDS:
            raise UsageError(
                f"a circuit is forced open for up to {LONGEST_DURATION_SECONDS / DAY_SECONDS:g} days, "
                f"got {seconds:g} seconds"
            )
        if name in self._settings.providers:
            key = self._override_key(name)
            await self._ports.store.update(
                [key], partial(operator_override.force_open_provider, key, seconds)
            )
            return (name,)
        (target,) = self._match_targets((), name)
        gate = self._routes[target].gate
        await self._update(
            gate, [*gate.keys, gate.known_targets_key], partial(operator_override.trip, gate, seconds)
        )
        return (str(target),)

    async def _update(self, gate: Gate, keys: Sequence[str], change: Change[R]) -> R:
        """Whoever listens is told what changed."""
        if self._ports.active_listener is None:
            return await self._ports.store.update(keys, change)
        from llmfail.engine.attempt.event_reports import update_watched

        return await update_watched(self._ports, gate, keys, change)

    def probe_targets(self, name: str | None) -> tuple[Target, ...]:
        """Whom ``probe`` asks: the target, the provider's targets, or one of each provider with a key."""
        if name is not None:
            return self._match_targets(self._settings.list_targets(), name)
        ready = [
            name
            for name, provider in self._settings.providers.items()
            if provider.missing_credential_hint is None
        ]
        firsts = (self._settings.first_target_of(provider) for provider in ready)
        return tuple(target for target in firsts if target is not None)

    async def _release_provider(self, provider: str) -> bool:
        key = self._override_key(provider)
        return await self._ports.store.update([key], partial(operator_override.reset_provider, key))

    async def _list_targets(self) -> tuple[Target, ...]:
        """What the configuration names, and what was called by its providers' names and at their addresses
        although it does not name it.
        """
        keys = {name: self._known_targets_key(name) for name in self._settings.providers}
        values, _ = await self._ports.store.read(list(dict.fromkeys(keys.values())))
        called = sorted(
            target
            for provider, key in keys.items()
            for target in map(_parse_stored, load_or_default(values[key], TargetNames).names)
            if target is not None and target.provider == provider
        )
        return tuple(dict.fromkeys((*self._settings.list_targets(), *called)))

    def _match_targets(self, targets: Sequence[Target], name: str) -> tuple[Target, ...]:
        found = tuple(target for target in targets if name in (target.provider, str(target)))
        if found:
            return found
        provider, _, model = name.partition("/")
        if provider not in self._settings.providers:
            raise UsageError(f"no provider or target is called {name!r}{self._suggest(targets, name)}")
        try:
            return (Target.parse(name),) if model else ()
        except ValueError as error:
            raise UsageError(str(error)) from None

    def _suggest(self, targets: Iterable[Target], name: str) -> str:
        names = [*self._settings.providers, *map(str, targets)]
        near = difflib.get_close_matches(name, names, 1)
        return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self._settings.providers)}"

    def _list_alert_keys(self) -> list[str]:
        window = self._settings.alerts.window
        return alert_window.window_keys(self._settings.configuration_id, self._ports.wall(), window)

    def _override_key(self, provider: str) -> str:
        return provider_override_key(endpoint_of(self._settings.providers[provider], "").address)

    def _known_targets_key(self, provider: str) -> str:
        return known_targets_key(endpoint_of(self._settings.providers[provider], "").address)

    def _record_keys(self, target: Target, hours: range) -> list[str]:
        gate = self._routes[target].gate
        return [*gate.keys, *map(gate.call_counters_key, hours)]

    def _target_status(
        self, target: Target, hours: range, wall: float, values: Values, now: float
    ) -> TargetStatus:
        route = self._routes[target]
        tallies = {
            hour: load_or_default(values[route.gate.call_counters_key(hour)], CallCounters) for hour in hours
        }
        zone = zone_of(self._settings.timezone)
        morning = hour_of(midnight(day_of(wall, zone), zone))
        today = sum_call_counters(tally for hour, tally in tallies.items() if hour >= morning)
        return TargetStatus(
            target=target,
            gate_view=gates.view(route.gate, values, now),
            failure_threshold=route.gate.rules.failure_threshold,
            counters=sum_call_counters(tallies.values()),
            spent_today=None if today.unpriced and not today.cost else today.cost,
            missing_key=route.missing_key,
        )

    def _thresholds(self) -> Thresholds:
        limits = self._settings.alerts
        return Thresholds(
            circuit_open_rate=limits.circuit_open_rate,
            fallback_rate=limits.fallback_rate,
            latency_p95=limits.latency_p95,
            error_rate=limits.error_rate,
            cost_per_day=float(limits.cost_per_day),
            window=limits.window,
            min_requests=limits.min_requests,
        )


def _find_unseen_overrides(
    overrides: Mapping[str, str], shown: Sequence[TargetStatus], values: Values, now: float
) -> dict[str, float | None]:
    """Providers that are forced open and have no target in which it could be seen."""
    seen = {one.target.provider for one in shown}
    found = {
        name: load(values[key], gates.ProviderOverride) for name, key in overrides.items() if name not in seen
    }
    return {name: one.until for name, one in found.items() if one is not None and one.is_active(now)}


def _parse_stored(name: str) -> Target | None:
    """None for a name that was damaged in the store."""
    try:
        return Target.parse(name)
    except ValueError:
        return None
