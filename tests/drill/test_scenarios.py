"""The scenes against the real simulator: what is promised, what was seen, and how often who was asked."""

import drill_runs
import pytest

from llmfail.core.errors import UsageError
from llmfail.drill import runner
from llmfail.drill.scenarios import SCENARIOS

PAIR = "{primary: a/one, fallbacks: [b/two]}"
TIER_1 = "{primary: a/one, fallbacks: [a/other, b/two]}"
ALONE = "{primary: a/one}"
SAME = "{primary: a/one, fallbacks: [a/other]}"
TWINS = "{primary: a/one, fallbacks: [twin/two]}"


@pytest.mark.parametrize(
    ("feature", "scene", "target", "requests"),
    [
        (PAIR, "healthy", "a/one", {"a/one": 1}),
        (PAIR, "primary-down", "b/two", {"a/one": 1, "b/two": 1}),
        (PAIR, "circuit-opens", "b/two", {"a/one": 3, "b/two": 4}),
        (PAIR, "fallback-serves", "b/two", {"a/one": 0, "b/two": 1}),
        (PAIR, "recovery", "a/one", {"a/one": 2}),
        (PAIR, "rate-limit", "b/two", {"a/one": 1, "b/two": 2}),
        (PAIR, "hang", "b/two", {"a/one": 1, "b/two": 1}),
        (PAIR, "bad-key", "b/two", {"a/one": 1, "b/two": 2}),
        (PAIR, "everything-down", None, {"a/one": 0}),
        (TIER_1, "primary-down", "b/two", {"a/one": 1, "a/other": 1, "b/two": 1}),
        (TIER_1, "circuit-opens", "b/two", {"a/one": 3, "a/other": 3, "b/two": 4}),
        (TIER_1, "bad-key", "b/two", {"a/one": 1, "b/two": 2}),
        (ALONE, "primary-down", None, {"a/one": 1}),
        (ALONE, "fallback-serves", None, {"a/one": 0}),
        (ALONE, "recovery", "a/one", {"a/one": 2}),
    ],
)
def test_a_scene_goes_well_with_exactly_these_requests(tmp_path, feature, scene, target, requests):
    shown = drill_runs.run_one_scenario(tmp_path, feature, scene)
    assert shown.ok, shown
    assert (str(shown.receipt.target) if shown.receipt.target else None) == target
    assert drill_runs.count_sent_requests(shown) == requests


def test_the_whole_story_is_told_in_order_for_every_feature(tmp_path):
    shown = drill_runs.run_drill(tmp_path, {"f": PAIR, "g": ALONE})
    assert list(shown) == [(feature, scene) for feature in "fg" for scene in SCENARIOS]
    assert all(scene.ok for scene in shown.values())


@pytest.mark.parametrize(
    ("breaker", "failures"),
    [
        ("{failure_threshold: 1}", 1),
        ("{failure_threshold: 7}", 7),
        ("{failure_threshold: 50, volume_threshold: 4, failure_rate: 1.0}", 4),
    ],
)
def test_the_circuit_opens_when_the_configuration_says_so(tmp_path, breaker, failures):
    more = f"models: {{a/one: {{breaker: {breaker}}}}}"
    shown = drill_runs.run_one_scenario(tmp_path, PAIR, "circuit-opens", more=more)
    assert shown.ok
    assert drill_runs.count_sent_requests(shown) == {"a/one": failures, "b/two": failures + 1}
    assert shown.observed.startswith(f"open after {failures} request")


def test_retries_of_a_target_and_of_the_chain_count(tmp_path):
    head = drill_runs.CONFIG_HEAD.replace("retries: 0", "retries: 2, target_retries: 1")
    assert drill_runs.count_sent_requests(
        drill_runs.run_one_scenario(tmp_path, ALONE, "primary-down", head=head)
    ) == {"a/one": 3}
    assert drill_runs.run_one_scenario(tmp_path, PAIR, "circuit-opens", head=head).ok


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "recovers after 10 s by 2 trials"),
        (
            "models: {a/one: {breaker: {recovery_timeout: 2h, max_recovery_timeout: 3h}}}",
            "recovers after 7200 s by 2 trials",
        ),
        ("models: {a/one: {breaker: {success_threshold: 1}}}", "recovers after 10 s by 1 trial"),
    ],
)
def test_recovery_waits_as_long_as_the_circuit_does(tmp_path, more, words):
    shown = drill_runs.run_one_scenario(tmp_path, PAIR, "recovery", more=more)
    assert (shown.ok, shown.summary) == (True, words)


@pytest.mark.parametrize(
    ("feature", "seconds"),
    [
        (PAIR, "8 s"),
        (TIER_1, "16 s"),
        ("{primary: a/one, fallbacks: [b/two], timeout: 300s, deadline: 400s}", "200 s"),
        ("{primary: a/one, fallbacks: [b/two], deadline: 3s}", "1.5 s"),
    ],
)
def test_a_hang_costs_the_time_that_the_configuration_gives_it(tmp_path, feature, seconds):
    shown = drill_runs.run_one_scenario(tmp_path, feature, "hang")
    assert shown.ok
    assert shown.summary == f"a hang costs {seconds}"


@pytest.mark.parametrize("breaker", ["{enabled: false}", "{recovery_timeout: 0}"])
@pytest.mark.parametrize("scene", ["circuit-opens", "fallback-serves", "recovery"])
def test_a_primary_without_a_circuit_is_a_warning(tmp_path, breaker, scene):
    shown = drill_runs.run_one_scenario(
        tmp_path, PAIR, scene, more=f"models: {{a/one: {{breaker: {breaker}}}}}"
    )
    assert (shown.ok, shown.has_warning) == (True, True)
    assert shown.summary.startswith("no circuit guards a/one")


def test_without_any_circuit_an_outage_of_everything_has_no_time_to_tell(tmp_path):
    head = drill_runs.CONFIG_HEAD.replace("breaker: {", "breaker: {enabled: false, ")
    shown = drill_runs.run_one_scenario(tmp_path, PAIR, "everything-down", head=head)
    assert (shown.ok, shown.summary) == (True, "everything down: exit 3, cannot tell when to retry")
    assert drill_runs.count_sent_requests(shown) == {"a/one": 1, "b/two": 1}


def test_everything_down_says_when_the_first_may_be_back(tmp_path):
    more = "models: {b/two: {breaker: {recovery_timeout: 4s}}}"
    shown = drill_runs.run_one_scenario(tmp_path, PAIR, "everything-down", more=more)
    assert shown.observed == "no answer (exit 3, unavailable), retry in 4 s"
    assert shown.receipt.retry_at is not None


def test_a_degrade_step_answers_when_everything_is_down(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], degrade: [cached, {command: ['false']}, {text: sorry}]}"
    shown = drill_runs.run_one_scenario(tmp_path, feature, "everything-down")
    assert shown.ok
    assert shown.summary == "everything down: text answered (tier 4)"


def test_a_step_that_should_answer_and_does_not_breaks_the_promise(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], degrade: [{command: ['false']}]}"
    shown = drill_runs.run_one_scenario(tmp_path, feature, "everything-down")
    assert not shown.ok


def test_what_a_drill_cannot_show_is_told(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], degrade: [cached, queue]}"
    shown = drill_runs.run_one_scenario(tmp_path, feature, "everything-down")
    assert shown.ok
    earnest = "(in earnest a stored answer serves where there is one, else the request is queued)"
    assert shown.summary.endswith(f"tells when to retry {earnest}")


def test_a_feature_without_a_fallback_survives_by_its_steps(tmp_path):
    shown = drill_runs.run_one_scenario(
        tmp_path, "{primary: a/one, degrade: [{text: sorry}]}", "primary-down"
    )
    assert shown.ok
    assert shown.summary == "survives an outage of a (text answers, tier 4)"


@pytest.mark.parametrize(
    ("feature", "scenes", "why"),
    [
        (SAME, {"primary-down", "fallback-serves", "rate-limit", "hang", "bad-key"}, "at a too"),
        (TWINS, {"primary-down", "fallback-serves", "hang"}, "at the same address (a, twin) too"),
    ],
)
def test_fallbacks_that_go_down_with_the_primary_break_the_promise(tmp_path, feature, scenes, why):
    shown = drill_runs.run_drill(tmp_path, {"f": feature})
    assert {name for (_, name), scene in shown.items() if not scene.ok} == scenes
    assert {shown["f", name].summary for name in scenes} == {
        f"does not survive an outage of a: every fallback is {why}"
    }


def test_a_fallback_that_has_no_room_is_no_fallback(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], max_tokens: 500}"
    shown = drill_runs.run_one_scenario(
        tmp_path, feature, "primary-down", more="models: {b/two: {max_output: 100}}"
    )
    assert (shown.ok, shown.summary) == (False, "does not survive an outage of a: exit 3 (unavailable)")


def test_a_primary_that_is_never_asked_ends_the_story(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], max_tokens: 500}"
    more = "models: {a/one: {max_output: 100}}"
    shown = drill_runs.run_drill(tmp_path, {"f": feature}, more=more)
    assert list(shown) == [("f", "healthy")]
    assert shown["f", "healthy"].summary.startswith("a/one does not answer even on a healthy day: too_small")
    assert list(drill_runs.run_drill(tmp_path, {"f": feature}, "recovery", more=more)) == [("f", "recovery")]


def test_one_target_alone_is_a_warning_in_every_scene_of_trouble(tmp_path):
    shown = drill_runs.run_drill(tmp_path, {"f": ALONE})
    assert all(scene.ok for scene in shown.values())
    warned = {name for (_, name), scene in shown.items() if scene.has_warning}
    assert warned == {"primary-down", "fallback-serves", "rate-limit", "hang", "bad-key"}
    assert {shown["f", name].summary for name in warned} == {
        "no fallback: an outage of a is an outage of this feature"
    }


def test_a_feature_without_any_target_says_so(tmp_path):
    shown = drill_runs.run_one_scenario(tmp_path, "{max_tokens: 100}", "primary-down")
    assert not shown.ok
    assert shown.summary.startswith("feature f has no target")


@pytest.mark.parametrize("order", ["round_robin", "weighted", "cost", "quality", "latency"])
def test_an_order_by_chance_or_by_figures_has_one_primary_for_the_whole_story(tmp_path, order):
    feature = f"{{primary: a/one, fallbacks: [b/two, c/three], order: {order}}}"
    assert all(scene.ok for scene in drill_runs.run_drill(tmp_path, {"f": feature}).values())


def test_a_verdict_says_it_in_words(tmp_path):
    assert drill_runs.judge_drill(tmp_path, PAIR).text == (
        "survives an outage of a (b/two answers, tier 2); recovers after 10 s by 2 trials; "
        "a hang costs 8 s; everything down: exit 3, tells when to retry"
    )
    assert drill_runs.judge_drill(tmp_path, ALONE).text == (
        "no fallback: an outage of a is an outage of this feature; recovers after 10 s by 2 trials; "
        "everything down: exit 3, tells when to retry"
    )
    assert drill_runs.judge_drill(tmp_path, PAIR, "healthy").text == "as expected"


def test_features_are_found_by_name_and_alias_each_once(tmp_path):
    read = drill_runs.load_settings(tmp_path, {"f": "{primary: a/one, aliases: [eff]}", "g": PAIR})
    assert [one.name for one in runner.select_features(read, ["g", "eff", "f"])] == ["g", "f"]
    assert [one.name for one in runner.select_features(read, ())] == ["f", "g"]


def test_scenes_are_played_in_the_order_of_the_story():
    assert runner.select_scenarios(["recovery", "healthy", "recovery"]) == ("healthy", "recovery")
    assert runner.select_scenarios(()) == tuple(SCENARIOS)
    with pytest.raises(UsageError, match=r"did you mean bad-key\?"):
        runner.select_scenarios(["bad_key"])
