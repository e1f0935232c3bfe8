"""The simulator for tests: requests in each wire format, and the simulator as a process of its own.

In this process it is the fixture ``simulator``; its own process is for tests that must not share an
interpreter with the server they measure or kill.
"""

import contextlib
import http.client
import json
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

CLAUDE = "claude-sonnet-5-5"
GPT = "gpt-6.1-terra"
GEMINI = "gemini-3.8-flash"
VERTEX = "/v1/projects/p/locations/global/publishers"

PROVIDERS = ("anthropic", "openai", "google", "vertex")
"""One of each wire format."""


def build_request(provider, prompt="Say hello", *, stream=False, model=None, max_tokens=100):
    """The path behind a provider's base URL, and the document to post there."""
    turn = [{"role": "user", "content": prompt}]
    contents = {
        "contents": [{"role": "user", "parts": [{"text": prompt}]}],
        "generationConfig": {"maxOutputTokens": max_tokens},
    }
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    match provider:
        case "anthropic":
            plain = {"model": model or CLAUDE, "max_tokens": max_tokens, "messages": turn}
            return "/v1/messages", plain | ({"stream": True} if stream else {})
        case "google":
            return f"/v1beta/models/{model or GEMINI}:{verb}", contents
        case "vertex":
            return f"{VERTEX}/google/models/{model or GEMINI}:{verb}", contents
        case _:
            options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            return "/chat/completions", {
                "model": model or GPT,
                "max_completion_tokens": max_tokens,
                "messages": turn,
            } | options


@dataclass(frozen=True)
class HttpReply:
    status: int
    headers: dict
    body: bytes

    @property
    def document(self):
        return json.loads(self.body)


def post(base_url, path, document, *, connection=None, timeout=10):
    """One POST, on a connection of its own unless one is given."""
    url = urlsplit(base_url)
    used = connection or http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    try:
        used.request("POST", url.path + path, json.dumps(document), {"content-type": "application/json"})
        reply = used.getresponse()
        return HttpReply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        if not connection:
            used.close()


def ask(simulator, provider, prompt="Say hello", **options):
    """A question in the provider's format to the simulator in this process."""
    return post(simulator.base_url(provider), *build_request(provider, prompt, **options))


@dataclass(frozen=True)
class SimulatorProcess:
    """``base_urls`` by provider; ``url`` serves every provider under its name, and the control channel."""

    process: subprocess.Popen
    url: str
    base_urls: dict

    def counts(self):
        """What has arrived: ``total``, and ``providers``, ``targets`` and ``connections`` by name."""
        return json.loads(self._control("GET", "/__requests"))

    def set_faults(self, text):
        self._control("POST", "/__faults", text)

    def _control(self, method, path, body=None):
        url = urlsplit(self.url)
        with contextlib.closing(http.client.HTTPConnection(url.hostname, url.port, timeout=10)) as connection:
            connection.request(method, path, body)
            reply = connection.getresponse()
            text = reply.read()
        assert reply.status == 200, text
        return text


@contextlib.contextmanager
def start_simulator_process(faults="none", *options):
    """``python -m llmfail.simulator`` for as long as the block runs."""
    command = [sys.executable, "-m", "llmfail.simulator", "--faults", faults, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = json.loads(process.stdout.readline())
            yield SimulatorProcess(process, line["url"], line["base_urls"])
        finally:
            process.terminate()
            process.wait(10)
