"""Arms on live traffic: first in the chain, and in every other way like any target."""

import pytest
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.arm_choice import ArmChoice
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.reports.experiment_query import (
    load_experiment_report,
    load_log,
    record_feedback,
)

EXPERIMENT = """experiments:
  - {{name: letters, feature: default, sticky: {sticky}, arms: [b/one, d/one]{more}}}
"""
B, D = Target.parse("b/one"), Target.parse("d/one")


@pytest.fixture
def engine(tmp_path):
    def build(script=None, sticky="user", more="", **options):
        text = EXPERIMENT.format(sticky=sticky, more=more)
        provider = '  d: {api: openai, base_url: "http://d.invalid/v1", api_key: key-of-d-0123}\n'
        healthy = {host: [answer(f"from {host}")] for host in "abcd"}
        return ScriptedEngine(tmp_path, healthy | (script or {}), more=provider + text, **options)

    return build


def report(found):
    return run_sync(load_experiment_report(found.settings, found.ports, "letters"))


def arm_counters(found):
    return {arm.target: arm.counters for arm in report(found).arms}


def user_of(found, target):
    """A user whose arm this is."""
    for number in range(100):
        if found.ask(user=f"u{number}").arm.target == target:
            return f"u{number}"
    raise AssertionError("nobody")


def test_the_arm_is_first_whether_it_is_in_the_chain_or_not(engine):
    found = engine()
    for target, host in ((B, "b"), (D, "d")):
        receipt = found.ask(user=user_of(found, target))
        assert (receipt.answer, receipt.tier, receipt.target) == (f"from {host}", 0, target)
        assert receipt.arm == ArmChoice("letters", target)
        assert receipt.to_json()["arm"] == str(target)
        assert receipt.to_json()["experiment"] == "letters"


def test_an_arm_that_fails_falls_back_and_its_circuit_opens_as_any(engine):
    found = engine({"d": [error(503)]})
    user = user_of(found, D)
    receipts = [found.ask(user=user) for _ in range(3)]
    assert {(one.answer, one.arm.target) for one in receipts} == {("from a", D)}
    assert receipts[-1].trail[0].outcome == "circuit_open"
    counters = arm_counters(found)["d/one"]
    assert (counters.served, counters.judged) == (0, 0)
    assert counters.latency.count == counters.asks


def test_an_answer_that_does_not_fit_counts_against_the_arm(engine):
    found = engine({"d": [answer("no"), answer("from d")]}, feature=", expect: {regex: from}")
    user = user_of(found, D)
    found.ask(user=user)
    counters = arm_counters(found)["d/one"]
    assert (counters.judged, counters.fit, counters.asks) == (2, 1, 2)


@pytest.mark.parametrize("sticky", ["user", "session"])
def test_whoever_sticks_keeps_the_arm_and_others_are_divided_one_by_one(engine, sticky):
    found = engine(sticky=sticky)
    assert len({found.ask(**{sticky: "anna"}).arm for _ in range(10)}) == 1
    assert {found.ask().arm.target for _ in range(30)} == {B, D}
    assert {found.ask(**{"session" if sticky == "user" else "user": "anna"}).arm for _ in range(30)} == {
        ArmChoice("letters", B, is_sticky=False),
        ArmChoice("letters", D, is_sticky=False),
    }


def test_who_names_targets_is_in_no_experiment(engine):
    found = engine()
    receipt = found.ask(user="anna", targets=["c/one"])
    assert (receipt.answer, receipt.arm) == ("from c", None)
    assert "arm" not in receipt.to_json()


def test_an_experiment_ends_when_it_is_over(engine):
    found = engine(more=", until: 2023-11-14T22:13:21Z")  # the clock stands a second before
    assert found.ask(user="anna").arm is not None
    found.now += 1
    assert found.ask(user="anna").arm is None
    assert not report(found).is_running


def test_a_stored_answer_is_that_of_the_arm(engine):
    found = engine(cached=True)
    user = user_of(found, D)
    again = found.ask(user=user)
    assert (again.source, again.answer, again.arm.target) == ("cache", "from d", D)
    assert arm_counters(found)["d/one"].hits >= 1


def test_feedback_counts_once_for_each_answer(engine):
    found = engine()
    receipt = found.ask(user=user_of(found, D))
    give = lambda id_, score: run_sync(record_feedback(found.ports, id_, score))  # noqa: E731
    give(receipt.id, "bad")
    kept = give(receipt.id, 0.75)
    assert (kept.arm, kept.experiment, kept.score) == ("d/one", "letters", 0.75)
    counters = arm_counters(found)["d/one"]
    assert (counters.feedback.count, counters.feedback.mean) == (1, 0.75)
    logged = {one["id"]: one.get("feedback") for one in run_sync(load_log(found.ports, 100))}
    assert logged[receipt.id] == 0.75
    assert sum(score is not None for score in logged.values()) == 1


def test_feedback_is_kept_for_an_ask_without_an_arm(engine):
    found = engine()
    receipt = found.ask(targets=["c/one"])
    run_sync(record_feedback(found.ports, receipt.id, "good"))
    assert run_sync(load_log(found.ports, 1))[0]["feedback"] == 1.0


@pytest.mark.parametrize(
    ("id_", "score", "said"),
    [
        ("id0", 2, "0 to 1"),
        ("id0", "fine", "0 to 1"),
        ("nobody", "good", "no request"),
        ("", "good", "no request"),
        ("id", "good", "say more"),
    ],
)
def test_feedback_that_means_nothing_is_refused(engine, id_, score, said):
    found = engine()
    found.ask()
    found.ask()
    with pytest.raises(UsageError, match=said):
        run_sync(record_feedback(found.ports, id_, score))


def test_a_plain_ask_keeps_nothing_of_experiments(engine, tmp_path):
    found = engine()
    found.ask(targets=["c/one"])
    values, _ = run_sync(found.ports.store.read(["feedback/0"]))
    assert values == {"feedback/0": None}
    assert all(counters.asks == 0 for counters in arm_counters(found).values())
