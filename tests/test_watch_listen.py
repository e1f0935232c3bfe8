"""``watch --listen``: what curl, a scraper and a page of a stranger get, and how it ends."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmfail import AsyncClient, Client, UsageError
from llmfail.http_server.host_rule import HostRule
from llmfail.http_server.listen_address import parse_listen
from llmfail.http_server.message import IncomingRequest
from llmfail.watch.health_pages import HealthPages

CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 60s}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
cache: {{enabled: false}}
features: {{default: {{primary: openai/gpt-6.1-terra}}}}
"""


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(openai=simulator.base_url("openai")))
    return file


@pytest.fixture
def watch(config):
    command = [sys.executable, "-m", "llmfail", "--config", config, "watch", "--listen", "127.0.0.1:0"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    first = running.stderr.readline()
    running.url = re.search(r"http://\S+", first)[0]
    yield running
    running.kill()
    running.wait()
    running.stderr.close()


def get(url, **headers):
    """Status and body."""
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def without_moments(status):
    """What does not change from one look to the next."""
    return {name: value for name, value in status.items() if name != "cache"}


def test_health_is_the_json_of_status_beside_processes_that_ask(config, watch):
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            with Client(config) as llm:
                for _ in range(5):
                    llm.ask("hi")
            os._exit(0)
        children.append(child)
    assert get(f"{watch.url}/health/llm-services")[0] == 200
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    time.sleep(1.1)  # a status may be a second old
    code, body = get(f"{watch.url}/health/llm-services")
    with Client(config) as llm:
        assert (code, without_moments(json.loads(body))) == (200, without_moments(llm.status().to_json()))
        llm.trip("openai/gpt-6.1-terra", 60)
    assert json.loads(body)["routing"]["total_requests"] == 40
    code, text = get(f"{watch.url}/metrics")
    told = {one.name: one.value for family in text_string_to_metric_families(text) for one in family.samples}
    assert (code, told["llmfail_requests_total"]) == (200, 40)
    time.sleep(1.1)
    code, body = get(f"{watch.url}/health/llm-services")
    assert (code, json.loads(body)["status"]) == (503, "unhealthy")


def test_however_many_ask_it_is_computed_once_in_a_second(config):
    """Each look counts; all come within one second, or some start another."""
    looks = []

    class Counting(AsyncClient):
        async def status(self):
            looks.append(time.monotonic())
            return await super().status()

    async def play():
        async with Counting(config) as client:
            pages = HealthPages(client, is_operator=lambda _: True)
            request = IncomingRequest("GET", "/health/llm-services", "", {}, b"", "127.0.0.1")
            started = time.monotonic()
            replies = [reply for _ in range(5) for reply in await ask_at_once(pages, request)]
            return replies, time.monotonic() - started

    replies, took = asyncio.run(play())
    assert {reply.status for reply in replies} == {200}
    # The metrics of the same moment look a second time.
    assert len(looks) <= 2 * (1 + int(took))


async def ask_at_once(pages, request):
    return await asyncio.gather(*(pages.handle(request) for _ in range(40)))


def test_a_monitor_is_not_told_zeros_where_the_state_cannot_be_read(config, tmp_path):
    (tmp_path / "state" / "state.sqlite3").mkdir(parents=True)

    async def play():
        async with AsyncClient(config, state_dir=tmp_path / "state", warn=lambda _: None) as client:
            pages = HealthPages(client, is_operator=lambda _: True)
            paths = ("/health/llm-services", "/metrics", "/health/ready")
            return [
                await pages.handle(IncomingRequest("GET", one, "", {}, b"", "127.0.0.1")) for one in paths
            ]

    services, metrics, ready = asyncio.run(play())
    assert (metrics.status, ready.status) == (503, 503)
    assert json.loads(services.body)["routing"]["total_requests"] is None


def test_it_is_live_and_ready_and_has_nothing_else(watch):
    assert get(f"{watch.url}/health/live") == (200, '{"status":"live"}')
    assert get(f"{watch.url}/health/ready") == (200, '{"status":"ready"}')
    assert get(f"{watch.url}/")[0] == 404
    request = urllib.request.Request(f"{watch.url}/health/live", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=30)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize("path", ["/health/live", "/health/llm-services", "/metrics", "/nowhere"])
def test_a_page_of_a_stranger_gets_nothing(watch, headers, path):
    code, body = get(watch.url + path, **headers)
    assert code == 403
    assert "openai" not in body


def test_sigterm_ends_it_within_a_second(watch):
    get(f"{watch.url}/health/live")
    started = time.monotonic()
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(30) == 143
    assert time.monotonic() - started < 5  # a second on a machine that has nothing else to do


@pytest.mark.parametrize(
    ("host", "origin", "to_all", "may"),
    [
        ("127.0.0.1:9464", None, False, True),
        ("localhost", None, False, True),
        ("LOCALHOST:1", None, False, True),
        ("[::1]:9464", None, False, True),
        ("[::1]", None, False, True),
        ("127.0.0.1:9464", "http://127.0.0.1:9464", False, False),
        ("127.0.0.1:9464", "null", False, False),
        ("evil.example", None, False, False),
        ("evil.example", None, True, False),
        ("127.0.0.1.evil.example", None, True, False),
        ("10.0.0.5:9464", None, False, False),
        ("10.0.0.5:9464", None, True, True),
        ("", None, True, False),
        (None, None, True, False),
    ],
)
def test_who_may_ask(host, origin, to_all, may):
    assert HostRule(listens_to_all=to_all).may_ask(host, origin) is may


def test_where_to_listen():
    assert parse_listen("127.0.0.1:9464") == ("127.0.0.1", 9464)
    assert parse_listen("[::1]:9464") == ("::1", 9464)
    assert parse_listen(":9464") == ("127.0.0.1", 9464)
    for text in ("9464", "localhost", "localhost:x", "localhost:70000", ""):
        with pytest.raises(UsageError, match="--listen is written"):
            parse_listen(text)


def test_a_port_that_is_taken_is_one_line(config, watch):
    port = watch.url.rpartition(":")[2]
    command = [sys.executable, "-m", "llmfail", "--config", config, "watch", "--listen", f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot listen on 127.0.0.1" in done.stderr
