"""A name that is not known gets the nearest one that is, and a bare model name stands for its only target."""

import json

import pytest

from llmfail.cli.main import run

CONFIG = """\
version: 1
providers:
  anthropic: {api: anthropic, api_key: sk-ant-1}
  openai: {api: openai, api_key: sk-oai-1}
  router: {api: openai, base_url: "https://openrouter.ai/api/v1", api_key: sk-or-1}
features:
  vpr: {primary: anthropic/claude-haiku-5-5, fallbacks: [openai/gpt-6-luna, router/shared, openai/shared]}
  letter: {primary: openai/gpt-6-luna, degrade: [template: sorry]}
templates: {sorry: "Sorry, $name", prompt: "Write to $name"}
budgets: [{name: per-user, limit: 0.001, per: day, each: user}]
"""


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))


@pytest.fixture
def plan(capfd):
    def plan(*arguments):
        assert run(["plan", "hi", "--json", *arguments]) == 0
        return json.loads(capfd.readouterr().out)["candidates"]

    return plan


UNKNOWN = {
    "a model's name with a slip": (
        ["plan", "-m", "claude-haiku-5-6"],
        (
            "'claude-haiku-5-6' is no target, which is written provider/model; "
            "did you mean anthropic/claude-haiku-5-5?"
        ),
    ),
    "a model at several providers": (
        ["plan", "-m", "shared"],
        (
            "'shared' is no target, which is written provider/model; "
            "it is at several: router/shared, openai/shared"
        ),
    ),
    "a provider alone": (
        ["ask", "hi", "-m", "anthropic"],
        "'anthropic' is no target, which is written provider/model: anthropic/claude-haiku-5-5",
    ),
    "a provider that is none": (
        ["plan", "-m", "opnai/x"],
        "there is no provider 'opnai'; did you mean openai?",
    ),
    "a feature in capitals": (["plan", "-f", "VPR"], "there is no feature 'VPR'; did you mean vpr?"),
    "prices of nobody": (["prices", "show", "nope/x"], "there is no provider 'nope'"),
    "prices of a slip": (
        ["prices", "show", "openai/gpt-6-lunar-x"],
        (
            "openai/gpt-6-lunar-x is neither in the configuration nor in the catalogue; "
            "did you mean openai/gpt-6-luna?"
        ),
    ),
    "a circuit of a slip": (["reset", "gpt-6-luna"], "did you mean openai/gpt-6-luna?"),
}


@pytest.mark.parametrize(("arguments", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_i11_a_name_that_is_not_known_gets_the_nearest(arguments, message, capfd):
    assert run(arguments) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_bare_model_name_stands_for_the_only_target_that_has_it(plan):
    assert [step["target"] for step in plan("-m", "gpt-6-luna", "--no-fallback")] == ["openai/gpt-6-luna"]


def test_models_are_the_targets_with_what_is_known_of_them_and_whether_their_key_is_there(capfd):
    assert run(["models", "--json"]) == 0
    models = {one["target"]: one for one in json.loads(capfd.readouterr().out)["models"]}
    assert list(models) == [
        "anthropic/claude-haiku-5-5",
        "openai/gpt-6-luna",
        "router/shared",
        "openai/shared",
    ]
    luna, shared = models["openai/gpt-6-luna"], models["router/shared"]
    assert (luna["provider"], luna["model"], luna["key"], luna["missing_key"]) == (
        *("openai", "gpt-6-luna"),
        *(True, None),
    )
    assert luna["context"] > 100_000
    assert (shared["context"], shared["input"]) == (None, None)
    assert run(["models"]) == 0
    assert "openai/gpt-6-luna" in capfd.readouterr().out


def test_i12_a_plan_knows_what_an_ask_may_cost_and_whose_budget_it_goes_on(plan):
    assert {step["reason"] for step in plan("-f", "vpr", "--max-cost", "0.000001")[:2]} == {"too_expensive"}
    assert plan("-f", "vpr", "--user", "ann")[0]["reason"] == "over_budget"


def test_i12_a_plan_takes_templates_and_attachments(plan, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 5000)
    short = plan("-m", "gpt-6-luna", "-t", "prompt", "-p", "name=Ann")[0]
    long = plan("-m", "gpt-6-luna", "-a", str(tmp_path / "long.txt"))[0]
    assert float(short["estimated_cost_usd"]) < float(long["estimated_cost_usd"])


def test_i15_parameters_may_be_those_of_a_degrade_template_alone(plan, capfd):
    assert plan("-f", "letter", "-p", "name=Ann")
    assert run(["plan", "hi", "-f", "letter", "-p", "nme=Ann"]) == 2
    assert "the degrade steps of letter have no parameter 'nme'; did you mean name?" in capfd.readouterr().err
    assert run(["plan", "hi", "-f", "vpr", "-p", "name=Ann"]) == 2
    assert "params need a template" in capfd.readouterr().err
