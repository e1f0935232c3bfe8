"""An experiment over many processes: shares, users who stick, and the report beside scipy's figures."""

import json
import os
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import pytest
from forked_program import start_script
from program import ANTHROPIC, GOOGLE, OPENAI, build_config, finish
from scipy import stats

PROCESSES, AT_ONCE = 20, 5
ASKS_OF_EACH = 12
USERS = 200
WORKER = Path(__file__).with_name("asks_of_users.py")
EXPERIMENT = {
    "name": "letters",
    "feature": "default",
    "arms": [{"target": ANTHROPIC, "weight": 3}, GOOGLE],
    "sticky": "user",
}


@pytest.fixture
def llmfail(simulator, configure):
    prices = {target: {"price": {"input": 1, "output": 5}} for target in (OPENAI, ANTHROPIC, GOOGLE)}
    return configure(build_config(simulator, models=prices, experiments=[EXPERIMENT]))


@pytest.fixture
def receipts(llmfail):
    """The user and the receipt of each ask of twenty processes, five of which run at once."""
    found = []
    for wave in range(0, PROCESSES, AT_ONCE):
        started = [start_worker(llmfail, process) for process in range(wave, wave + AT_ONCE)]
        for process in started:
            with process:
                ran = finish(process)
            assert ran.code == 0, ran.err
            found += map(json.loads, ran.out.splitlines())
    return found


def start_worker(llmfail, number):
    """It asks for twenty users, some of whom others ask for too."""
    users = [f"user-{(number * 17 + place * 7) % USERS}" for place in range(ASKS_OF_EACH)]
    environ = os.environ | llmfail.environ
    return start_script(WORKER, llmfail.before[1], *users, env=environ, stdout=PIPE, stderr=PIPE)


@pytest.mark.stores
def test_twenty_processes_divide_users_as_one(llmfail, receipts):
    arms = {}
    for user, receipt in receipts:
        assert receipt["experiment"] == "letters"
        assert receipt["target"] == receipt["arm"]
        arms.setdefault(user, set()).add(receipt["arm"])
    assert all(len(found) == 1 for found in arms.values()), "a user changed arms"
    counts = Counter(arm for found in arms.values() for arm in found)
    low, high = stats.binom.interval(0.999, len(arms), 0.75)
    assert low <= counts[ANTHROPIC] <= high

    bad = [one["id"] for _, one in receipts if one["arm"] == GOOGLE][:6]
    for id_ in bad:
        assert llmfail("feedback", id_, "bad").code == 0
    report = llmfail("experiment", "report", "letters", "--json").document
    per_arm = Counter(one["arm"] for _, one in receipts)
    for target, arm in report["arms"].items():
        mine = [one for _, one in receipts if one["arm"] == target]
        assert arm["asks"] == per_arm[target] == len(mine)
        wilson = stats.binomtest(len(mine), len(receipts)).proportion_ci(method="wilson")
        assert arm["share_interval"] == pytest.approx([wilson.low, wilson.high], rel=1e-6)
        assert arm["fits"]["rate"] == arm["served"]["rate"] == 1.0
        took = [one["latency_ms"] / 1000 for one in mine]
        mean = stats.t.interval(0.95, len(took) - 1, loc=sum(took) / len(took), scale=stats.sem(took))
        assert arm["latency_s"]["interval"] == pytest.approx(mean, rel=1e-6)
        spent = sum(float(one["cost_usd"]) for one in mine)
        assert arm["cost_usd"]["mean"] * len(mine) == pytest.approx(spent, rel=1e-9)
    assert report["arms"][GOOGLE]["feedback"]["count"] == len(bad)
    welch = stats.ttest_ind(
        *([one["latency_ms"] for _, one in receipts if one["arm"] == arm] for arm in (ANTHROPIC, GOOGLE)),
        equal_var=False,
    )
    assert report["compared"][GOOGLE]["p_values"]["latency_s"] == pytest.approx(welch.pvalue, rel=1e-6)


def test_the_report_fits_a_screen_and_a_wrong_name_is_told(llmfail):
    asked = llmfail.ask("--user", "anna").document
    said = llmfail("feedback", asked["id"][:12].lower(), "0.7")
    assert (said.code, asked["arm"] in said.err) == (0, True)
    shown = llmfail.with_environ(COLUMNS="100")("experiment", "report", "letters").out.decode()
    assert max(map(len, shown.splitlines())) <= 100
    assert "stopping rule" in shown
    assert llmfail("log", "--json").document["feedback"] == 0.7
    wrong = llmfail("experiment", "report", "leters")
    assert (wrong.code, "did you mean letters" in wrong.err) == (2, True)
    assert llmfail("feedback", "01ZZZZZZZZZZZZ", "good").code == 2
    assert llmfail("feedback", asked["id"], "great").code == 2
