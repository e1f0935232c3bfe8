"""What a Retry-After does to asks: who is left alone, until when, and what the receipt says of it."""

import pytest
from scripted_engine import ScriptedEngine, answer, error

DOWN = error(500)
NEAR = "a/one", "b/one"


def busy(**headers):
    return error(429, "rate_limit_exceeded", **headers)


@pytest.fixture
def stage(tmp_path):
    def make(script, **options):
        return ScriptedEngine(tmp_path, {"b": [DOWN], "c": [DOWN]} | script, **options)

    return make


def trail(receipt):
    return [(str(entry.target), entry.outcome, entry.open_reason) for entry in receipt.trail]


@pytest.mark.parametrize(
    ("hint", "pause", "is_cut"),
    [("1", 1, False), ("3600", 3600, False), ("7200", 3600, True), ("259200", 3600, True)],
)
def test_c5_retry_at_says_when_the_target_is_asked_again(stage, hint, pause, is_cut):
    play = stage({"a": [busy(retry_after=hint), answer()]})
    receipt = play.ask(targets=["a/one"])
    assert (receipt.retry_at, receipt.trail[0].retry_after) == (play.now + pause, float(hint))
    assert ("max_pause" in receipt.error.message) == is_cut
    play.now += pause - 0.5
    assert trail(play.ask(targets=["a/one"])) == [("a/one", "circuit_open", "pause")]
    play.now += 0.5
    assert play.ask(targets=["a/one"]).ok


def test_c5_max_pause_is_a_setting(stage):
    play = stage({"a": [busy(retry_after="7200")]}, more="models: {a/one: {breaker: {max_pause: 10s}}}")
    receipt = play.ask(targets=["a/one"])
    assert receipt.retry_at == play.now + 10
    assert "the Retry-After of 7200 s is cut to 10 s (max_pause)" in receipt.error.message


def test_c5_a_hint_beyond_a_year_is_none_and_the_rate_limit_counts(stage):
    play = stage({"a": [busy(retry_after="1000000000"), DOWN]})
    first = play.ask(targets=["a/one"])
    assert (first.retry_at, first.trail[0].retry_after) == (None, None)
    play.ask(targets=["a/one"])
    assert trail(play.ask(targets=["a/one"])) == [("a/one", "circuit_open", "failures")]


def test_c1_one_failure_after_a_rate_limit_opens_nothing(stage):
    play = stage({"a": [busy(retry_after="1"), DOWN, answer()]})
    play.ask(targets=["a/one"])
    play.now += 1.2
    assert trail(play.ask(targets=["a/one"])) == [("a/one", "server_error", None)]
    assert play.ask(targets=["a/one"]).ok


def test_a_plan_says_that_a_target_is_paused(stage):
    play = stage({"a": [busy(retry_after="30")]})
    play.ask(targets=["a/one"])
    step = play.plan().steps[0]
    assert (step.decision, step.reason, step.open_reason) == ("skip", "circuit_open", "pause")
    assert step.to_json()["open_reason"] == "pause"
    assert step.note.startswith("its Retry-After holds until 20")


def test_a_failure_names_a_pause_as_that(stage):
    play = stage({"a": [busy(retry_after="30")]})
    play.ask(targets=["a/one"])
    message = play.ask(targets=["a/one"]).error.message
    assert "a/one paused (its Retry-After holds until " in message


def test_who_waits_for_a_pause_keeps_the_rounds_for_failures(stage):
    play = stage({"a": [busy(retry_after="1"), DOWN, answer("at last")]}, feature=", retries: 1")
    play.ask(targets=["a/one"], deadline=0.5)
    receipt = play.ask(targets=["a/one"], wait=10.0)
    assert (receipt.answer, trail(receipt)[0]) == ("at last", ("a/one", "circuit_open", "pause"))


def test_who_waits_waits_for_a_paused_target_though_another_one_has_just_failed(stage):
    play = stage({"a": [busy(retry_after="3"), answer("at last")]})
    receipt = play.ask(targets=NEAR, wait=10.0)
    assert (receipt.answer, play.slept) == ("at last", [3.0])


def test_nobody_waits_for_targets_that_have_all_just_failed(stage):
    play = stage({"a": [DOWN]})
    assert not play.ask(targets=NEAR, wait=10.0).ok
    assert (play.slept, play.hosts()) == ([], "ab")


def test_a_wait_ends_with_what_was_last_said_of_each_target(stage):
    """A moment that has passed is no time to try again."""
    play = stage({"a": [busy(retry_after="2"), busy(retry_after="60")], "b": [busy(retry_after="90")]})
    receipt = play.ask(targets=NEAR, wait=30.0)
    assert (receipt.retry_at, play.slept) == (play.now + 60, [2.0])


def test_nobody_waits_for_a_budget(stage):
    more = """\
models: {a/one: {price: {input: 1, output: 1}}}
budgets: [{name: daily, limit: 0.000001, per: day}]"""
    play = stage({"a": [answer()]}, more=more)
    receipt = play.ask(targets=["a/one"], wait=100_000.0)
    assert (receipt.error.code, play.slept) == (4, [])


def test_who_waits_for_a_limit_of_our_own_waits_for_its_moment(stage):
    limited = "models: {a/one: {limits: {requests_per_minute: 1}}}"
    play = stage({"a": [answer()]}, more=limited)
    play.ask(targets=["a/one"])
    receipt = play.ask(targets=["a/one"], wait=70.0, deadline=100.0)
    assert (receipt.ok, play.slept) == (True, [pytest.approx(61.0)])
