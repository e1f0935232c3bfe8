"""What a shell offers while a command line is typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmfail.cli.main import run
from llmfail.client.blocking import Client
from llmfail.core.errors import CredentialsMissing

CONFIG = """\
version: 1
providers: {openai: {api: openai, api_key: "${OPENAI_API_KEY}"}, local: {api: openai, api_key: none}}
features:
  vpr: {aliases: [report], primary: openai/gpt-6-luna, fallbacks: [local/llama]}
  chat: {primary: local/llama}
templates: {letter: "Write $x"}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


@pytest.fixture
def complete(monkeypatch, capfd):
    """The names that bash is offered for the last word of a line."""

    def complete(line):
        words = line.split(" ")
        monkeypatch.setenv("_LLMFAIL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        run([])
        said = capfd.readouterr()
        assert said.err == ""
        return said.out.split()

    return complete


LINES = {
    "llmfail ask -f ": ["vpr", "report", "chat"],
    "llmfail ask hi --feature v": ["vpr"],
    "llmfail plan -f c": ["chat"],
    "llmfail batch x -f c": ["chat"],
    "llmfail drill -f c": ["chat"],
    "llmfail cost-estimate -f c": ["chat"],
    "llmfail ask -m ": ["openai/gpt-6-luna", "local/llama"],
    "llmfail ask -t ": ["letter"],
    "llmfail ask --expect js": ["json"],
    "llmfail reset o": ["openai", "openai/gpt-6-luna"],
    "llmfail trip local/": ["local/llama"],
    "llmfail probe l": ["local", "local/llama"],
    "llmfail prices show o": ["openai/gpt-6-luna"],
    "llmfail usage --by t": ["target"],
    "llmfail cost-estimate --scenario o": ["outage:openai", "outage:local"],
    "llmfail drill --scenario h": ["healthy", "hang"],
    "llmfail stat": ["status"],
    "llmfail config ch": ["check"],
    "llmfail reset nonsense": [],
}


@pytest.mark.parametrize(("line", "offered"), LINES.items(), ids=LINES)
def test_i6_names_of_the_configuration_are_offered(config, complete, line, offered):
    assert complete(line) == offered


def test_i6_the_configuration_is_the_one_that_the_line_names(tmp_path, config, complete):
    (tmp_path / "other.yaml").write_text(CONFIG.replace("chat:", "talk:"))
    other = tmp_path / "other.yaml"
    assert complete(f"llmfail --config {other} ask -f t") == ["talk"]
    assert complete(f"llmfail ask --config {other} -f t") == ["talk"]


def test_i6_ids_of_the_log_are_offered(config, complete):
    with Client(config) as client, pytest.raises(CredentialsMissing) as raised:
        client.ask("hi", model="openai/gpt-6-luna")
    receipt = raised.value.receipt
    assert complete("llmfail log ") == [receipt.id]
    assert complete(f"llmfail log {receipt.id[:6]}") == [receipt.id]


@pytest.mark.parametrize("text", ["version: 2", "a: ["])
def test_i6_a_configuration_that_cannot_be_read_offers_nothing(config, complete, text):
    config.write_text(text)
    assert complete("llmfail ask -f ") == []


def test_i6_completion_imports_nothing_heavy(config):
    environ = {
        **os.environ,
        "_LLMFAIL_COMPLETE": "complete_bash",
        "COMP_WORDS": "llmfail ask -f ",
        "COMP_CWORD": "3",
    }
    program = (
        "import sys\nfrom llmfail.cli.main import run\nrun([])\n"
        "print('modules', *sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, env=environ, cwd=Path("/"))
        for _ in range(2)
    )
    assert first.stdout.split() == second.stdout.split() == ["vpr", "report", "chat"]
    modules = set(second.stderr.split())
    assert modules.isdisjoint({"httpcore", "aiohttp", "asyncio", "llmfail.engine.engine", "rich.console"})
