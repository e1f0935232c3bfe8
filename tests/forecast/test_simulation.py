"""A forecast is what the real chains and circuits make of outages, and the same for the same seed."""

import pytest

from llmfail.forecast import simulation as playing
from llmfail.forecast.outages import OutageKind, OutagePlan, OutageRate, RecordedOutage
from llmfail.forecast.report import forecast_days_without, make_forecast, sweep_breaker
from llmfail.forecast.simulation import Simulation, play
from llmfail.prices import Catalogue
from llmfail.settings import load

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 10s, deadline: 30s}}
breaker: {{failure_threshold: 3, recovery_timeout: 60s, max_recovery_timeout: 60s, success_threshold: 1}}
providers:
  a: {{api: anthropic, base_url: "https://a.invalid", api_key: key-of-a-0123}}
  b: {{api: gemini, base_url: "https://b.invalid", api_key: key-of-b-0123}}
models:
  a/one: {{price: {{input: 1, output: 1}}}}
  b/one: {{price: {{input: 2, output: 2}}}}
features:
  default: {{primary: a/one, fallbacks: [b/one], hedge: 4s}}
  single: {{primary: a/one, fallbacks: []}}
"""
DAY = 86400.0
HOUR_DOWN = OutagePlan(recorded=(RecordedOutage("a", 0.0, 3600.0),))


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format())
    return load(file, {}, tmp_path, tmp_path)


def scene(settings, name="default", outages=HOUR_DOWN, seconds=7200.0, **more):
    return Simulation((settings.features[name],), outages, seconds, rate=0.2, **more)


def test_a_fallback_answers_through_an_outage_and_few_calls_are_wasted(settings):
    tally = play(settings, Catalogue(), scene(settings))["default"]
    assert tally.availability > 0.99, "a slow answer in a thousand is too late"
    share = tally.served.most_common()[1][1] / tally.total
    assert 0.4 < share < 0.6, "the fallback answers while the primary is down, half of the time"
    hedges = sum(failover in {0.0, 4.0} for failover in tally.failovers)
    trials = 3600 / 60
    assert 3 <= tally.wasted_calls - hedges <= 3 + trials
    assert max(tally.failovers) < 5.0


def test_without_a_fallback_the_availability_is_that_of_the_primary(settings):
    tally = play(settings, Catalogue(), scene(settings, "single"))["single"]
    assert tally.availability == pytest.approx(0.5, abs=0.05)


def test_two_providers_of_99_percent_give_the_wanted_availability(settings):
    plan = OutagePlan(rates=(OutageRate("a", 0.99), OutageRate("b", 0.99)))
    found = make_forecast(
        settings, Catalogue(), scene(settings, outages=plan, seconds=2 * DAY), is_swept=False
    )
    feature = found.features["default"]
    assert feature.availability >= 0.995
    assert feature.failover_p95 < 5
    assert feature.is_good


def test_the_same_seed_gives_the_same_figures_and_another_one_others(settings):
    plan = OutagePlan(rates=(OutageRate("a", 0.9), OutageRate("b", 0.9)))

    def figures(seed):
        chosen = scene(settings, outages=plan, seconds=DAY / 12, seed=seed)
        return make_forecast(settings, Catalogue(), chosen, is_swept=False).to_json()

    assert figures(1) == figures(1)
    assert figures(1) != figures(2)


@pytest.mark.parametrize(("usual", "late"), [(1.0, 1.0), (1.0, 7.5)])
def test_passing_over_healthy_asks_changes_nothing(settings, monkeypatch, usual, late):
    """Answers and the waits of the breaker take the same time each, so that chance has no part in it; one in
    twenty of the primary is late, and a hedge starts.
    """
    plan = OutagePlan(rates=(OutageRate("a", 0.8, 600.0), OutageRate("b", 0.8, 600.0)))

    def draw_latency(self, target):
        is_late = target.provider == "a" and int(self._time.now) % 20 == 0
        return late if is_late else usual

    monkeypatch.setattr(playing.SimulatedProviders, "draw_latency", draw_latency)

    def figures():
        tally = play(settings, Catalogue(), scene(settings, outages=plan, seconds=DAY / 24))["default"]
        counts = tally.total, tally.answered, tally.served, tally.wasted_calls, tally.cost
        return *counts, tally.uncertain_calls, sorted(round(one, 3) for one in tally.failovers)

    quick = figures()
    monkeypatch.setattr(playing.HealthyStretch, "pass_over", lambda *_: False)
    assert figures() == quick


@pytest.mark.parametrize("kind", list(OutageKind))
def test_every_kind_of_outage_is_survived(settings, kind):
    plan = OutagePlan(recorded=(RecordedOutage("a", 0.0, 1800.0, kind),))
    tally = play(settings, Catalogue(), scene(settings, outages=plan, seconds=3600.0))["default"]
    assert tally.availability > 0.99
    assert len(tally.served) == 2


def test_a_day_without_a_provider_tells_what_it_costs(settings):
    days = {one.provider: one for one in forecast_days_without(settings, Catalogue(), scene(settings))}
    assert days["a"].availability == 1.0
    assert days["a"].extra_cost > 0, "the fallback is dearer"
    assert days["b"].extra_cost == 0


def test_a_sweep_recommends_the_most_answers_and_the_fewest_wasted_calls(settings):
    sweep = sweep_breaker(settings, Catalogue(), scene(settings, seconds=1500.0))
    assert len(sweep.trials) == 9
    assert sweep.best.recovery_timeout == 120.0, "fewer trials are wasted on a long outage"
    assert sweep.best.wasted_calls == min(one.wasted_calls for one in sweep.trials)
    assert sweep.is_worthwhile
    assert f"{sweep.best.wasted_calls} calls instead of {sweep.current.wasted_calls}" in sweep.reason


def test_what_is_best_already_is_not_to_be_changed(settings):
    sweep = sweep_breaker(settings, Catalogue(), scene(settings, outages=OutagePlan(), seconds=900.0))
    assert not sweep.is_worthwhile
    assert "none of these" in sweep.reason
