"""``llmfail prices``: what targets cost, for people and programs, and a newer list."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from llmfail_process import read_store_rows, run_llmfail, run_on_terminal, write_config

CLAUDE, GPT, GROQ = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "groq/openai/gpt-oss-120b"
PUBLISHED = [
    {
        "id": "anthropic",
        "name": "Anthropic",
        "api_pattern": r"https://api\.anthropic\.com",
        "models": [
            {
                "id": "claude-opus-5-5",
                "match": {"equals": "claude-opus-5-5"},
                "prices": {"input_mtok": 77, "output_mtok": 88},
            }
        ],
    }
]


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


@pytest.fixture
def source():
    """A server on loopback that publishes prices."""

    class Source(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(PUBLISHED).encode()
            self.send_response(200 if self.path == "/data.json" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/data.json"
        server.shutdown()
        thread.join()


def rows():
    return {one["target"]: one for one in run_llmfail("prices", "show", "--json").json["prices"]}


def test_every_target_is_shown_with_its_source_and_its_day():
    shown = rows()
    assert list(shown) == [CLAUDE, GPT, GROQ]
    assert (shown[CLAUDE]["input"], shown[CLAUDE]["source"], shown[CLAUDE]["as_of"]) == ("3", "config", None)
    assert (shown[GROQ]["input"], shown[GROQ]["cached_input"]) == ("0.15", "0.075")
    assert (shown[GROQ]["source"], shown[GROQ]["as_of"]) == ("catalogue", "2026-11-09")
    assert shown[GROQ]["context"] == 131_072


def test_people_get_a_row_per_target():
    lines = run_llmfail("prices", "show").lines
    assert lines[0].split() == ["target", "input", "output", "cached", "written", "from", "as", "of", "notes"]
    assert lines[1].split()[:4] == [CLAUDE, "3", "15", "configuration"]
    assert "as of 2026-11-09, from genai-prices" in lines[-1]


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_a_screen_of_any_width_shows_every_target_and_its_price(columns):
    with run_on_terminal(columns, "prices", "show") as screen:
        assert screen.finish() == 0
        folded = "".join(screen.text.split())
    assert all(target in folded for target in (CLAUDE, GPT))


def test_a_target_is_shown_with_all_that_is_listed_for_it():
    shown = run_llmfail("prices", "show", "openai/gpt-6-luna").out
    assert "openai/gpt-6-luna: catalogue of 2026-11-09" in shown
    assert "context: 922,000 tokens" in shown
    assert "272,000" in shown
    assert all(variant in shown for variant in ("always", "flex", "priority", "batch"))


def test_a_target_in_json_has_its_steps_days_hours_and_variants():
    deepseek = run_llmfail("prices", "show", "deepseek/deepseek-v4-pro", "--json").json
    assert {"since": "2026-08-17"}.items() <= deepseek["periods"][1].items()
    assert deepseek["periods"][2]["hours_utc"] == ["01:00", "04:00"]
    luna = run_llmfail("prices", "show", "openai/gpt-6-luna", "--json").json
    assert luna["periods"][0]["input"] == {"base": "0.1", "steps": [{"above": 272_000, "price": "0.2"}]}
    assert {one["variant"] for one in luna["variants"]} == {"flex", "priority", "fast", "batch"}


def test_what_ends_soon_is_told():
    assert "retires 2026-12-11" in run_llmfail("prices", "show", "openai/gpt-5").out
    assert run_llmfail("prices", "show", "openai/gpt-5", "--json").json["retires"] == "2026-12-11"


@pytest.mark.parametrize("target", ["nobody/nothing", "openai/nonesuch", "openrouter/x/y"])
def test_i11_what_nobody_lists_is_a_usage_error(target):
    done = run_llmfail("prices", "show", target)
    assert (done.code, done.out) == (2, "")
    assert "there is no provider" in done.err or "neither in the configuration nor in the" in done.err


def test_what_is_no_target_is_a_usage_error():
    done = run_llmfail("prices", "show", "gpt-5")
    assert (done.code, done.out) == (2, "")
    assert "provider/model" in done.err


def test_showing_records_nothing():
    run_llmfail("prices", "show")
    assert read_store_rows() == []


def test_a_refreshed_list_counts_in_every_command(source):
    done = run_llmfail("prices", "refresh", "--url", source)
    assert done.code == 0
    assert done.out.startswith("1 models at 1 providers, prices as of 20")
    shown = run_llmfail("prices", "show", "anthropic/claude-opus-5-5", "--json").json
    assert (shown["input"], shown["output"]) == ("77", "88")
    assert run_llmfail("status", "--json").json["prices_as_of"] == shown["as_of"]


def test_a_refresh_says_in_json_what_it_did(source):
    told = run_llmfail("prices", "refresh", "--url", source, "--json").json
    assert told == {"as_of": told["as_of"], "models": 1, "sources": {"genai-prices": source}, "kept": None}


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("--url", "http://127.0.0.1:9/"), 3, "nothing has changed"),
        (("--url", "somewhere"), 2, "http"),
        (("--url", "http://127.0.0.1:9/", "--offline"), 2, "not both"),
    ],
)
def test_a_refresh_that_fails_says_so_in_one_line(arguments, code, part):
    done = run_llmfail("prices", "refresh", *arguments)
    assert (done.code, done.out) == (code, "")
    assert part in done.err
    assert len(done.err.splitlines()) == 1


def test_without_the_package_a_refresh_says_how_to_get_it():
    program = (
        "import sys; sys.modules['genai_prices'] = None; "
        "from llmfail.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    for offline in ((), ("--offline",)):
        done = subprocess.run(
            [sys.executable, "-c", program, "prices", "refresh", *offline],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert "pip install 'llmfail[prices]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_damaged_list_is_told_once_and_answers_go_on(tmp_path, source):
    run_llmfail("prices", "refresh", "--url", source)
    [file] = (tmp_path / "state" / "prices").glob("anthropic.json")
    file.write_text("{")
    done = run_llmfail("prices", "show", "anthropic/claude-opus-5-5", "--json")
    assert done.json["input"] == "4"
    assert done.err.count("mends them") == 1
    assert run_llmfail("-q", "prices", "show").err == ""


def test_unknown_prices_and_ends_are_warnings_of_config_check(tmp_path, simulator, monkeypatch):
    models = {"openai/gpt-5": {}, "openai/nonesuch": {}, "groq/mine": {"price": {"cached_input": 1}}}
    path = write_config(tmp_path / "d.yaml", simulator, models=models)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    warned = {
        one["path"]: one["message"] for one in run_llmfail("config", "check", "--json").json["warnings"]
    }
    assert "retires on 2026-12-11" in warned["models.openai/gpt-5"]
    assert "no price here or in the catalogue" in warned["models.openai/nonesuch"]
    assert "a price for cached_input, but none for input and output" in warned["models.groq/mine"]
