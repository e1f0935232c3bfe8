"""A forecast beside what really happens: an outage, played with the simulator, a store on disk and a clock
that is set on the one hand, and forecast on the other.
"""

import time
from random import Random

from program import ANTHROPIC, OPENAI, ask_engine_at, build_config

from llmfail.core.evaluation.interval import wilson_interval
from llmfail.core.model import Target
from llmfail.forecast.outages import OutagePlan, RecordedOutage
from llmfail.forecast.simulated_providers import Latency
from llmfail.forecast.simulation import Simulation, play
from llmfail.prices import Catalogue
from llmfail.settings import load
from llmfail.simulator import parse_faults

SECONDS = 36.0
PRIMARY_DOWN, FALLBACK_DOWN = (0.0, 24.0), (12.0, 20.0)
"""Seconds of the outages; where they overlap, nobody answers."""
RATE = 2.0
"""Asks a second."""
SEEDS = 20
BREAKER = {"failure_threshold": 2, "recovery_timeout": "4s", "success_threshold": 1, "backoff": 1}


def faults_at(second):
    down = {"openai": PRIMARY_DOWN, "anthropic": FALLBACK_DOWN}
    names = [name for name, (start, end) in down.items() if start <= second < end]
    return parse_faults(",".join(f"{name}=503" for name in names) or "none")


def ask_for_real(llmfail, simulator, state):
    """The receipts of asks at moments of the outages, each of a store and connections of its own, as those of
    processes are.
    """
    arrivals, began = Random("reality"), time.time()
    found, second = [], arrivals.expovariate(RATE)
    while second < SECONDS:
        simulator.set_faults(faults_at(second))
        found.append(ask_engine_at(llmfail, state, began + second))
        second += arrivals.expovariate(RATE)
    return found


def test_a_compressed_outage_is_as_it_was_forecast(configure, simulator, state, tmp_path):
    llmfail = configure(build_config(simulator, OPENAI, ANTHROPIC, breaker=BREAKER))
    receipts = ask_for_real(llmfail, simulator, state)
    answered = sum(one.ok for one in receipts)
    trails = [entry for one in receipts for entry in one.trail]
    wasted = sum(entry.action == "called" and entry.outcome != "ok" for entry in trails)

    settings = load(llmfail.before[1], llmfail.environ, tmp_path, tmp_path)
    outages = (("openai", PRIMARY_DOWN), ("anthropic", FALLBACK_DOWN))
    plan = OutagePlan(recorded=tuple(RecordedOutage(name, *span) for name, span in outages))
    quick = {Target.parse(name): Latency(0.005, 0.01) for name in (OPENAI, ANTHROPIC)}
    forecasts = [
        play(
            settings,
            Catalogue(),
            Simulation((settings.features["default"],), plan, SECONDS, RATE, seed, quick),
        )["default"]
        for seed in range(SEEDS)
    ]
    share = sum(one.availability for one in forecasts) / SEEDS
    forecast = wilson_interval(round(share * len(receipts)), len(receipts))
    real = wilson_interval(answered, len(receipts))
    assert real.low <= forecast.high, (share, answered)
    assert forecast.low <= real.high, (share, answered)
    counts = sorted(one.wasted_calls for one in forecasts)
    assert counts[0] <= wasted <= counts[-1], (counts, wasted)
