"""``llmfail plan``: what ask would do now, without doing any of it."""

import re
from decimal import Decimal

import pytest
from llmfail_process import read_store_rows, run_llmfail, run_on_terminal, write_config

CLAUDE, GPT, GROQ = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "groq/openai/gpt-oss-120b"


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


def plan(*arguments, piped=None):
    done = run_llmfail("plan", "--json", *arguments, piped=piped)
    assert done.code == 0, done.err
    return done.json


def decisions(*arguments):
    return {one["target"]: (one["decision"], one["reason"]) for one in plan(*arguments)["candidates"]}


def test_json_is_the_contract_s():
    found = plan("hi there", "--max-tokens", "100")
    assert found.keys() == {"feature", "cache", "candidates", "degrade"}
    assert (found["feature"], found["cache"], found["degrade"]) == ("default", "off", ["cached"])
    first, second, last = found["candidates"]
    keys = ["target", "decision", "reason", "estimated_cost_usd", "max_cost_usd", "note"]
    assert [list(one) for one in (first, second, last)] == [keys] * 3
    assert (first["target"], first["decision"], first["reason"], first["note"]) == (CLAUDE, "call", None, "")
    assert Decimal("0.0015") < Decimal(first["estimated_cost_usd"]) <= Decimal(first["max_cost_usd"])
    assert (last["target"], last["decision"], last["reason"]) == (GROQ, "skip", "no_key")
    assert last["note"] == "set GROQ_API_KEY"


def test_an_unknown_price_makes_unknown_costs():
    [only] = plan("hi", "-m", "openai/nonesuch", "--no-fallback")["candidates"]
    assert (only["estimated_cost_usd"], only["max_cost_usd"]) == (None, None)


def test_the_price_is_that_of_the_moment_and_of_the_size_of_the_prompt(tmp_path, simulator, monkeypatch):
    models = {"anthropic/claude-haiku-5-5": {"context": 10**7}}
    monkeypatch.setenv("LLMFAIL_CONFIG", str(write_config(tmp_path / "d.yaml", simulator, models=models)))
    haiku = ("-m", "anthropic/claude-haiku-5-5", "--max-tokens", "1", "--no-fallback", "-")
    small, large = (plan(*haiku, piped="word " * count)["candidates"][0] for count in (50_000, 200_000))
    times = Decimal(large["estimated_cost_usd"]) / Decimal(small["estimated_cost_usd"])
    assert 15 < times < 25


@pytest.mark.parametrize(
    ("sticky", "whose"), [("user", ""), ("none", " of this ask, and the next may have another")]
)
def test_the_arm_of_an_experiment_is_named_and_first(tmp_path, simulator, monkeypatch, sticky, whose):
    experiment = {"name": "letters", "feature": "default", "arms": [GPT, CLAUDE], "sticky": sticky}
    config = write_config(tmp_path / "e.yaml", simulator, experiments=[experiment])
    monkeypatch.setenv("LLMFAIL_CONFIG", str(config))
    found = plan("hi", "--user", "u1")
    assert (found["experiment"], found["sticky"]) == ("letters", sticky == "user")
    assert found["arm"] == found["candidates"][0]["target"]
    line = run_llmfail("plan", "hi", "--user", "u1").lines[-1]
    assert line in {f"experiment letters: the arm is {arm}{whose}" for arm in (GPT, CLAUDE)}
    receipt = run_llmfail("ask", "hi", "--user", "u1", "--json").json
    assert receipt["arm"] == found["arm"] or sticky == "none"
    assert "experiment" not in plan("hi", "-m", GPT)


def test_a_target_that_ask_would_skip_is_skipped_for_the_same_reason():
    run_llmfail("trip", "anthropic")
    assert decisions("hi") == {CLAUDE: ("skip", "held"), GPT: ("call", None), GROQ: ("skip", "no_key")}


def test_nothing_is_sent_and_nothing_is_recorded(simulator):
    run_llmfail("ask", "hi")
    before = simulator.count_connections(), simulator.count(), read_store_rows()
    for arguments in ((), ("-f", "solo"), ("-m", GPT, "-m", CLAUDE), ("--json",)):
        assert run_llmfail("plan", "hi", *arguments).code == 0
    assert (simulator.count_connections(), simulator.count(), read_store_rows()) == before
    assert len(before[2]) > 0


def test_in_a_directory_without_a_store_none_is_filled(simulator):
    assert run_llmfail("plan", "hi").code == 0
    assert (simulator.count_connections(), read_store_rows()) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "targets"),
    [
        (("-f", "alone"), [GPT]),
        (("-m", GPT, "-m", CLAUDE), [GPT, CLAUDE]),
        (("--no-fallback",), [CLAUDE]),
    ],
)
def test_the_chain_is_that_of_ask(arguments, targets):
    assert list(decisions("hi", *arguments)) == targets


def test_prompt_and_system_prompt_are_paid_for():
    plain, longer = (plan("hi", "--no-fallback", *more) for more in ((), ("-s", "x" * 4000)))
    cost = [Decimal(one["candidates"][0]["estimated_cost_usd"]) for one in (plain, longer)]
    assert cost[1] > cost[0] > 0


def test_a_piped_prompt_counts_like_an_argument():
    assert plan(piped="hello world\n") == plan("hello world")
    assert plan("-", piped="hello world\n") == plan("hello world")


def test_without_a_prompt_the_costs_are_those_of_the_answer():
    done = run_llmfail("plan")
    assert done.code == 0
    assert done.lines[-1] == "without a prompt: the costs are those of the answer"
    shown = plan("--max-tokens", "100", "--no-fallback")["candidates"][0]
    assert Decimal("0.0015") <= Decimal(shown["max_cost_usd"]) < Decimal("0.003")


def test_the_table_has_a_row_per_candidate_and_says_what_stands_behind_them():
    run_llmfail("trip", "anthropic")
    done = run_llmfail("plan", "hi")
    assert done.lines[0] == f"default: {GPT} would be asked first"
    rows = [re.split(r"\s{2,}", line) for line in done.lines[2:5]]
    assert [row[:2] for row in rows] == [[CLAUDE, "skip"], [GPT, "call"], [GROQ, "skip"]]
    assert rows[0][4] == "held: forced open by the operator"
    assert rows[2][4] == "no_key: set GROQ_API_KEY"
    assert done.lines[5] == "when nobody answers: cached"


def test_a_plan_that_nobody_would_be_asked_in_is_a_plan_all_the_same():
    run_llmfail("trip", "openai")
    done = run_llmfail("plan", "hi", "-f", "solo")
    assert done.code == 0
    assert done.lines[0] == "solo: nobody would be asked"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_names_and_figures_whole(columns):
    with run_on_terminal(columns, "plan", "hi") as screen:
        assert screen.finish() == 0
    lines = screen.text.splitlines()
    assert max(map(len, lines)) <= columns
    assert all(any(line.startswith(target) for line in lines) for target in (CLAUDE, GPT, GROQ))
    assert "…" not in screen.text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("-f", "nosuch"), "nosuch"),
        (("-m", "gpt"), "provider/model"),
        (("-m", "nosuch/gpt"), "nosuch"),
    ],
)
def test_what_is_not_configured_is_a_usage_error(arguments, why):
    done = run_llmfail("plan", "hi", *arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_help_has_examples():
    assert "git diff | llmfail plan" in run_llmfail("plan", "--help").out
