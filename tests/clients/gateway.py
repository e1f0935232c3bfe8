"""The gateway as a process, and the programs that ask it.

``Gateway`` runs ``llmfail serve`` on a configuration whose providers are the simulator and scripted streams.
``ClientProgram`` runs ``node_clients.mjs`` or ``python_clients.py``, which ask as anybody's programs do.
"""

import http.client
import itertools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE_MODULES = HERE / "node_modules"
FRAMEWORKS_PYTHON = HERE / ".venv" / "bin" / "python"
START_TIMEOUT = 60
JOB_TIMEOUT = 90
KEY = "made-up-key-of-a-client-4711"
TARGETS = {
    "anthropic": "anthropic/claude-sonnet-5-5",
    "chat": "openai/gpt-6.1-terra",
    "responses": "openai/gpt-6.1-sol",
    "gemini": "google/gemini-3.8-flash",
}
"""One target of each wire."""
DEAR = "openai/gpt-6-luna"
"""What costs more than there is."""


def require(path, what):
    """A client that is not installed fails the test where it has to be, and is passed over elsewhere."""
    if not path.exists():
        message = f"{what} is missing: run .ci/install-clients"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def build_config(simulator, streams):
    """Every wire, healthy (``to-…``), breaking off (``broken-…``), and broken with somebody behind it
    (``saved-…``).
    """
    played = {
        f"played_{provider}": streams.base_url(provider) for provider in ("anthropic", "openai", "google")
    }
    healthy = {
        provider: simulator.base_url(provider) for provider in ("anthropic", "openai", "google", "groq")
    }
    apis = {"anthropic": "anthropic", "openai": "openai", "google": "gemini", "groq": "openai"}
    features, limits = {}, {"first_token_timeout": "1s", "stall_timeout": "1s"}
    for wire, target in TARGETS.items():
        other = TARGETS["gemini" if wire == "anthropic" else "anthropic"]
        features[f"to-{wire}"] = {"primary": target}
        features[f"broken-{wire}"] = {"primary": f"played_{target}", **limits}
        features[f"saved-{wire}"] = {"primary": f"played_{target}", "fallbacks": [other], **limits}
    everybody = [TARGETS[wire] for wire in ("anthropic", "chat", "gemini")]
    return {
        "version": 1,
        "cache": {"enabled": False},
        "breaker": {"enabled": False},
        "defaults": {"retries": 0, "timeout": "20s"},
        "providers": {
            name: {"api": apis[name.removeprefix("played_")], "base_url": url, "api_key": f"made-up-{name}"}
            for name, url in {**healthy, **played}.items()
        },
        "models": {
            TARGETS["responses"]: {"endpoint": "responses"},
            f"played_{TARGETS['responses']}": {"endpoint": "responses"},
            DEAR: {"price": {"input": 1, "output": 1_000_000}},
        },
        "features": {
            **features,
            "default": {"primary": f"played_{everybody[0]}", "degrade": []},
            "chain": {"primary": everybody[0], "fallbacks": everybody[1:]},
            "queued": {"primary": f"played_{TARGETS['chat']}", "degrade": ["queue"]},
            "degraded": {"primary": f"played_{TARGETS['chat']}", "degrade": [{"text": "Come back later."}]},
            "hedged": {
                "primary": f"played_{TARGETS['chat']}",
                "fallbacks": [TARGETS["anthropic"]],
                "hedge": 0.1,
            },
            "dear": {"primary": DEAR},
            "hurried": {"primary": f"played_{TARGETS['chat']}", "deadline": "1s", "timeout": "20s"},
            "refused": {"primary": "groq/openai/gpt-oss-20b"},
            "vectors": {"primary": "openai/text-embedding-3-small"},
        },
        "budgets": [{"name": "daily", "limit": 100, "per": "day"}],
        "on_unknown_price": "allow",
        "serve": {"keys": [{"name": "tests", "key": KEY}]},
    }


class Gateway:
    """``llmfail serve`` until the end of the ``with``."""

    def __init__(self, directory, config):
        self.directory = directory
        self.config = directory / "llmfail.yaml"
        self.config.write_text(json.dumps(config))
        self.log = directory / "serve.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        arguments = ["--config", str(self.config), "--state-dir", str(self.directory / "state"), "serve"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llmfail", *arguments, "--listen", f"127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        ends_at = time.monotonic() + START_TIMEOUT
        while not self._is_up():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends_at, self.log.read_text()
            time.sleep(0.05)
        return self

    def __exit__(self, *_exc_info):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(START_TIMEOUT)
        finally:
            self.process.kill()

    def newest_receipt(self):
        """That of the last request in the gateway's log, once it is written: several are written together."""
        from llmfail import Client

        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        last = [line["id"] for line in told if line["feature"]][-1]
        ends_at = time.monotonic() + START_TIMEOUT
        with Client(self.config, state_dir=self.directory / "state") as client:
            while time.monotonic() < ends_at:
                for receipt in client.log():
                    if receipt["id"] == last:
                        return receipt
                time.sleep(0.02)
        raise AssertionError(f"there is no receipt of {last}")

    def _is_up(self):
        try:
            return self._get("/health/live") == 200
        except OSError:
            return False

    def _get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()


class ClientProgram:
    """A program that does one job after the other, or several at once, each told as a line of JSON."""

    def __init__(self, arguments, directory):
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE
        )
        self._numbers = itertools.count(1)
        self._answers = {}
        self._reader = threading.Thread(target=self._read_answers, daemon=True)
        self._reader.start()

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(START_TIMEOUT)
        finally:
            self._process.kill()
        self._reader.join(START_TIMEOUT)
        self._process.stdout.close()

    def run(self, client, do, **job):
        """What the client says: its text, or the error that it raised."""
        number, answers = next(self._numbers), queue.SimpleQueue()
        self._answers[number] = answers
        self._process.stdin.write(json.dumps({"number": number, "client": client, "do": do, **job}) + "\n")
        self._process.stdin.flush()
        answer = answers.get(timeout=JOB_TIMEOUT)
        assert answer is not None, f"the program of {client} has ended"
        return answer

    def _read_answers(self):
        for line in self._process.stdout:
            answer = json.loads(line)
            self._answers.pop(answer["number"]).put(answer)
        for waiting in self._answers.values():
            waiting.put(None)
