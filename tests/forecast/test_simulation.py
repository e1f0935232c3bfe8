"""A forecast is what the real chains and circuits make of outages, and the same for the same seed."""

import pytest

from llmfail.forecast import simulation as playing
from llmfail.forecast.outages import OutageKind, OutagePlan, OutageRate, RecordedOutage
from llmfail.forecast.report import choose_trial, forecast_days_without, make_forecast, sweep_breaker
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
  default: {{primary: a/one, fallbacks: [b/one]}}
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
    trials = 3600 / 60
    assert 3 <= tally.wasted_calls <= 3 + trials
    assert max(tally.failovers) < 1.0


def test_without_a_fallback_the_availability_is_that_of_the_primary(settings):
    tally = play(settings, Catalogue(), scene(settings, "single"))["single"]
    assert tally.availability == pytest.approx(0.5, abs=0.05)


def test_two_providers_of_99_percent_give_the_wanted_availability(settings):
    plan = OutagePlan(rates=(OutageRate("a", 0.99), OutageRate("b", 0.99)))
    found = make_forecast(
        settings, Catalogue(), scene(settings, outages=plan, seconds=30 * DAY), is_swept=False
    )
    feature = found.features["default"]
    assert feature.availability >= 0.995
    assert feature.failover_p95 < 5
    assert feature.is_good


def test_the_same_seed_gives_the_same_figures_and_another_one_others(settings):
    plan = OutagePlan(rates=(OutageRate("a", 0.9), OutageRate("b", 0.9)))

    def figures(seed):
        chosen = scene(settings, outages=plan, seconds=DAY, seed=seed)
        return make_forecast(settings, Catalogue(), chosen, is_swept=False).to_json()

    assert figures(1) == figures(1)
    assert figures(1) != figures(2)


def test_passing_over_healthy_asks_changes_nothing(settings, monkeypatch):
    """Answers and the waits of the breaker take the same time each, so that chance has no part in it."""
    plan = OutagePlan(rates=(OutageRate("a", 0.8, 600.0), OutageRate("b", 0.8, 600.0)))
    monkeypatch.setattr(playing.SimulatedProviders, "draw_latency", lambda _self, _target: 1.0)

    def figures():
        tally = play(settings, Catalogue(), scene(settings, outages=plan, seconds=DAY / 2))["default"]
        return tally.total, tally.answered, tally.served, tally.wasted_calls, tally.cost

    quick = figures()
    monkeypatch.setattr(playing._Run, "_pass_over", lambda *_: False)
    assert figures() == quick


@pytest.mark.parametrize("kind", list(OutageKind))
def test_every_kind_of_outage_is_survived(settings, kind):
    plan = OutagePlan(recorded=(RecordedOutage("a", 0.0, 3600.0, kind),))
    tally = play(settings, Catalogue(), scene(settings, outages=plan))["default"]
    assert tally.availability > 0.99
    assert len(tally.served) == 2


def test_a_day_without_a_provider_tells_what_it_costs(settings):
    days = {one.provider: one for one in forecast_days_without(settings, Catalogue(), scene(settings))}
    assert days["a"].availability == 1.0
    assert days["a"].extra_cost > 0, "the fallback is dearer"
    assert days["b"].extra_cost == 0


def test_a_sweep_recommends_the_most_answers_and_the_fewest_wasted_calls(settings):
    trials = list(sweep_breaker(settings, Catalogue(), scene(settings)))
    assert len(trials) == 9
    best = choose_trial(trials)
    assert best.recovery_timeout == 120.0, "fewer trials are wasted on a long outage"
    assert best.wasted_calls == min(one.wasted_calls for one in trials)
