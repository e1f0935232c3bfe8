"""``llmfail status``: what people, programs and monitoring see, of a real chain at a simulator."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from llmfail_process import run_llmfail, run_on_terminal, write_config

from llmfail.cli.render.status_view import _format_latencies
from llmfail.simulator import parse_faults

CLAUDE, GPT, GROQ = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "groq/openai/gpt-oss-120b"
KEYS = {
    "status",
    "providers",
    "routing",
    "budgets",
    "alerts",
    "cache",
    "queue",
    "prices_as_of",
    "store",
    "stores",
}
TARGET_KEYS = {
    "state",
    "reason",
    "share",
    "failures",
    "failure_threshold",
    "fallback_count",
    "retry_at",
    "last_error",
    "requests",
    "success_rate",
    "latency_p50_ms",
    "latency_p95_ms",
    "spent_today_usd",
}


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator, alerts={"error_rate": 1, "fallback_rate": 1})
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


@pytest.fixture
def outage(simulator):
    """The primary has failed twice, and its circuit is open."""
    simulator.set_faults(parse_faults("anthropic=503"))
    assert [run_llmfail("ask", "hi").code for _ in range(2)] == [0, 0]


def row(done, target):
    [found] = [line for line in done.lines if line.startswith(target)]
    return re.split(r"\s{2,}", found)


def test_before_the_first_ask_everything_is_healthy(store_kind):
    done = run_llmfail("status")
    assert done.code == 0
    assert done.lines[0] == "healthy"
    assert f"nothing was asked in the last 24 hours; store: {store_kind}" in done.out


def test_a_pipe_gets_a_row_per_target_with_everything_in_it(outage):
    done = run_llmfail("status")
    assert done.lines[1].split("  ")[0] == "target"
    claude, gpt = row(done, CLAUDE), row(done, GPT)
    assert claude[1:3] == ["open", "2/2"]
    assert re.fullmatch(r"(1m00|[45]\d)s", claude[3])
    assert claude[4:7] == ["2", "0%", "0"]
    assert claude[-1].startswith("server_error: ")
    assert gpt[1:4] == ["closed", "0/2", "-"]
    assert gpt[4:7] == ["2", "100%", "2"]


def test_a_pipe_gets_no_colours_and_no_drawn_lines(outage):
    out = run_llmfail("status").out
    assert "\x1b" not in out
    assert "─" not in out
    assert not any(line != line.rstrip() for line in out.splitlines())


def test_the_totals_tell_how_many_were_saved_by_a_fallback(outage):
    assert "2 asked in the last 24 hours: 100% by a fallback, 0% degraded, 0% without an answer" in (
        run_llmfail("status").lines
    )


def test_targets_without_a_key_are_one_line_and_v_lists_them():
    short, long = run_llmfail("status"), run_llmfail("-v", "status")
    assert "1 target without a key (groq): llmfail -v status lists them" in short.lines
    assert not any(line.startswith(GROQ) for line in short.lines)
    assert row(long, GROQ)[1] == "disabled"
    assert row(long, GROQ)[-1] == "no key: set GROQ_API_KEY"


def test_a_target_that_lost_its_key_is_listed_while_it_has_a_history(config, monkeypatch):
    document = json.loads(config.read_text())
    document["providers"]["openai"]["api_key"] = "${OPENAI_API_KEY}"
    config.write_text(json.dumps(document))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-oai-1")
    assert run_llmfail("ask", "hi", "-f", "solo").code == 0
    monkeypatch.delenv("OPENAI_API_KEY")
    done = run_llmfail("status")
    assert row(done, GPT)[1:5] == ["disabled", "0/2", "-", "1"]
    assert row(done, GPT)[-1] == "no key: set OPENAI_API_KEY"


def test_json_is_the_contract_s(outage, store_kind):
    status = run_llmfail("status", "--json").json
    assert status.keys() == KEYS | ({"store_server"} if store_kind == "redis" else set())
    assert status["providers"].keys() == {CLAUDE, GPT, GROQ}
    assert all(one.keys() == TARGET_KEYS for one in status["providers"].values())
    assert status["status"] == "degraded"
    assert (status["providers"][CLAUDE]["state"], status["providers"][CLAUDE]["reason"]) == (
        "open",
        "failures",
    )
    assert (status["providers"][GPT]["state"], status["providers"][GPT]["reason"]) == ("closed", None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["providers"][CLAUDE]["retry_at"])
    assert status["routing"]["total_requests"] == 2


def test_a_pause_is_told_as_one_to_people_and_as_the_reason_to_programs(simulator):
    simulator.set_faults(parse_faults("anthropic=429:300"))
    assert [run_llmfail("ask", "hi").code for _ in range(2)] == [0, 0]
    shown = run_llmfail("status", "--json").json["providers"][CLAUDE]
    assert (shown["state"], shown["reason"], shown["failures"]) == ("open", "pause", 0)
    people = row(run_llmfail("status"), CLAUDE)
    assert people[1:3] == ["paused", "0/2"]
    assert re.fullmatch(r"(5m00|4m\d\d)s", people[3])
    assert "paused" in run_llmfail("plan").out
    assert "circuit_open" not in run_llmfail("plan").out
    step = run_llmfail("plan", "--json").json["candidates"][0]
    assert (step["reason"], step["open_reason"]) == ("circuit_open", "pause")
    assert f'llmfail_circuit_state{{target="{CLAUDE}"}} 5.0' in run_llmfail("metrics").lines
    assert f"{CLAUDE} skipped (paused): its Retry-After holds until 20" in run_llmfail("ask", "hi").err


def test_a_target_without_a_key_that_is_forced_open_is_shown_as_that():
    run_llmfail("trip", "groq", "--for", "2h")
    shown = row(run_llmfail("status"), GROQ)
    assert shown[1] == "forced open"
    assert shown[3] in {"2h00m", "1h59m"}
    assert run_llmfail("status", "--json").json["providers"][GROQ]["state"] == "forced_open"
    assert run_llmfail("status", "--check").code == 0


def test_a_provider_without_targets_that_is_forced_open_has_a_line(config):
    document = json.loads(config.read_text())
    document["providers"]["local"] = {"api": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "none"}
    config.write_text(json.dumps(document))
    run_llmfail("trip", "local")
    assert "local is forced open until `llmfail reset local`" in run_llmfail("status").lines
    run_llmfail("reset", "local")
    assert not any("local" in line for line in run_llmfail("status").lines)


@pytest.mark.parametrize(
    ("trips", "code", "says"),
    [
        ([], 0, "healthy"),
        (["anthropic"], 1, f"degraded: {CLAUDE} is forced open"),
        (["anthropic", "openai"], 2, "unhealthy: no usable target for default, solo"),
    ],
)
def test_check_exits_0_1_or_2_and_says_why_in_one_line(trips, code, says):
    for name in trips:
        run_llmfail("trip", name)
    done = run_llmfail("status", "--check")
    assert done.code == code
    [line] = done.lines
    assert line.startswith(says)


def test_check_says_how_long_a_hold_lasts():
    run_llmfail("trip", "anthropic", "--for", "2h")
    assert re.search(r"is forced open for (2h00m|1h59m)$", run_llmfail("status", "--check").out.strip())


def test_check_composes_with_json_and_with_quiet():
    run_llmfail("trip", "anthropic")
    both = run_llmfail("status", "--check", "--json")
    assert (both.code, both.json["status"]) == (1, "degraded")
    assert run_llmfail("-q", "status", "--check").lines != []
    run_llmfail("reset", "anthropic")
    assert run_llmfail("-q", "status", "--check") == type(both)(0, "", "")


def test_an_alert_is_told_with_its_level(config):
    document = json.loads(config.read_text()) | {"alerts": {"fallback_rate": 0.5, "min_requests": 1}}
    config.write_text(json.dumps(document))
    run_llmfail("trip", "anthropic")
    run_llmfail("ask", "hi")
    done = run_llmfail("status")
    assert any(line.startswith("warning: fallback_rate is 100%, above 50%") for line in done.lines)
    run_llmfail("ask", "hi")
    assert "fallback_rate is 100%, above 50%" in run_llmfail("status", "--check").out
    assert run_llmfail("status").out.count("fallback_rate") == 1


def test_i2_a_reset_makes_an_outage_that_is_over_healthy_again(config, outage, simulator):
    document = json.loads(config.read_text()) | {"alerts": {"min_requests": 1}}
    config.write_text(json.dumps(document))
    simulator.set_faults(parse_faults("all=503"))
    assert [run_llmfail("ask", "hi").code for _ in range(2)] == [3, 3]
    alerts = run_llmfail("status", "--json").json["alerts"]
    assert "error_rate is 50%, above 1%" in next(one["message"] for one in alerts if "error" in one["name"])
    assert run_llmfail("reset", "--all").code == 0
    done = run_llmfail("status", "--check")
    assert (done.code, done.out) == (0, "healthy\n")


def test_i2_a_missing_key_is_no_error_of_the_service(config, monkeypatch):
    document = json.loads(config.read_text()) | {"alerts": {"min_requests": 1}}
    config.write_text(json.dumps(document))
    assert run_llmfail("ask", "hi", "-m", GROQ).code == 6
    done = run_llmfail("status")
    assert done.lines[0] == "healthy"
    assert "apart from that: 1 without a usable credential" in done.lines
    figures = run_llmfail("status", "--json").json["routing"]
    assert (figures["error_rate"], figures["without_credential"]) == (0.0, 1)


@pytest.mark.parametrize(
    ("p50", "p95", "shown"),
    [(335, 3000, "335ms/3.0s"), (40, 335, "40/335ms"), (1200, 3000, "1.2/3.0s"), (None, None, "-")],
)
def test_i1_two_latencies_share_a_unit_only_when_it_is_the_same(p50, p95, shown):
    assert _format_latencies(p50, p95) == shown


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--watch",), "needs a terminal"),
        (("--watch", "--json"), "look once"),
        (("--watch", "--check"), "look once"),
        (("5",), "goes with --watch"),
        (("soon",), "SECONDS takes a number, got 'soon'"),
    ],
)
def test_what_cannot_be_watched_is_a_usage_error(arguments, why):
    done = run_llmfail("status", *arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "100000"])
def test_watch_wants_a_sensible_pause(seconds):
    with run_on_terminal(80, "status", "--watch", "--", seconds) as screen:
        assert screen.finish() == 2


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_every_name_and_figure_whole(outage, columns):
    with run_on_terminal(columns, "status") as screen:
        assert screen.finish() == 0
    lines = screen.text.splitlines()
    assert max(map(len, lines)) <= columns
    [claude] = [line for line in lines if line.startswith(CLAUDE) and "server_error" not in line]
    assert re.search(r" open .* 0% .* \$0\.0000$", claude.rstrip())
    assert "…" not in screen.text
    assert any(line.startswith(f"{CLAUDE}  ") and "server_error: " in line for line in lines)
    assert b"\x1b[31mopen" in screen.raw


def test_watch_shows_what_changes_until_ctrl_c():
    with run_on_terminal(80, "status", "--watch", "0.2") as screen:
        screen.until("healthy")
        run_llmfail("trip", "anthropic")
        screen.until("forced open")
        screen.process.send_signal(signal.SIGINT)
        assert screen.finish() == 130
        assert screen.process.stderr.read() == b""


def test_watch_survives_a_resize_and_ends_with_q_and_leaves_its_last_picture(outage):
    with run_on_terminal(80, "status", "--watch", "60", keyboard=True) as screen:
        screen.until("degraded")
        assert "last hour" not in screen.text
        before = len(screen.text)
        screen.resize(130)
        screen.until("last hour")  # at once, not after a minute
        screen.resize(80)
        screen.press(b"xq")
        assert screen.finish() == 0
        assert screen.process.stderr.read() == b""
    left = screen.raw.rpartition(b"\x1b[?1049l")[2]
    assert b"degraded" in left, "the last picture stays on the screen itself"
    assert len(screen.text) > before


def test_a_wide_terminal_has_the_last_hour_of_each_target_as_a_picture(outage):
    with run_on_terminal(130, "status") as screen:
        assert screen.finish() == 0
    [claude] = [
        line for line in screen.text.splitlines() if line.startswith(f"{CLAUDE} ") and " open " in line
    ]
    assert re.search(r" ·{19}█ ", claude)
    assert "\x1b[31m█".encode() in screen.raw
    assert "\x1b[32m█".encode() in screen.raw
    assert "█" not in run_llmfail("status").out


def test_the_picture_of_the_readme_is_made_by_a_script(tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "make_status_picture.py"
    subprocess.run([sys.executable, script, tmp_path / "status.svg"], check=True)
    for picture in (tmp_path / "status.svg", script.parents[1] / "docs" / "status.svg"):
        text = picture.read_text()
        assert "https://" not in text.replace("https://www.textualize.io", "")
        assert "last&#160;hour" in text or "last hour" in text


def test_help_has_examples():
    assert "llmfail status --json | jq" in run_llmfail("status", "--help").out
