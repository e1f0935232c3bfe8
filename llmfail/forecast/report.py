"""A forecast as figures: what will be answered, by whom, how fast and for how much; and a day without each
provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.evaluation.interval import Interval, nearest_rank
from llmfail.core.receipt import format_usd
from llmfail.forecast.feature_tally import DAY_SECONDS, FeatureTally
from llmfail.forecast.outages import OutagePlan, RecordedOutage
from llmfail.forecast.simulation import Simulation, play
from llmfail.prices import Catalogue
from llmfail.settings.schema.provider_types import BreakerPatch
from llmfail.settings.schema.settings import Settings

WANTED_AVAILABILITY = 0.995
WANTED_FAILOVER_SECONDS = 5.0
SAMPLE_ASKS = 300
"""A day without a provider is like its first so many asks."""
SWEEP_DAYS = 3
SWEEP_THRESHOLDS = (3, 5, 10)
SWEEP_RECOVERIES = (30.0, 60.0, 120.0)


class FeatureForecast(Struct, frozen=True):
    """Times in seconds, money in pico-dollars; None where nothing is known. ``served``: the share of all asks
    that each target answered, in the order of the shares. ``failover_p95``: the time lost to failed calls by
    asks that were answered all the same. ``computed``: the availability of a chain whose providers fail by
    themselves and whose failovers cost nothing; None where outages are not drawn by chance.
    """

    asks: int
    answered: int
    availability: float
    interval: Interval
    served: Mapping[str, float]
    degraded: int
    latency_p50: float | None
    latency_p95: float | None
    failover_p95: float | None
    cost: int | None
    wasted_calls: int
    uncertain_calls: int
    computed: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether it has the availability and the failover time that are wanted."""
        is_quick = self.failover_p95 is None or self.failover_p95 < WANTED_FAILOVER_SECONDS
        return self.availability >= WANTED_AVAILABILITY and is_quick

    def to_json(self) -> dict[str, Any]:
        return {
            "asks": self.asks,
            "answered": self.answered,
            "availability": round(self.availability, 6),
            "computed_availability": self.computed,
            "availability_interval": [round(bound, 6) for bound in self.interval],
            "served": {target: round(share, 6) for target, share in self.served.items()},
            "degraded": self.degraded,
            "latency_p50_ms": _milliseconds(self.latency_p50),
            "latency_p95_ms": _milliseconds(self.latency_p95),
            "failover_p95_ms": _milliseconds(self.failover_p95),
            "cost_usd": None if self.cost is None else format_usd(self.cost),
            "wasted_calls": self.wasted_calls,
            "calls_of_unknown_cost": self.uncertain_calls,
            "good": self.is_good,
        }


class DayWithout(Struct, frozen=True):
    """``extra_cost``: what the day costs more than a healthy one, in pico-dollars; None when unknown."""

    provider: str
    availability: float
    extra_cost: int | None

    def to_json(self) -> dict[str, Any]:
        extra = None if self.extra_cost is None else format_usd(self.extra_cost)
        return {"availability": round(self.availability, 6), "extra_cost_usd": extra}


class BreakerTrial(Struct, frozen=True):
    """What other settings of the breaker make of the same days."""

    failure_threshold: int
    recovery_timeout: float
    availability: float
    wasted_calls: int

    def to_json(self) -> dict[str, Any]:
        return {
            "failure_threshold": self.failure_threshold,
            "recovery_timeout": self.recovery_timeout,
            "availability": round(self.availability, 6),
            "wasted_calls": self.wasted_calls,
        }


class BreakerSweep(Struct, frozen=True):
    """``current``: what the configuration makes of the same days, whatever its settings are."""

    current: BreakerTrial
    trials: tuple[BreakerTrial, ...]

    @property
    def best(self) -> BreakerTrial:
        """The most answers; of equal ones, the fewest wasted calls."""
        return max(self.trials, key=_rank_trial)

    @property
    def is_worthwhile(self) -> bool:
        """Whether the best is better than what is configured."""
        return _rank_trial(self.best) > _rank_trial(self.current)

    @property
    def reason(self) -> str:
        best, now = self.best, self.current
        if not self.is_worthwhile:
            return "none of these answers more, or wastes fewer calls, than what is configured"
        if round(best.availability, 6) > round(now.availability, 6):
            return f"it answers {best.availability:.4%} instead of {now.availability:.4%}"
        return f"it answers as many, and wastes {best.wasted_calls:,} calls instead of {now.wasted_calls:,}"


class Forecast(Struct, frozen=True):
    """``sweep`` is None unless other settings of the breaker were played."""

    features: Mapping[str, FeatureForecast]
    days_without: tuple[DayWithout, ...]
    sweep: BreakerSweep | None = None

    def to_json(self) -> dict[str, Any]:
        document = {
            "features": {name: one.to_json() for name, one in self.features.items()},
            "wanted": {"availability": WANTED_AVAILABILITY, "failover_seconds": WANTED_FAILOVER_SECONDS},
            "day_without": {one.provider: one.to_json() for one in self.days_without},
        }
        if self.sweep is not None:
            document["breaker"] = [one.to_json() for one in self.sweep.trials]
            best = self.sweep.best.to_json() if self.sweep.is_worthwhile else None
            document["recommended"] = {"settings": best, "reason": self.sweep.reason}
        return document


def make_forecast(
    settings: Settings, catalogue: Catalogue, simulation: Simulation, *, is_swept: bool
) -> Forecast:
    """``is_swept``: other settings of the breaker are played as well."""
    return Forecast(
        forecast_features(settings, catalogue, simulation),
        tuple(forecast_days_without(settings, catalogue, simulation)),
        sweep_breaker(settings, catalogue, simulation) if is_swept else None,
    )


def summarize(tally: FeatureTally) -> FeatureForecast:
    total, latencies = tally.total, sorted(tally.latencies)
    return FeatureForecast(
        asks=total,
        answered=sum(tally.answered),
        availability=tally.availability,
        interval=tally.availability_interval(),
        served={str(target): count / total for target, count in tally.served.most_common()},
        degraded=tally.degraded,
        latency_p50=nearest_rank(latencies, 0.5),
        latency_p95=nearest_rank(latencies, 0.95),
        failover_p95=nearest_rank(sorted(tally.failovers), 0.95),
        cost=tally.cost,
        wasted_calls=tally.wasted_calls,
        uncertain_calls=tally.uncertain_calls,
    )


def forecast_features(
    settings: Settings, catalogue: Catalogue, simulation: Simulation
) -> dict[str, FeatureForecast]:
    tallies = play(settings, catalogue, simulation)
    return {
        one.name: replace(
            summarize(tallies[one.name]),
            computed=simulation.outages.compute_availability(
                [link.target for link in settings.chain_of(one)]
            ),
        )
        for one in simulation.features
    }


def forecast_days_without(
    settings: Settings, catalogue: Catalogue, simulation: Simulation
) -> Iterator[DayWithout]:
    """A day in which each provider of the features is down, one after the other."""
    seconds = min(SAMPLE_ASKS / simulation.rate, DAY_SECONDS)
    chains = (link.target.provider for one in simulation.features for link in settings.chain_of(one))
    healthy = replace(simulation, outages=OutagePlan(), seconds=seconds)
    normal = _sum_tallies(play(settings, catalogue, healthy))
    for provider in dict.fromkeys(chains):
        down = OutagePlan(recorded=(RecordedOutage(provider, 0.0, seconds),))
        availability, cost, _ = _sum_tallies(play(settings, catalogue, replace(healthy, outages=down)))
        known = cost is not None and normal[1] is not None
        extra = round((cost - normal[1]) * DAY_SECONDS / seconds) if known else None  # type: ignore[operator]
        yield DayWithout(provider, availability, extra)


def sweep_breaker(settings: Settings, catalogue: Catalogue, simulation: Simulation) -> BreakerSweep:
    """The same outages under other settings of the breaker, each for a few days."""
    short = replace(simulation, seconds=min(simulation.seconds, SWEEP_DAYS * DAY_SECONDS))

    def try_settings(changed: Settings, threshold: int, recovery: float) -> BreakerTrial:
        availability, _, wasted = _sum_tallies(play(changed, catalogue, short))
        return BreakerTrial(threshold, recovery, availability, wasted)

    first = settings.breaker_rules_of(settings.chain_of(simulation.features[0])[0].target)
    return BreakerSweep(
        try_settings(settings, first.failure_threshold, first.recovery_timeout),
        tuple(
            try_settings(_with_breaker(settings, threshold, recovery), threshold, recovery)
            for threshold, recovery in product(SWEEP_THRESHOLDS, SWEEP_RECOVERIES)
        ),
    )


def _rank_trial(trial: BreakerTrial) -> tuple[float, int]:
    return round(trial.availability, 6), -trial.wasted_calls


def _with_breaker(settings: Settings, threshold: int, recovery: float) -> Settings:
    """These two for every target, whatever else its rules say."""
    patch = BreakerPatch(failure_threshold=threshold, recovery_timeout=recovery)
    unset = BreakerPatch().failure_threshold
    clear = {"failure_threshold": unset, "recovery_timeout": unset}
    return replace(
        settings,
        breaker=replace(settings.breaker, **{name: getattr(patch, name) for name in clear}),
        providers={
            name: replace(one, breaker=replace(one.breaker, **clear))
            for name, one in settings.providers.items()
        },
        models={
            target: replace(one, breaker=replace(one.breaker, **clear))
            for target, one in settings.models.items()
        },
    )


def _sum_tallies(tallies: Mapping[str, FeatureTally]) -> tuple[float, int | None, int]:
    """Availability, cost and wasted calls of all features together."""
    total = sum(one.total for one in tallies.values())
    answered = sum(sum(one.answered) for one in tallies.values())
    costs = [one.cost for one in tallies.values()]
    known = [cost for cost in costs if cost is not None]
    cost = sum(known) if len(known) == len(costs) else None
    return answered / total if total else 1.0, cost, sum(one.wasted_calls for one in tallies.values())


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
