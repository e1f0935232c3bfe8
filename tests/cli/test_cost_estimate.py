"""``llmfail cost-estimate``: from a configuration to figures; the arithmetic is tested in core."""

import json
import re
from decimal import Decimal

import pytest
from commands import configure, llmfail, on_terminal, records

CLAUDE, GPT, GROQ = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "groq/openai/gpt-oss-120b"
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
    path = configure(tmp_path / "c.yaml", simulator, **PRICED)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


def estimate(*arguments, piped=None):
    done = llmfail("cost-estimate", "--json", *arguments, piped=piped)
    assert done.code == 0, done.err
    return done.json


def months(*arguments):
    return {one["name"]: one["monthly_cost_usd"] for one in estimate(*arguments)["scenarios"]}


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
    text = llmfail("cost-estimate", "--json").out
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
    features = estimate("y" * 40)["features"]
    assert [features[name]["targets"][0]["input_tokens"] for name in ("vpr", "pii")] == [110, 10]
    assert features["vpr"]["targets"][0]["output_tokens"] == 1000


def test_a_piped_prompt_counts_like_an_argument():
    assert estimate(piped="y" * 40) == estimate("y" * 40) == estimate("-", piped="y" * 40)


def test_input_tokens_that_are_given_are_not_taken_from_a_pipe():
    assert (
        estimate("--input-tokens", "7", piped="y" * 40)["features"]["vpr"]["targets"][0]["input_tokens"] == 7
    )


def test_an_unknown_price_is_unknown_and_named(tmp_path, simulator, monkeypatch):
    monkeypatch.setenv("LLMFAIL_CONFIG", str(configure(tmp_path / "d.yaml", simulator)))
    found = estimate("-f", "default", "--scenario", "outage:anthropic", "--scenario", "fallback:50%")
    assert found["features"]["default"]["targets"][2]["cost_per_request_usd"] is None
    assert [one["monthly_cost_usd"] for one in found["scenarios"]] == ["150", "180"]
    lost = llmfail(
        "cost-estimate", "-f", "default", "--scenario", "all-primary", "--scenario", "outage:openai"
    )
    groq = next(line for line in lost.lines if GROQ in line)
    assert groq.split()[-3:] == ["unknown"] * 3


def test_a_month_that_rests_on_an_unknown_price_says_so(tmp_path, simulator, monkeypatch):
    features = {"default": {"primary": GROQ, "fallbacks": [GPT]}}
    monkeypatch.setenv("LLMFAIL_CONFIG", str(configure(tmp_path / "d.yaml", simulator, features=features)))
    [found] = estimate("--scenario", "all-primary")["scenarios"]
    assert found["monthly_cost_usd"] is None
    assert found["note"] == f"the price of {GROQ} is unknown"
    assert f"the price of {GROQ} is unknown" in llmfail("cost-estimate", "--scenario", "all-primary").out


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
    done = llmfail("cost-estimate")
    rows = {line.split()[4]: re.split(r"\s{2,}", line)[3:] for line in done.lines[1:5]}
    assert rows == {
        CLAUDE: ["$0.021", "$21.00", "primary"],
        GPT: ["$0.015", "$15.00", "28.6%"],
        "anthropic/fast": ["$0.00175", "$1.75", "primary"],
        "openai/nano": ["$0.0005", "$0.50", "71.4%"],
    }
    assert any(re.match(r"all-primary +10,000 +\$0\.011375 +\$113\.75 ", line) for line in done.lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_names_and_figures_whole(columns):
    with on_terminal(columns, "cost-estimate") as screen:
        assert screen.finish() == 0
    assert max(map(len, screen.text.splitlines())) <= columns
    assert re.search(rf"{CLAUDE} +\$0\.021 +\$21\.00 +primary", screen.text)


def test_nothing_is_sent_and_nothing_is_recorded(simulator):
    assert llmfail("cost-estimate", "hello").code == 0
    assert (simulator.connections(), records()) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--scenario", "actual"), "does not keep yet"),
        (("--scenario", "worst"), "takes all-primary"),
        (("--scenario", "outage:nobody"), "there is no provider 'nobody'"),
        (("-f", "nosuch"), "nosuch"),
        (("hi", "--input-tokens", "5"), "not both"),
        (("--requests", "0"), "--requests"),
        (("--input-tokens", "-1"), "--input-tokens"),
    ],
)
def test_what_cannot_be_estimated_is_a_usage_error(arguments, why):
    done = llmfail("cost-estimate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_help_has_examples():
    assert "--scenario outage:anthropic --json" in llmfail("cost-estimate", "--help").out
