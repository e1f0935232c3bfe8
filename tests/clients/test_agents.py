"""Agents as processes against the gateway: Codex, Claude Code, and ``llm``."""

import json
import os
import shutil
import subprocess

import pytest
from gateway import FRAMEWORKS_PYTHON, KEY, NODE_MODULES, TARGETS, require

from llmfail.core.model import Reply
from llmfail.simulator.canned_turn import CannedTurn, build_canned_turn
from llmfail.simulator.faults import parse_faults

CODEX = NODE_MODULES / "@openai" / "codex" / "bin" / "codex.js"
CLAUDE = NODE_MODULES / "@anthropic-ai" / "claude-code" / "bin" / "claude.exe"
AGENT_TIMEOUT = 120


def run(arguments, home, **environment):
    return subprocess.run(
        arguments,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=AGENT_TIMEOUT,
        check=False,
    )


@pytest.fixture
def codex(gateway, simulator, streams, tmp_path):
    """What Codex says to a prompt, event by event."""
    require(CODEX, "Codex")

    def codex(prompt, model):
        provider = {"name": "llmfail", "base_url": f"{gateway.url}/v1", "env_key": "GATEWAY_KEY"}
        settings = [f'model_providers.llmfail.{name}="{value}"' for name, value in provider.items()]
        settings += ['model_providers.llmfail.wire_api="responses"', 'model_provider="llmfail"']
        settings += ['web_search="disabled"']  # which OpenAI's servers would do, so nobody else could answer
        options = [word for setting in settings for word in ("-c", setting)]
        said = run(
            [
                shutil.which("node"),
                str(CODEX),
                "exec",
                "--skip-git-repo-check",
                "--json",
                "-m",
                model,
                *options,
                prompt,
            ],
            tmp_path,
            CODEX_HOME=str(tmp_path),
            GATEWAY_KEY=KEY,
        )
        return said, [json.loads(line) for line in said.stdout.splitlines()]

    return codex


@pytest.fixture
def claude(gateway, simulator, streams, tmp_path):
    """What Claude Code says to a prompt: its result."""
    require(CLAUDE, "Claude Code")

    def claude(prompt, model):
        said = run(
            [str(CLAUDE), "-p", prompt, "--output-format", "json", "--model", model],
            tmp_path,
            CLAUDE_CONFIG_DIR=str(tmp_path / "claude"),
            ANTHROPIC_BASE_URL=gateway.url,
            ANTHROPIC_AUTH_TOKEN=KEY,
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            CLAUDE_CODE_MAX_RETRIES="1",
        )
        return said, json.loads(said.stdout)

    return claude


@pytest.mark.parametrize("wire", ["responses", "anthropic"])
def test_codex_calls_tools_and_reads_an_answer(codex, simulator, wire):
    """The simulator calls the first two tools that it is offered."""
    before = simulator.count()
    said, events = codex("Say hello.", f"to-{wire}")
    kinds = [event["item"]["type"] for event in events if event["type"] == "item.completed"]
    texts = [
        event["item"]["text"] for event in events if event.get("item", {}).get("type") == "agent_message"
    ]
    assert said.returncode == 0, said.stdout
    assert texts[-1].startswith(f"Hello from {TARGETS[wire]} (simulated)."), events
    assert "command_execution" in kinds, events
    assert {request.target for request in simulator.requests[before:]} == {TARGETS[wire]}


@pytest.mark.parametrize("wire", ["anthropic", "chat"])
def test_claude_code_calls_a_tool_and_reads_an_answer(claude, simulator, tmp_path, wire):
    (tmp_path / "note.txt").write_text("A note of ours.")

    def answer(request):
        if build_canned_turn(request) is None:
            return "Read."
        return CannedTurn("I look.", (("Read", {"file_path": str(tmp_path / "note.txt")}),))

    simulator.set_answer(answer)
    before = simulator.count()
    _, result = claude("What does the note say?", f"to-{wire}")
    assert result["is_error"] is False, result
    assert result["result"] == "Read.", result
    asked = simulator.requests[before:]
    assert {request.target for request in asked} == {TARGETS[wire]}
    assert b"A note of ours." in asked[-1].body


def test_what_only_anthropic_knows_reaches_anthropic(claude, simulator):
    """Fields and the beta features that allow them belong together."""
    simulator.set_answer(lambda _: "Hello.")
    before = simulator.count()
    claude("Say hello.", "to-anthropic")
    asked = [request for request in simulator.requests[before:] if request.route.stream]
    assert asked
    for request in asked:
        assert request.path.endswith("/v1/messages?beta=true")
        assert "claude-code" in request.headers["anthropic-beta"]
        assert request.document["context_management"]
        assert request.document["model"] == "claude-sonnet-5-5"


def test_claude_code_asks_for_less_when_the_context_is_too_small(claude, simulator):
    """It goes by the words of Anthropic's error, whoever made it."""
    limits = []

    def answer(request):
        limits.append(request.max_tokens)
        if len(limits) > 1:
            return "Shorter."
        message = (
            "This model's maximum context length is 40000 tokens. However, you requested 62000 tokens "
            "(30000 in the messages, 32000 in the completion). Please reduce the length of the messages."
        )
        error = {"message": message, "type": "invalid_request_error", "code": "context_length_exceeded"}
        return Reply(400, {"content-type": "application/json"}, json.dumps({"error": error}).encode())

    simulator.set_answer(answer)
    _, result = claude("Say hello.", "to-chat")
    assert result["result"] == "Shorter.", result
    assert limits[1] < limits[0]


def test_claude_code_gives_up_when_all_are_down(claude, simulator):
    simulator.set_faults(parse_faults("all=503"))
    said, result = claude("Say hello.", "chain")
    assert said.returncode != 0
    assert result["is_error"] is True


def test_llm_shows_a_stream(gateway, simulator, tmp_path):
    require(FRAMEWORKS_PYTHON, "llm")
    model = {"model_id": "ours", "model_name": "to-anthropic", "api_base": f"{gateway.url}/v1"}
    models = [{**model, "api_key_name": "gateway"}]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    said = run(
        [str(FRAMEWORKS_PYTHON), "-m", "llm", "-m", "ours", "--key", KEY, "hi"],
        tmp_path,
        LLM_USER_PATH=str(tmp_path),
    )
    assert said.stdout.strip() == f"Hello from {TARGETS['anthropic']} (simulated). You said: hi", said.stderr
