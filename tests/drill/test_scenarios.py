"""The scenes against the real simulator: what is promised, what was seen, and how often who was asked."""

import drills
import pytest

from llmfail.core.errors import UsageError
from llmfail.drill import runner
from llmfail.drill.scenarios import SCENES

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
    shown = drills.one(tmp_path, feature, scene)
    assert shown.ok, shown
    assert (str(shown.receipt.target) if shown.receipt.target else None) == target
    assert drills.sent(shown) == requests


def test_the_whole_story_is_told_in_order_for_every_feature(tmp_path):
    shown = drills.performed(tmp_path, {"f": PAIR, "g": ALONE})
    assert list(shown) == [(feature, scene) for feature in "fg" for scene in SCENES]
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
    shown = drills.one(tmp_path, PAIR, "circuit-opens", more=more)
    assert shown.ok
    assert drills.sent(shown) == {"a/one": failures, "b/two": failures + 1}
    assert shown.saw.startswith(f"open after {failures} request")


def test_retries_of_a_target_and_of_the_chain_count(tmp_path):
    head = drills.HEAD.replace("retries: 0", "retries: 2, target_retries: 1")
    assert drills.sent(drills.one(tmp_path, ALONE, "primary-down", head=head)) == {"a/one": 3}
    assert drills.one(tmp_path, PAIR, "circuit-opens", head=head).ok


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
    shown = drills.one(tmp_path, PAIR, "recovery", more=more)
    assert (shown.ok, shown.words) == (True, words)


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
    shown = drills.one(tmp_path, feature, "hang")
    assert shown.ok
    assert shown.words == f"a hang costs {seconds}"


@pytest.mark.parametrize("breaker", ["{enabled: false}", "{recovery_timeout: 0}"])
@pytest.mark.parametrize("scene", ["circuit-opens", "fallback-serves", "recovery"])
def test_a_primary_without_a_circuit_is_a_warning(tmp_path, breaker, scene):
    shown = drills.one(tmp_path, PAIR, scene, more=f"models: {{a/one: {{breaker: {breaker}}}}}")
    assert (shown.ok, shown.warned) == (True, True)
    assert shown.words.startswith("no circuit guards a/one")


def test_without_any_circuit_an_outage_of_everything_has_no_time_to_tell(tmp_path):
    head = drills.HEAD.replace("breaker: {", "breaker: {enabled: false, ")
    shown = drills.one(tmp_path, PAIR, "everything-down", head=head)
    assert (shown.ok, shown.words) == (True, "everything down: exit 3, cannot tell when to retry")
    assert drills.sent(shown) == {"a/one": 1, "b/two": 1}


def test_everything_down_says_when_the_first_may_be_back(tmp_path):
    more = "models: {b/two: {breaker: {recovery_timeout: 4s}}}"
    shown = drills.one(tmp_path, PAIR, "everything-down", more=more)
    assert shown.saw == "no answer (exit 3, unavailable), retry in 4 s"
    assert shown.receipt.retry_at is not None


def test_a_degrade_step_answers_when_everything_is_down(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], degrade: [cached, {command: ['false']}, {text: sorry}]}"
    shown = drills.one(tmp_path, feature, "everything-down")
    assert shown.ok
    assert shown.words == "everything down: text answered (tier 4)"


def test_a_step_that_should_answer_and_does_not_breaks_the_promise(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], degrade: [{command: ['false']}]}"
    shown = drills.one(tmp_path, feature, "everything-down")
    assert not shown.ok


def test_what_a_drill_cannot_show_is_told(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], degrade: [cached, queue]}"
    shown = drills.one(tmp_path, feature, "everything-down")
    assert shown.ok
    earnest = "(in earnest a stored answer serves where there is one, else the request is queued)"
    assert shown.words.endswith(f"tells when to retry {earnest}")


def test_a_feature_without_a_fallback_survives_by_its_steps(tmp_path):
    shown = drills.one(tmp_path, "{primary: a/one, degrade: [{text: sorry}]}", "primary-down")
    assert shown.ok
    assert shown.words == "survives an outage of a (text answers, tier 4)"


@pytest.mark.parametrize(
    ("feature", "scenes", "why"),
    [
        (SAME, {"primary-down", "fallback-serves", "rate-limit", "hang", "bad-key"}, "at a too"),
        (TWINS, {"primary-down", "fallback-serves", "hang"}, "at the same address (a, twin) too"),
    ],
)
def test_fallbacks_that_go_down_with_the_primary_break_the_promise(tmp_path, feature, scenes, why):
    shown = drills.performed(tmp_path, {"f": feature})
    assert {name for (_, name), scene in shown.items() if not scene.ok} == scenes
    assert {shown["f", name].words for name in scenes} == {
        f"does not survive an outage of a: every fallback is {why}"
    }


def test_a_fallback_that_has_no_room_is_no_fallback(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], max_tokens: 500}"
    shown = drills.one(tmp_path, feature, "primary-down", more="models: {b/two: {max_output: 100}}")
    assert (shown.ok, shown.words) == (False, "does not survive an outage of a: exit 3 (unavailable)")


def test_a_primary_that_is_never_asked_ends_the_story(tmp_path):
    feature = "{primary: a/one, fallbacks: [b/two], max_tokens: 500}"
    more = "models: {a/one: {max_output: 100}}"
    shown = drills.performed(tmp_path, {"f": feature}, more=more)
    assert list(shown) == [("f", "healthy")]
    assert shown["f", "healthy"].words.startswith("a/one does not answer even on a healthy day: too_small")
    assert list(drills.performed(tmp_path, {"f": feature}, "recovery", more=more)) == [("f", "recovery")]


def test_one_target_alone_is_a_warning_in_every_scene_of_trouble(tmp_path):
    shown = drills.performed(tmp_path, {"f": ALONE})
    assert all(scene.ok for scene in shown.values())
    warned = {name for (_, name), scene in shown.items() if scene.warned}
    assert warned == {"primary-down", "fallback-serves", "rate-limit", "hang", "bad-key"}
    assert {shown["f", name].words for name in warned} == {
        "no fallback: an outage of a is an outage of this feature"
    }


def test_a_feature_without_any_target_says_so(tmp_path):
    shown = drills.one(tmp_path, "{max_tokens: 100}", "primary-down")
    assert not shown.ok
    assert shown.words.startswith("feature f has no target")


@pytest.mark.parametrize("order", ["round_robin", "weighted", "cost", "quality", "latency"])
def test_an_order_by_chance_or_by_figures_has_one_primary_for_the_whole_story(tmp_path, order):
    feature = f"{{primary: a/one, fallbacks: [b/two, c/three], order: {order}}}"
    assert all(scene.ok for scene in drills.performed(tmp_path, {"f": feature}).values())


def test_a_verdict_says_it_in_words(tmp_path):
    assert drills.verdict(tmp_path, PAIR).text == (
        "survives an outage of a (b/two answers, tier 2); recovers after 10 s by 2 trials; "
        "a hang costs 8 s; everything down: exit 3, tells when to retry"
    )
    assert drills.verdict(tmp_path, ALONE).text == (
        "no fallback: an outage of a is an outage of this feature; recovers after 10 s by 2 trials; "
        "everything down: exit 3, tells when to retry"
    )
    assert drills.verdict(tmp_path, PAIR, "healthy").text == "as expected"


def test_features_are_found_by_name_and_alias_each_once(tmp_path):
    read = drills.settings(tmp_path, {"f": "{primary: a/one, aliases: [eff]}", "g": PAIR})
    assert [one.name for one in runner.features_of(read, ["g", "eff", "f"])] == ["g", "f"]
    assert [one.name for one in runner.features_of(read, ())] == ["f", "g"]


def test_scenes_are_played_in_the_order_of_the_story():
    assert runner.scenes_of(["recovery", "healthy", "recovery"]) == ("healthy", "recovery")
    assert runner.scenes_of(()) == tuple(SCENES)
    with pytest.raises(UsageError, match=r"did you mean bad-key\?"):
        runner.scenes_of(["bad_key"])
