"""``llmfail cost-estimate``: from a configuration to figures; the arithmetic is tested in core."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from llmfail_process import (
    read_store_rows,
    run_llmfail,
    run_on_terminal,
    write_change,
    write_config,
)

from llmfail.core.conversation import Message
from llmfail.core.model import Request, Target, Usage
from llmfail.core.pricing import usage_record
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.statistics import Count, write_counts
from llmfail.core.tokens import token_bounds
from llmfail.simulator import parse_faults

CLAUDE, GPT = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra"
UNLISTED = "groq/nobody-lists-this"
PRICED = {
    "models": {
        CLAUDE: {"price": {"input": 3, "output": 15}},
        GPT: {"price": {"input": 2.5, "output": 10}},
        "anthropic/fast": {"price": {"input": 0.25, "output": 1.25}},
        "openai/nano": {"price": {"input": 0.05, "output": 0.40}},
    },
    "features": {
        "vpr": {"aliases": ["vpr_generator"], "primary": CLAUDE, "fallbacks": [GPT]},
        "pii": {"primary": "anthropic/fast", "fallbacks": ["openai/nano"]},
    },
}


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator, timezone="UTC", **PRICED)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


def estimate(*arguments, piped=None):
    done = run_llmfail("cost-estimate", "--json", *arguments, piped=piped)
    assert done.code == 0, done.err
    return done.json


def months(*arguments):
    return {one["name"]: one["monthly_cost_usd"] for one in estimate(*arguments)["scenarios"]}


def inputs(found, feature="vpr"):
    return {one["target"]: one["input_tokens"] for one in found["features"][feature]["targets"]}


def expected(target, prompt, system=None):
    """What is believed of a target that has not reported anything yet."""
    size = token_bounds.size_of(Request((Message("user", prompt),), system))
    return token_bounds.estimate_input(size, token_bounds.default_calibration(Target.parse(target).model))


def use(feature, target, cost, *, answered=True):
    """A call today."""
    day = datetime.now(UTC).date().isoformat()
    usage = Usage(2000, output_tokens=1000)
    call = CountedCall(ok=answered, fallback=False, latency_ms=1, cost=cost, usage=usage)
    record = usage_record.usage_record_of(day, feature, Target.parse(target), None)
    write_change(write_counts([Count(call, (record,))]))


def test_every_feature_is_estimated_at_2000_and_1000_tokens():
    targets = {name: found["targets"] for name, found in estimate()["features"].items()}
    assert [(one["target"], one["cost_per_request_usd"], one["saving"]) for one in targets["vpr"]] == [
        (CLAUDE, "0.021", 0.0),
        (GPT, "0.015", 0.2857),
    ]
    assert [(one["target"], one["cost_per_1k_usd"], one["saving"]) for one in targets["pii"]] == [
        ("anthropic/fast", "1.75", 0.0),
        ("openai/nano", "0.5", 0.7143),
    ]


def test_the_usual_scenarios_are_shown_and_the_outage_of_the_primaries_provider():
    assert months() == {
        "all-primary": "113.75",
        "fallback:50%": "95.625",
        "aggressive": "77.5",
        "budget": "5",
        "outage:anthropic": "77.5",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-f", "vpr", "--scenario", "all-primary"), {"all-primary": "210"}),
        (("-f", "vpr_generator", "--scenario", "fallback:50%"), {"fallback:50%": "180"}),
        (("-f", "pii", "--scenario", "all-primary"), {"all-primary": "17.5"}),
        (("-f", "vpr", "--requests", "1", "--scenario", "outage:anthropic"), {"outage:anthropic": "0.015"}),
        (
            ("-f", "vpr", "--scenario", "budget", "--scenario", "aggressive"),
            {"budget": "5", "aggressive": "150"},
        ),
        (
            ("-f", "vpr", "--input-tokens", "0", "--output-tokens", "1", "--scenario", "all-primary"),
            {"all-primary": "0.15"},
        ),
    ],
)
def test_features_tokens_requests_and_scenarios_can_be_chosen(arguments, expected):
    assert months(*arguments) == expected


def test_features_are_shown_in_the_order_in_which_they_are_named_and_once():
    assert list(estimate("-f", "pii", "-f", "vpr", "-f", "vpr_generator")["features"]) == ["pii", "vpr"]


def test_no_money_is_a_binary_fraction():
    text = run_llmfail("cost-estimate", "--json").out
    floats = []
    json.loads(text, parse_float=floats.append)
    assert set(floats) == {"0.0", "0.2857", "0.7143"}
    assert all(
        Decimal(one["avg_cost_usd"]) * 10_000 == Decimal(one["monthly_cost_usd"])
        for one in estimate()["scenarios"]
    )


def test_a_prompt_is_counted_with_the_feature_s_system_prompt(config):
    document = json.loads(config.read_text())
    document["features"]["vpr"]["system"] = "x" * 400
    config.write_text(json.dumps(document))
    found = estimate("What is the capital of Austria?")
    assert inputs(found)[GPT] == expected(GPT, "What is the capital of Austria?", "x" * 400)
    assert inputs(found, "pii")["openai/nano"] == expected("openai/nano", "What is the capital of Austria?")
    assert found["features"]["vpr"]["targets"][0]["output_tokens"] == 1000


def test_each_target_counts_a_prompt_in_its_own_way():
    prompt = "What is the capital of Austria? " * 40
    found = estimate(prompt, "--output-tokens", "0")
    assert inputs(found) == {name: expected(name, prompt) for name in (CLAUDE, GPT)}
    assert inputs(found)[CLAUDE] > inputs(found)[GPT]
    costs = [Decimal(one["cost_per_request_usd"]) for one in found["features"]["vpr"]["targets"]]
    prices = Decimal(3), Decimal("2.5")
    assert costs == [
        price * count / 10**6 for price, count in zip(prices, inputs(found).values(), strict=True)
    ]


def test_what_a_target_has_reported_changes_what_is_expected_of_it(simulator):
    prompt = "What is the capital of Austria? " * 40
    before = inputs(estimate(prompt))
    assert run_llmfail("ask", prompt, "-m", CLAUDE).code == 0
    after = inputs(estimate(prompt))
    assert after[CLAUDE] < before[CLAUDE]
    assert after[GPT] == before[GPT]


def test_a_piped_prompt_counts_like_an_argument():
    assert estimate(piped="y" * 40) == estimate("y" * 40) == estimate("-", piped="y" * 40)


def test_exact_asks_each_provider_of_a_chain_to_count(simulator):
    prompt = "What is the capital of Austria? " * 40
    found = estimate(prompt, "-f", "vpr", "--exact")
    assert inputs(found) == {
        CLAUDE: simulator_counts(simulator, prompt),
        GPT: simulator_counts(simulator, prompt),
    }
    assert simulator.count() == 2
    assert read_store_rows() == []


def simulator_counts(simulator, prompt):
    receipt = run_llmfail("ask", prompt, "-m", GPT, "--drill", "none", "--json").json
    return receipt["usage"]["input_tokens"]


def test_exact_asks_nobody_the_same_twice(simulator, config):
    document = json.loads(config.read_text())
    document["features"] = {name: {"primary": CLAUDE} for name in ("one", "two")}
    document["features"]["three"] = {"primary": CLAUDE, "system": "You are brief."}
    config.write_text(json.dumps(document))
    found = estimate("hello", "--exact")
    assert simulator.count() == 2
    assert inputs(found, "one") == inputs(found, "two") != inputs(found, "three")


@pytest.mark.parametrize(
    ("fault", "why"),
    [("anthropic=503", "server_error"), ("anthropic=auth", "auth"), ("anthropic=refuse", "network")],
)
def test_a_provider_that_does_not_count_leaves_the_estimate_and_that_is_said(simulator, fault, why):
    prompt = "What is the capital of Austria? " * 40
    simulator.set_faults(parse_faults(fault))
    done = run_llmfail("cost-estimate", prompt, "--json", "--exact", "-f", "vpr")
    assert done.code == 0
    assert inputs(done.json)[CLAUDE] == expected(CLAUDE, prompt)
    [line] = done.err.splitlines()
    assert f"{CLAUDE}: not counted, but estimated: " in line
    assert why in line


def test_a_provider_that_gives_no_whole_reply_is_not_asked_again(simulator, config):
    document = json.loads(config.read_text())
    document["features"] = {"vpr": {"primary": CLAUDE, "fallbacks": ["anthropic/fast"]}}
    config.write_text(json.dumps(document))
    simulator.set_faults(parse_faults("anthropic=cut"))
    assert len(run_llmfail("cost-estimate", "hello", "--exact").err.splitlines()) == 2
    assert simulator.count("anthropic") == 1


def test_exact_needs_no_key_where_there_is_none(config):
    document = json.loads(config.read_text())
    document["features"] = {"vpr": {"primary": UNLISTED}}
    config.write_text(json.dumps(document))
    done = run_llmfail("cost-estimate", "hello", "--exact")
    assert done.code == 0
    assert "GROQ_API_KEY" in done.err
    assert run_llmfail("-q", "cost-estimate", "hello", "--exact").err == ""


def test_actual_is_what_was_recorded_scaled_to_the_requests():
    for _ in range(3):
        use("vpr", CLAUDE, 21 * 10**9)
    use("vpr", GPT, 15 * 10**9)
    [found] = estimate("--scenario", "actual")["scenarios"]
    assert found["avg_cost_usd"] == "0.0195"
    assert found["monthly_cost_usd"] == "195"
    assert found["served_by"]["vpr"] == [CLAUDE, GPT]
    assert found["note"] == "as 4 recorded answers, 25% by a fallback"


def test_actual_pays_for_failures_and_prices_what_had_no_price():
    use("vpr", CLAUDE, None)
    use("vpr", CLAUDE, 0, answered=False)
    use("vpr", CLAUDE, 21 * 10**9, answered=False)
    assert months("--scenario", "actual", "--requests", "1") == {"actual": "0.042"}


def test_actual_over_an_unknown_price_is_unknown_and_names_it():
    use("vpr", UNLISTED, None)
    use("vpr", "gone/model", None)
    [found] = estimate("--scenario", "actual")["scenarios"]
    assert found["monthly_cost_usd"] is None
    assert f"the price of {UNLISTED}, gone/model is unknown" in found["note"]


def test_actual_is_that_of_asks_in_earnest():
    receipt = run_llmfail("ask", "hello", "-f", "pii", "--json").json
    [found] = estimate("--scenario", "actual", "--requests", "1")["scenarios"]
    assert found["monthly_cost_usd"] == receipt["cost_usd"]


def test_the_source_of_a_price_is_told_with_its_date(config):
    document = json.loads(config.read_text())
    document["models"]["openai/gpt-4o"] = {}
    document["features"] = {"vpr": {"primary": CLAUDE, "fallbacks": ["openai/gpt-4o"]}}
    document["providers"]["openai"]["base_url"] = "https://api.openai.com/v1"
    config.write_text(json.dumps(document))
    own, listed = (one["price"] for one in estimate()["features"]["vpr"]["targets"])
    assert own == {"input": "3", "output": "15", "source": "config", "as_of": None}
    assert listed["source"] == "catalogue"
    day = datetime.fromisoformat(listed["as_of"]).date()
    assert (
        run_llmfail("cost-estimate").lines[-1]
        == f"prices in USD, from the configuration and the catalogue of {day}"
    )


def test_an_outage_says_who_would_serve_each_feature(config):
    document = json.loads(config.read_text())
    document["features"]["lone"] = {"primary": "anthropic/fast", "fallbacks": ["anthropic/claude-sonnet-5-5"]}
    config.write_text(json.dumps(document))
    [found] = estimate("--scenario", "outage:anthropic")["scenarios"]
    assert found["served_by"] == {"vpr": [GPT], "pii": ["openai/nano"], "lone": []}
    row = run_llmfail("cost-estimate", "--scenario", "outage:anthropic").lines[-2]
    assert row.endswith(f"{GPT} (vpr), openai/nano (pii); no target answers lone")


def test_input_tokens_that_are_given_are_not_taken_from_a_pipe():
    assert (
        estimate("--input-tokens", "7", piped="y" * 40)["features"]["vpr"]["targets"][0]["input_tokens"] == 7
    )


def test_an_unknown_price_is_unknown_and_named(tmp_path, simulator, monkeypatch):
    features = {"default": {"primary": CLAUDE, "fallbacks": [GPT, UNLISTED]}}
    monkeypatch.setenv("LLMFAIL_CONFIG", str(write_config(tmp_path / "d.yaml", simulator, features=features)))
    found = estimate("-f", "default", "--scenario", "outage:anthropic", "--scenario", "fallback:50%")
    assert found["features"]["default"]["targets"][2]["cost_per_request_usd"] is None
    assert found["features"]["default"]["targets"][2]["price"] is None
    assert [one["monthly_cost_usd"] for one in found["scenarios"]] == ["150", "180"]
    lost = run_llmfail(
        "cost-estimate", "-f", "default", "--scenario", "all-primary", "--scenario", "outage:openai"
    )
    unlisted = next(line for line in lost.lines if UNLISTED in line)
    assert unlisted.split()[-3:] == ["unknown"] * 3


def test_a_month_that_rests_on_an_unknown_price_says_so(tmp_path, simulator, monkeypatch):
    features = {"default": {"primary": UNLISTED, "fallbacks": [GPT]}}
    monkeypatch.setenv("LLMFAIL_CONFIG", str(write_config(tmp_path / "d.yaml", simulator, features=features)))
    [found] = estimate("--scenario", "all-primary")["scenarios"]
    assert found["monthly_cost_usd"] is None
    assert found["note"] == f"the price of {UNLISTED} is unknown"
    assert (
        f"the price of {UNLISTED} is unknown" in run_llmfail("cost-estimate", "--scenario", "all-primary").out
    )


def test_a_feature_without_a_list_is_on_its_best_or_its_cheapest_usable_target(config):
    document = json.loads(config.read_text())
    document["features"] = {
        "best": {"priority": "strategic"},
        "cheap": {"priority": "template"},
    }
    config.write_text(json.dumps(document))
    found = estimate()["features"]
    assert found["best"]["targets"][0]["target"] == CLAUDE
    assert found["cheap"]["targets"][0]["target"] == "openai/nano"


def test_the_table_shows_money_to_the_last_digit():
    done = run_llmfail("cost-estimate")
    rows = {line.split()[4]: re.split(r"\s{2,}", line)[3:] for line in done.lines[1:5]}
    assert rows == {
        CLAUDE: ["$0.02100", "$21.00", "primary"],
        GPT: ["$0.01500", "$15.00", "28.6%"],
        "anthropic/fast": ["$0.00175", "$1.75", "primary"],
        "openai/nano": ["$0.00050", "$0.50", "71.4%"],
    }
    assert any(re.match(r"all-primary +10,000 +\$0\.0113750* +\$113\.750* ", line) for line in done.lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_names_and_figures_whole(columns):
    with run_on_terminal(columns, "cost-estimate") as screen:
        assert screen.finish() == 0
    assert max(map(len, screen.text.splitlines())) <= columns
    assert re.search(rf"{CLAUDE} +\$0\.02100 +\$21\.00 +primary", screen.text)


def test_nothing_is_sent_and_nothing_is_recorded(simulator):
    assert run_llmfail("cost-estimate", "hello").code == 0
    assert (simulator.count_connections(), read_store_rows()) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--scenario", "actual"), "needs history"),
        (("--exact",), "--exact counts a prompt"),
        (("--scenario", "worst"), "takes all-primary"),
        (("--scenario", "outage:nobody"), "there is no provider 'nobody'"),
        (("-f", "nosuch"), "nosuch"),
        (("hi", "--input-tokens", "5"), "not both"),
        (("--requests", "0"), "--requests"),
        (("--input-tokens", "-1"), "--input-tokens"),
    ],
)
def test_what_cannot_be_estimated_is_a_usage_error(arguments, why):
    done = run_llmfail("cost-estimate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_help_has_examples():
    assert "--scenario outage:anthropic --json" in run_llmfail("cost-estimate", "--help").out
