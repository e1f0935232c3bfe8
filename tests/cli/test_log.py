"""``llmfail log``: what became of the last requests, of real asks at a simulator."""

import json
import re

import pytest
from llmfail_process import run_llmfail, run_on_terminal, write_config

from llmfail.simulator import parse_faults

CLAUDE, GPT = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra"


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


@pytest.fixture
def asked(simulator):
    """Three requests: one that the primary answered, one that a fallback answered, one that failed."""
    receipts = [run_llmfail("ask", "hi", "--json").json]
    simulator.set_faults(parse_faults("anthropic=503"))
    receipts.append(run_llmfail("ask", "hi", "--json").json)
    simulator.set_faults(parse_faults("openai=503"))
    receipts.append(run_llmfail("ask", "hi", "-f", "solo", "--json").json)
    assert [one["ok"] for one in receipts] == [True, True, False]
    return receipts


def logged(*arguments):
    done = run_llmfail("log", "--json", *arguments)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.lines]


def test_before_the_first_ask_there_is_nothing():
    done = run_llmfail("log")
    assert (done.code, done.out) == (0, "")
    assert "nothing was asked yet" in done.err
    assert run_llmfail("log", "--json").out == ""


def test_json_is_a_receipt_per_line_the_newest_first(asked):
    found = logged()
    assert [one["id"] for one in found] == [one["id"] for one in reversed(asked)]
    for line, receipt in zip(found, reversed(asked), strict=True):
        kept = {key: value for key, value in receipt.items() if key != "answer"}
        assert {key: line[key] for key in kept} == kept
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["at"])


def test_prompts_and_answers_are_not_kept_unless_the_configuration_says_so(asked, config):
    assert not logged()[0].keys() & {"prompt", "answer"}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"privacy": {"log_prompts": True}}))
    run_llmfail("ask", "what is kept?")
    [newest] = logged("-n", "1")
    assert newest["prompt"] == "what is kept?"
    assert "prompt: what is kept?" in run_llmfail("log", newest["id"]).lines


def test_n_is_how_many_and_failed_is_which(asked):
    assert [one["id"] for one in logged("-n", "2")] == [asked[2]["id"], asked[1]["id"]]
    assert [one["id"] for one in logged("--failed", "-n", "5")] == [asked[2]["id"]]


def test_failed_looks_further_back_than_n(asked, simulator):
    simulator.set_faults(parse_faults("none"))
    for _ in range(2):
        assert run_llmfail("ask", "hi", "-f", "solo").code == 0
    assert [one["id"] for one in logged("--failed", "-n", "1")] == [asked[2]["id"]]


def test_without_any_failure_there_is_nothing_to_list():
    run_llmfail("ask", "hi")
    done = run_llmfail("log", "--failed")
    assert (done.code, done.out) == (0, "")
    assert "nothing failed" in done.err


def test_the_table_tells_who_answered_at_which_tier(asked):
    heading, *rows = run_llmfail("log").lines
    assert re.split(r"\s{2,}", heading) == [
        "id",
        "time",
        "feature",
        "answered by",
        "tier",
        "outcome",
        "took",
        "cost",
    ]
    failed, fallback, primary = (re.split(r"\s{2,}", row) for row in rows)
    assert failed[2:6] == ["solo", "-", "5", "unavailable"]
    assert fallback[2:6] == ["default", GPT, "2", "ok"]
    assert primary[2:6] == ["default", CLAUDE, "0", "ok"]
    assert asked[0]["id"].startswith(primary[0])


def test_times_are_local(asked, monkeypatch):
    def hour():
        return int(re.search(r" (\d\d):\d\d:\d\d ", run_llmfail("log", "-n", "1").lines[1])[1])

    monkeypatch.setenv("TZ", "UTC")
    utc = hour()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert hour() == (utc + 9) % 24


def test_one_request_is_told_step_by_step(asked):
    shown, _, answered = asked[1]["id"], asked[0], run_llmfail("log", asked[1]["id"][:14].lower())
    assert answered.code == 0
    assert answered.lines[0].startswith(shown)
    assert answered.lines[1].startswith(f"{GPT} answered, tier 2, ")
    claude, gpt = (re.split(r"\s{2,}", line) for line in answered.lines[3:5])
    assert claude[:3] == [CLAUDE, "server_error", "503"]
    assert gpt[:3] == [GPT, "ok", "200"]


def test_a_request_that_failed_is_told_with_its_reason(asked):
    done = run_llmfail("log", asked[2]["id"])
    assert done.lines[1].startswith("no answer (exit 3): ")


def test_json_of_one_is_one_line(asked):
    [found] = logged(asked[1]["id"])
    assert found["trail"] == asked[1]["trail"]


@pytest.mark.parametrize(("beginning", "why"), [("ZZ", "no request is called"), ("0", "3 requests begin")])
def test_a_beginning_must_mean_one_request(asked, beginning, why):
    done = run_llmfail("log", beginning)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_targets_whole(asked, columns):
    with run_on_terminal(columns, "log") as screen:
        assert screen.finish() == 0
    assert max(map(len, screen.text.splitlines())) <= columns
    assert f" {CLAUDE} " in screen.text
    assert "unavailable" in screen.text


def test_help_has_examples():
    assert "llmfail log --failed" in run_llmfail("log", "--help").out


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        (["--failed"], [2]),
        (["--feature", "solo"], [2]),
        (["--target", "openai"], [1, 2]),
        (["--target", CLAUDE], [0, 1]),
        (["--target", "anthropic", "--feature", "default"], [0, 1]),
        (["--grep", "UNAVAILABLE"], [1, 2]),
        (["--grep", "no such text"], []),
        (["--since", "1h"], [0, 1, 2]),
        (["--since", "1h", "-n", "1"], [2]),
    ],
)
def test_what_is_wanted_is_found(asked, arguments, places):
    assert [one["id"] for one in reversed(logged(*arguments))] == [asked[place]["id"] for place in places]


def test_where_nothing_is_like_that_it_says_so(asked):
    done = run_llmfail("log", "--grep", "no such text")
    assert (done.code, done.out, done.err) == (0, "", "llmfail: nothing like that is in the log\n")


def test_what_cannot_be_meant_is_a_usage_error(asked):
    for arguments in (["--since", "soon"], ["--feature", "nowhere"]):
        done = run_llmfail("log", *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
