"""What strangers can do to a running gateway: pages of other origins in a real browser, and hostile bytes."""

import gzip
import resource
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import open_browser
from running_gateway import ASK, ServeProcess

from llmfail import Client
from llmfail.simulator import Simulator

pytestmark = pytest.mark.slow

CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
providers: {{openai: {{api: openai, base_url: "{url}", api_key: made-up-key-1}}}}
cache: {{enabled: false}}
features: {{default: {{primary: openai/gpt-6.1-terra}}}}
serve:
  admin_token: admin-token-of-this-test
  keys: [{{name: app, key: program-key-of-this-test}}]
"""
SECRETS = ("admin-token-of-this-test", "program-key-of-this-test", "made-up-key-1")
KEY = {"authorization": "Bearer program-key-of-this-test"}
TOKEN = {"authorization": "Bearer admin-token-of-this-test"}
ADMIN_GET = ("/", "/live", "/features", "/money", "/queue", "/dashboard/events?page=live")
ADMIN_POST = ("/actions/trip", "/actions/reset", "/actions/probe", "/logout")
CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
HOSTILE = {
    "quotes": b"'\"; drop table keys; --",
    "not ASCII": "schl\u00fcssel-\u30ad\u30fc".encode(),
    "no text": b"\xff\xfe\x80",
    "a NUL": b"a\0b",
    "a megabyte": b"x" * 1_000_000,
    "empty": b"",
    "two words": b"Bearer Bearer x",
}


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(simulator, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gateway")
    config = directory / "llmfail.yaml"
    config.write_text(CONFIG.format(url=simulator.base_url("openai")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMFAIL_STATE_DIR", str(directory / "state"))
        patch.setenv("HOME", str(directory))
        running = ServeProcess(config=config)
        running.config = config
        yield running
        running.close()
    told = "\n".join(running.said)
    assert not [one for one in SECRETS if one in told]
    assert "Traceback" not in told


def send(port, head, body=b"", timeout=30):
    """Raw bytes, and the first of what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
        found = b""
        with suppress(BrokenPipeError, ConnectionResetError):
            link.sendall(head + body)
        with suppress(ConnectionResetError, TimeoutError):
            while piece := link.recv(65536):
                found += piece
                if b"\r\n\r\n" in found:
                    break  # a server may go on reading for a while, so that its reply arrives
        return found


def status_of(reply):
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/") else None


def state_of(gateway):
    with Client(gateway.config, state_dir=gateway.config.parent / "state") as client:
        return client.status().targets[0].state


EVIL = (Path(__file__).parent / "evil_page.html").read_text()
OPAQUE = {"no-cors post: 0 0", "action no-cors: 0 0"}


@pytest.fixture(scope="module")
def chromium():
    # A new browser asks its user before a page may reach this machine at all; an older one does not.
    with open_browser(
        "--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-features=LocalNetworkAccessChecks"
    ) as browser:
        yield browser


@pytest.fixture(scope="module")
def evil_port(gateway):
    """A server of pages elsewhere: of another port of this host, and of another name."""
    page = EVIL.replace("PORT", str(gateway.port)).replace("BASE", "gateway").encode()

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def sign_in(context, gateway):
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{gateway.port}/login")
    page.get_by_label("The admin token").fill("admin-token-of-this-test")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Targets").wait_for()
    return page


def count_calls(simulator):
    return len(simulator.requests)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.test"])
def test_a_page_of_another_origin_can_neither_call_an_endpoint_nor_read_the_dashboard(
    chromium, gateway, evil_port, simulator, host
):
    context = chromium.new_context()
    own = sign_in(context, gateway)
    before = count_calls(simulator)
    page = context.new_page()
    page.goto(f"http://{host}:{evil_port}/")
    page.wait_for_function("document.title === 'done'", timeout=60_000)
    told = page.evaluate("window.told")
    assert [one for one in told if not one.endswith((": refused", ": closed")) and one not in OPAQUE] == []
    assert len(told) == 11
    assert count_calls(simulator) == before
    assert state_of(gateway) == "closed"
    own.reload()
    own.get_by_role("heading", name="Targets").wait_for()  # and nobody has signed it out
    context.close()


def test_a_name_that_is_bound_to_this_machine_later_gets_nothing(chromium, gateway, simulator):
    """DNS rebinding: to the browser the page and the gateway are one origin; only the Host tells."""
    context = chromium.new_context()
    sign_in(context, gateway)
    page, before = context.new_page(), count_calls(simulator)
    base = f"http://rebound.test:{gateway.port}"
    html = EVIL.replace("PORT", str(gateway.port)).replace("BASE", '""')
    page.route(f"{base}/evil", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(f"{base}/evil")
    page.wait_for_function("document.title === 'done'", timeout=60_000)
    told = page.evaluate("window.told")
    lengths = [int(one.split()[-1]) for one in told if ": 403 " in one]
    assert len(lengths) >= 6, told
    assert max(lengths) < 200, "what is said to a stranger is a line"
    assert [one for one in told if ": 2" in one or ": 3" in one] == []
    assert "frame: true" not in told
    assert (count_calls(simulator), state_of(gateway)) == (before, "closed")
    context.close()


@pytest.mark.parametrize("name", CREDENTIALS)
def test_hostile_credentials_are_refused_and_nothing_secret_is_said(gateway, name):
    for kind, value in HOSTILE.items():
        for path in ("/v1/models", "/live", "/metrics"):
            head = b"GET %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nconnection: close\r\n" % (
                path.encode(),
                gateway.port,
            )
            shown = b"Bearer " + value if name == "authorization" else value
            reply = send(gateway.port, head + name.encode() + b": " + shown + b"\r\n\r\n")
            allowed = {400, 401, 403, 431, None} | (
                {200} if path == "/metrics" else {303} if kind == "empty" else set()
            )
            assert status_of(reply) in allowed, (kind, path, reply[:200])
            assert not [one for one in SECRETS if one.encode() in reply]
            assert value[:30] not in reply or len(value) < 4 or path == "/metrics", (kind, path)
    assert gateway.call("GET", "/v1/models", **KEY)[0] == 200


def test_a_key_of_a_program_is_forbidden_on_every_admin_route(gateway):
    for name in CREDENTIALS:
        shown = {
            name: "Bearer program-key-of-this-test" if name == "authorization" else "program-key-of-this-test"
        }
        for path in ADMIN_GET:
            assert gateway.call("GET", path, **shown)[0] == 403
        for path in ADMIN_POST:
            assert gateway.call("POST", path, {}, **shown)[0] == 403
    assert [gateway.call("GET", path, **TOKEN)[0] for path in ADMIN_GET[:5]] == [200] * 5
    assert state_of(gateway) == "closed"
    for method, path in (
        ("POST", "/admin/keys"),
        ("POST", "/keys"),
        ("PUT", "/"),
        ("POST", "/config"),
        ("DELETE", "/v1/models/default"),
    ):
        assert gateway.call(method, path, {}, **TOKEN)[0] in {401, 403, 404, 405}


def ask(gateway):
    return gateway.call("POST", "/v1/chat/completions", ASK, **KEY)[0]


def post_head(gateway, *lines):
    named = ["POST /v1/chat/completions HTTP/1.1", f"host: 127.0.0.1:{gateway.port}", *lines]
    named += [f"authorization: {KEY['authorization']}", "content-type: application/json", "connection: close"]
    return ("\r\n".join(named) + "\r\n\r\n").encode()


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(gateway):
    began = time.monotonic()
    reply = send(gateway.port, post_head(gateway, f"content-length: {33 << 20}"))
    assert status_of(reply) == 413
    assert time.monotonic() - began < 10
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 100_000
    head = post_head(gateway, f"content-length: {len(bomb)}", "content-encoding: gzip")
    assert status_of(send(gateway.port, head, bomb)) == 413
    assert ask(gateway) == 200


def test_half_heads_and_trickled_bodies_are_given_up_and_2000_idle_connections_hold_up_nobody(gateway):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    count = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    began = time.monotonic()
    half = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0")
    body = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
    body.sendall(post_head(gateway, "content-length: 100000") + b"{")
    idle = [socket.create_connection(("127.0.0.1", gateway.port), timeout=30) for _ in range(count)]
    try:
        assert [ask(gateway) for _ in range(5)] == [200] * 5
        assert half.recv(1000) == b""
        assert time.monotonic() - began < 20  # 8 s on a machine that has nothing else to do
        assert status_of(body.recv(1000)) == 408
        assert time.monotonic() - began < 60  # 20 s
    finally:
        for one in (*idle, half, body):
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ask(gateway) == 200
