"""What answers when no model does: each kind of step, in its place, with its tier and source."""

import json

import pytest
from program import ANTHROPIC, KEYS, OPENAI, build_config, parse_time

from llmfail.simulator import parse_faults

TEMPLATES = {
    "sorry": "No $feature today: $prompt ($$5)",
    "named": "Dear $name",
    "asked": "Write to $name: $prompt",
}
RULES = {
    "pii": {"email": r"[\w.+-]+@[\w-]+\.[\w.]+", "year": r"\b(?:19|20)\d\d\b"},
    "hostile": {"slow": r"(a|aa)+$"},
}


@pytest.fixture
def program(simulator, configure):
    """The program whose default feature has these steps; every provider is down."""

    def program(*degrade, **feature):
        document = build_config(simulator, OPENAI, ANTHROPIC, templates=TEMPLATES, rules=RULES)
        document["cache"] = {"enabled": True, "stale": "7d"}
        document["breaker"] = {"enabled": False}
        document["features"]["default"] |= {"degrade": list(degrade)} | feature
        return configure(document)

    simulator.set_faults(parse_faults("all=503"))
    return program


def told(receipt):
    return receipt["answer"], receipt["source"], receipt["tier"], receipt["ok"]


@pytest.mark.parametrize(
    ("step", "answer", "source"),
    [
        ({"template": "sorry"}, "No default today: Say hello ($5)", "template"),
        ({"rules": "pii", "on_none": "nothing found"}, "nothing found", "rules"),
        ({"command": ["tr", "a-z", "A-Z"]}, "SAY HELLO", "command"),
        ({"text": '{"verdict": "allow"}'}, '{"verdict": "allow"}', "text"),
    ],
)
def test_each_step_answers_at_tier_four(program, step, answer, source):
    asked = program(step).ask()
    assert asked.code == 0
    assert told(asked.document) == (answer, source, 4, True)
    assert [entry["outcome"] for entry in asked.document["trail"]] == ["overloaded", "server_error"]
    assert (asked.document["error"], asked.document["target"], asked.document["cost_usd"]) == (
        None,
        None,
        "0",
    )
    assert asked.lines[-1].startswith(f"llmfail: no model answered; this is the feature's {source} (tier 4,")


@pytest.mark.parametrize("step", [{"template": "sorry"}, {"text": "t"}, "cached", {"rules": "pii"}])
def test_strict_refuses_them(program, step):
    asked = program(step).ask("--strict")
    assert (asked.code, asked.document["error"]["kind"]) == (3, "unavailable")


def test_the_steps_are_tried_in_their_order_until_one_answers(program):
    steps = ["cached", {"command": ["false"]}, {"template": "named"}, {"text": "at last"}, {"text": "never"}]
    asked = program(*steps).ask()
    assert told(asked.document) == ("at last", "text", 4, True)
    warnings = [line for line in asked.lines if "warning" in line]
    assert [line.split(":")[2].strip() for line in warnings] == ["cached", "command", "template"]
    assert "name" in warnings[2]


def test_what_the_steps_say_does_not_hide_why_the_models_failed(program):
    asked = program({"command": ["false"]}).ask()
    assert (asked.code, asked.document["error"]["kind"]) == (3, "unavailable")
    assert "503" in asked.err or "overloaded" in asked.err or "server_error" in asked.err


def test_rules_answer_with_what_they_match(program):
    llmfail = program({"rules": "pii"})
    said = "Ann (ann@example.org) was born in 1987"
    found = json.loads(llmfail("ask", said, "--json").document["answer"])
    assert [(one["kind"], one["text"]) for one in found] == [("email", "ann@example.org"), ("year", "1987")]
    assert all(said[one["start"] : one["end"]] == one["text"] for one in found)


def test_rules_read_the_files_that_came_with_the_prompt(program, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("write to bob@example.org")
    (found,) = json.loads(program({"rules": "pii"}).ask("-a", str(letter)).document["answer"])
    assert (found["text"], found["attachment"], found["start"]) == ("bob@example.org", "letter.txt", 9)


def test_a_pattern_that_runs_away_is_stopped_and_the_ladder_goes_on(program):
    llmfail = program({"rules": "hostile"}, {"text": "safe"})
    asked = llmfail("ask", "a" * 60 + "!", "--json")
    assert told(asked.document) == ("safe", "text", 4, True)
    (warning,) = [line for line in asked.lines if "rules" in line]
    assert "slow" in warning


def test_a_command_gets_the_prompt_and_no_shell(program, tmp_path):
    script = tmp_path / "search.sh"
    script.write_text('#!/bin/sh\nprintf "%s|" "$@"; cat\n')
    script.chmod(0o755)
    llmfail = program({"command": ["./search.sh", "$HOME", "; echo x", ""]})
    assert llmfail.ask().document["answer"] == "$HOME|; echo x||Say hello"


def test_a_smaller_prompt_goes_through_the_chain_once_more(program, simulator):
    llmfail = program({"simplify": {"keep_chars": 40, "max_tokens": 7, "prefix": "Briefly: "}})
    simulator.set_faults(parse_faults("all=503x1"))
    asked = llmfail("ask", "begin " + "x" * 100 + " end", "--json")
    sent = simulator.requests[-1]
    assert sent.prompt.startswith("Briefly: begin ")
    assert sent.prompt.endswith(" end")
    assert (len(sent.prompt), sent.max_tokens) == (len("Briefly: ") + 40, 7)
    assert (asked.document["source"], asked.document["tier"], asked.document["target"]) == (
        "model",
        4,
        OPENAI,
    )
    assert [entry["outcome"] for entry in asked.document["trail"]] == ["overloaded", "server_error", "ok"]
    assert any("simplified" in line for line in asked.lines)


def test_when_the_smaller_prompt_fails_too_the_ladder_goes_on(program, simulator):
    asked = program({"simplify": {"keep_chars": 40}}, {"text": "at last"}).ask()
    assert told(asked.document) == ("at last", "text", 4, True)
    assert len(asked.document["trail"]) == 4
    assert simulator.count() == 4


def test_yesterdays_answer_serves_when_all_are_down_and_never_a_strict_caller(
    simulator, configure, state, program
):
    llmfail = program("cached", {"text": "not that"}, cache={"ttl": 0})
    simulator.set_faults(parse_faults("none"))
    first = llmfail.ask().document
    assert first["source"] == "model"
    simulator.set_faults(parse_faults("all=503"))
    stale = llmfail.ask()
    assert (stale.code, stale.document["answer"]) == (0, first["answer"])
    assert (stale.document["source"], stale.document["tier"]) == ("stale_cache", 4)
    assert (stale.document["target"], stale.document["response_model"]) == (OPENAI, first["response_model"])
    assert llmfail.ask("--strict").code == 3
    assert llmfail.ask("--no-cache").document["source"] == "text"


def test_a_degraded_answer_is_held_to_what_is_expected_too(program):
    llmfail = program({"text": "no json"}, {"text": "[1]"})
    assert llmfail.ask("--expect", "json").document["answer"] == "[1]"
    assert llmfail.ask().document["answer"] == "no json"


def test_a_request_that_is_refused_is_not_hidden_behind_a_template(program, simulator):
    simulator.set_faults(parse_faults("all=400"))
    asked = program({"text": "never"}).ask()
    assert (asked.code, asked.document["ok"]) == (5, False)


def test_a_spent_budget_and_a_missing_key_come_to_the_ladder_too(program):
    llmfail = program({"text": "there"})
    assert llmfail.ask("--max-cost", "0").document["answer"] == "there"
    keyless = llmfail.without("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY")
    assert keyless.ask().document["answer"] == "there"
    assert keyless.ask("--strict").code == 6


def test_after_the_deadline_what_takes_no_time_still_answers(program, simulator):
    simulator.set_faults(parse_faults("all=hang"))
    llmfail = program(
        {"simplify": {"keep_chars": 9}}, {"command": ["cat"]}, {"template": "sorry"}, deadline="0.5s"
    )
    asked = llmfail.ask()
    assert (asked.code, asked.document["source"]) == (0, "template")
    warnings = [line.removeprefix("llmfail: warning: ") for line in asked.lines if "warning" in line]
    assert warnings == ["simplify: no time was left", "command: no time was left"]


def test_the_log_and_status_tell_of_degraded_answers(program):
    llmfail = program({"text": "there"})
    receipt = llmfail.ask().document
    (logged,) = llmfail("log", "--json").out.splitlines()
    assert json.loads(logged)["source"] == "text"
    assert json.loads(logged)["id"] == receipt["id"]
    assert llmfail.status()["routing"]["degraded_rate"] == 1.0


def test_the_queue_keeps_the_request_says_so_and_exits_3(program, state):
    llmfail = program("queue")
    asked = llmfail.ask()
    receipt = asked.document
    assert (asked.code, receipt["tier"], receipt["source"], receipt["answer"]) == (3, 5, "none", None)
    assert (receipt["error"]["code"], receipt["error"]["kind"]) == (3, "queued")
    (item,) = llmfail("queue", "list", "--json").document
    assert item["id"] == receipt["queued"]
    assert receipt["queued"] in asked.err
    assert "queue run" in asked.err
    assert llmfail.status()["queue"] == {"pending": 1}


def test_any_ask_may_be_queued_also_a_strict_one(program):
    llmfail = program({"text": "there"})
    assert llmfail.ask("--queue").document["source"] == "text"
    assert llmfail.ask("--queue", "--strict").document["error"]["kind"] == "queued"


def test_a_queued_request_tells_when_to_try_again(simulator, configure):
    document = build_config(simulator, OPENAI, ANTHROPIC)
    document["features"]["default"]["degrade"] = ["queue"]
    llmfail = configure(document)
    simulator.set_faults(parse_faults("all=429:30"))
    receipt = llmfail.ask().document
    (item,) = llmfail("queue", "list", "--json").document
    assert parse_time(item["retry_at"]) == parse_time(receipt["retry_at"])


@pytest.mark.parametrize("script", ["echo $OPENAI_API_KEY", "echo $OPENAI_API_KEY >&2; exit 1"])
def test_a_command_that_prints_a_key_tells_it_to_nobody(program, tmp_path, state, script):
    key = "sk-proj-4nDQ81xR0pTz"
    asked = program({"command": ["sh", "-c", script]}).with_environ(**KEYS | {"OPENAI_API_KEY": key}).ask()
    everything = asked.out + asked.err.encode() + b"".join(file.read_bytes() for file in state.iterdir())
    assert b"[key]" in everything
    assert key.encode() not in everything
