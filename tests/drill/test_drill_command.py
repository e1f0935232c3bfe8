"""``llmfail drill`` and ``llmfail ask --drill`` as processes of their own."""

import json
import os
import pty
from pathlib import Path
from subprocess import PIPE

import drill_runs
import pytest
from forked_program import start_llmfail

from llmfail.drill.scenarios import SCENARIOS

FEATURES = {
    "good": "{primary: a/one, fallbacks: [b/two, v/gemini-four]}",
    "alone": "{primary: c/three}",
}
FLAWED = {**FEATURES, "flawed": "{primary: a/one, fallbacks: [a/other]}"}
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
WATCH = """
import os, sys

def note(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        line = f"connect {arguments[1][0]} {arguments[1][1]}"
    elif event == "socket.getaddrinfo":
        line = f"resolve {arguments[0]} {arguments[1]}"
    else:
        return
    with open(os.environ["WATCHED"], "a") as file:
        file.write(line + "\\n")

sys.addaudithook(note)
"""


@pytest.fixture
def config(tmp_path):
    return drill_runs.write_config(tmp_path, FEATURES)


@pytest.fixture
def watched(tmp_path):
    """An environment in which a process tells every connection that it makes, and the file it tells it."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    told = tmp_path / "connections"
    told.touch()
    return {"PYTHONPATH": str(tmp_path / "watch"), "WATCHED": str(told)}, told


def test_a_configuration_that_keeps_its_promises_exits_0(config):
    done = drill_runs.run_command("--config", config, "drill", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (told["ok"], list(told["features"])) == (True, ["good", "alone"])
    assert told["played_as_if_set"] == ["project of provider v (GOOGLE_CLOUD_PROJECT)", "KEY_OF_C"]
    good = told["features"]["good"]
    assert set(good) == {"ok", "scenes", "verdict"}
    assert good["ok"] is True
    assert [scene["scene"] for scene in good["scenes"]] == list(SCENARIOS)
    assert good["verdict"].startswith("survives an outage of a (b/two answers, tier 2); recovers after 10 s")


def test_a_scene_in_json_says_what_was_promised_and_what_was_seen(config):
    done = drill_runs.run_command(
        "--config", config, "drill", "-f", "good", "--scenario", "circuit-opens", "--json"
    )
    assert json.loads(done.stdout)["features"]["good"]["scenes"] == [
        {
            "scene": "circuit-opens",
            "ok": True,
            "expected": "it opens after at most 3 failures, then nothing is sent to a/one",
            "saw": "open after 3 requests, then 0 more",
            "target": "b/two",
            "tier": 2,
            "requests": {"a/one": 3, "b/two": 4},
            "failover_ms": None,
        }
    ]


def test_a_broken_promise_exits_1_and_says_why(tmp_path):
    done = drill_runs.run_command("--config", drill_runs.write_config(tmp_path, FLAWED), "drill")
    assert done.returncode == 1
    assert "flawed: does not survive an outage of a: every fallback is at a too" in done.stdout
    assert "  FAIL primary-down: expected: a fallback answers" in done.stdout
    done = drill_runs.run_command("--config", tmp_path / "drill.yaml", "drill", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert {name: feature["ok"] for name, feature in told["features"].items()} == {
        "good": True,
        "alone": True,
        "flawed": False,
    }


def test_piped_it_is_a_plain_table_then_a_line_for_each_feature(config):
    done = drill_runs.run_command("--config", config, "drill")
    head, good, alone, blank, *verdicts = done.stdout.splitlines()
    failover = verdicts.pop(1)
    assert failover.startswith("  failover: primary-down "), "for each fault, how long it took"
    assert all(name in failover for name in ("rate-limit ", "hang 8.0s", "bad-key "))
    assert head.split() == ["feature", *SCENARIOS]
    assert good.split() == ["good", *["ok"] * 9]
    assert alone.split() == ["alone", "ok", "warn", "ok", "warn", "ok", "warn", "warn", "warn", "ok"]
    assert blank == ""
    assert [line.partition(":")[0] for line in verdicts] == ["good", "alone"]
    assert "\x1b" not in done.stdout
    assert done.stderr == (
        "llmfail: played as if these were set: project of provider v (GOOGLE_CLOUD_PROJECT), KEY_OF_C\n"
    )


def test_with_a_v_every_scene_tells_and_with_a_q_nothing_is_said_beside(config):
    done = drill_runs.run_command("-v", "--config", config, "drill", "-f", "good", "--scenario", "recovery")
    assert (
        "  ok   recovery: expected: 2 trials after 10 s close the circuit; saw: closed by 2 trials"
        in done.stdout
    )
    done = drill_runs.run_command("-q", "--config", config, "drill", "-f", "alone", "--scenario", "healthy")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["drill", "-f", "godo"], "did you mean good?"),
        (["drill", "--scenario", "recover"], "did you mean recovery?"),
        (["drill", "unexpected"], "unexpected"),
        (["ask", "hi", "-f", "good", "--drill", "aa=503"], "did you mean a?"),
        (["ask", "hi", "-f", "good", "--drill", "a=hangg"], "did you mean hang?"),
    ],
)
def test_a_wrong_call_exits_2(config, arguments, says):
    done = drill_runs.run_command("--config", config, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("faults", "code", "target"),
    [("none", 0, "a/one"), ("a=503", 0, "b/two"), ("all=503", 3, None), ("all=auth", 6, None)],
)
def test_one_ask_under_faults_exits_as_a_real_one_would(config, faults, code, target):
    done = drill_runs.run_command("--config", config, "ask", "hi", "-f", "good", "--json", "--drill", faults)
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["target"] == target


def test_without_configuration_and_keys_the_first_command_of_the_readme_answers():
    done = drill_runs.run_command("ask", "Say hello", "--drill", "anthropic=503")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello from openai/gpt-6.1-terra (simulated). You said: Say hello\n"
    assert "503" in done.stderr


def test_the_configuration_that_ships_with_the_package_keeps_its_promises():
    done = drill_runs.run_command("drill", "--json")
    assert done.returncode == 0, done.stdout
    features = json.loads(done.stdout)["features"]
    assert len(features) == 9
    for name in ("cv_tailoring", "cover_letter", "company_research", "pii_detection", "fvs_validation"):
        hang = next(scene for scene in features[name]["scenes"] if scene["scene"] == "hang")
        assert hang["tier"] == 2
        assert 4000 <= hang["failover_ms"] < 5000, "a hedge takes over after 4 s"


@pytest.mark.parametrize("arguments", [["drill"], ["ask", "hi", "-f", "good", "--drill", "a=503"]])
def test_nothing_is_left_in_the_state_directory(config, arguments):
    state = Path(os.environ["LLMFAIL_STATE_DIR"])
    assert drill_runs.run_command("--config", config, *arguments).returncode == 0
    assert not state.exists()
    state.mkdir()
    assert drill_runs.run_command("--config", config, *arguments).returncode == 0
    assert not [path.name for path in state.iterdir() if not path.name.startswith("settings-")]


@pytest.mark.parametrize("arguments", [["drill"], ["ask", "hi", "-f", "good", "--drill", "a=503"]])
@pytest.mark.parametrize("proxies", [{}, PROXIES])
def test_no_connection_leaves_this_machine_or_reaches_the_provider(
    tmp_path, simulator, watched, arguments, proxies
):
    real = f"base_url: {simulator.base_url('openai')}"
    head = drill_runs.CONFIG_HEAD.replace("base_url: https://b.example/v1", real)
    config = drill_runs.write_config(tmp_path, FEATURES, head=head)
    environ, told = watched
    done = drill_runs.run_command("--config", config, *arguments, environ=environ | proxies)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in told.read_text().splitlines()]
    assert lines
    assert {host for _, host, _ in lines} == {"127.0.0.1"}
    assert not [port for _, _, port in lines if port == "9"]
    assert simulator.count_connections() == 0


def test_rounds_that_would_take_minutes_are_played_without_waiting(tmp_path):
    head = drill_runs.CONFIG_HEAD.replace("retries: 0", "retries: 40").replace(
        "breaker: {", "breaker: {enabled: false, "
    )
    config = drill_runs.write_config(tmp_path, {"alone": "{primary: c/three, deadline: 1h}"}, head=head)
    done = drill_runs.run_command("--config", config, "drill", "--scenario", "primary-down", "--json")
    scene = json.loads(done.stdout)["features"]["alone"]["scenes"][0]
    assert scene["requests"] == {"c/three": 41}


@pytest.mark.parametrize("arguments", [["drill"], ["drill", "--json"], ["ask", "hi", "--json"]])
def test_no_secret_of_the_configuration_is_shown(config, arguments):
    extra = ["-f", "good", "--drill", "all=auth"] if arguments[0] == "ask" else []
    done = drill_runs.run_command("-vv", "--config", config, *arguments, *extra)
    for secret in drill_runs.SECRETS:
        assert secret not in done.stdout + done.stderr


def test_on_a_terminal_the_table_is_drawn_and_the_verdict_folded_between_words(config):
    parent, child = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}
    streams = {"stdin": child, "stdout": child, "stderr": PIPE}
    with start_llmfail("--config", config, "drill", env=environ, **streams) as process:
        os.close(child)
        shown = _all_of(parent)
        assert process.wait(60) == 0
    drawn, _, verdict = shown.partition("good: survives")
    last = drawn[drawn.rindex("healthy") :]
    assert (last.count("ok"), last.count("warn")) == (13, 5)
    assert drawn.count("healthy") > 1
    lines = verdict.replace("\r", "").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("    ") for line in lines)


def _all_of(terminal):
    parts = []
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()
