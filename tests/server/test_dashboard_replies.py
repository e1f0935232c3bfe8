"""The dashboard as requests and replies, over a client with a state on disk: who is let in, what happens."""

import asyncio
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from llmfail import Client
from llmfail.http_server.message import IncomingRequest
from llmfail.server.dashboard.dashboard import Dashboard
from llmfail.server.dashboard.live_updates import MAX_LISTENERS
from llmfail.server.gateway_client import GatewayClient

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 5s, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 60s}}
providers: {{openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}}}
budgets: [{{name: daily, limit: 5, per: day}}]
features: {{default: {{primary: openai/gpt-6.1-terra, degrade: [queue]}}}}
"""
TARGET = "openai/gpt-6.1-terra"
ORIGIN = "http://127.0.0.1:4000"
OWN = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
GUARDED = ["/", "/live", "/features", "/money", "/queue", "/dashboard/events"]


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(openai=simulator.base_url("openai")))
    return file


class Visitor:
    """A browser's side of it: keeps the cookie."""

    def __init__(self, dashboard):
        self.dashboard, self.cookie, self.remote = dashboard, "", "127.0.0.1"

    async def get(self, place, **headers):
        return await self._ask("GET", place, b"", headers)

    async def post(self, place, form=None, headers=None):
        return await self._ask(
            "POST", place, urlencode(form or {}).encode(), OWN if headers is None else headers
        )

    async def _ask(self, method, place, body, headers):
        path, _, query = place.partition("?")
        sent = {"host": "127.0.0.1:4000", "cookie": self.cookie, **headers}
        reply = await self.dashboard.handle(IncomingRequest(method, path, query, sent, body, self.remote))
        self.cookie = reply.headers.get("set-cookie", self.cookie).partition(";")[0]
        return reply


def visit(config, work, token=None):
    """Run ``work`` with a visitor and the one-time link; what was said in the terminal."""
    said = []

    async def run():
        async with GatewayClient(config) as client:
            dashboard = Dashboard(client, token, said.append)
            link = await dashboard.start()
            try:
                await work(Visitor(dashboard), link)
            finally:
                await dashboard.close()

    asyncio.run(run())
    return said


def test_a_stranger_gets_no_page_and_can_do_nothing(config):
    async def work(visitor, _link):
        for path in GUARDED:
            reply = await visitor.get(path)
            assert (reply.status, reply.headers.get("location")) in {(303, "/login"), (401, None)}
            assert TARGET.encode() not in reply.body
        for action in ("reset", "trip", "probe"):
            assert (await visitor.post(f"/actions/{action}", {"name": TARGET})).status == 401
        assert (await visitor.get("/actions/trip")).status == 404
        assert (await visitor.get("/nowhere")).status == 404
        assert (await visitor.dashboard.client.status()).targets[0].state == "closed"

    visit(config, work)


def test_the_link_opens_once_in_all_and_the_cookie_outlives_a_restart(config):
    kept = []

    async def work(visitor, link):
        assert (await visitor.get(link)).status == 303
        assert (await visitor.get("/")).status == 200
        other = Visitor(visitor.dashboard)
        again = await other.get(link)
        assert (again.status, other.cookie) == (403, "")
        assert b"used before" in again.body
        kept.append((link, visitor.cookie))

    async def after_restart(visitor, link):
        old, cookie = kept[0]
        assert old != link
        assert (await visitor.get(old)).status == 403
        visitor.cookie = cookie
        assert (await visitor.get("/")).status == 200
        assert (await visitor.post("/logout")).status == 303
        assert (await visitor.get("/")).headers["location"] == "/login"

    visit(config, work)
    visit(config, after_restart)


def test_a_new_link_is_printed_in_the_terminal_and_nowhere_else(config):
    async def work(visitor, _link):
        reply = await visitor.post("/login/link")
        await visitor.post("/login/link")  # at once: nobody fills a terminal
        assert (reply.status, b"code=" in reply.body) == (200, False)

    said = visit(config, work)
    assert len(said) == 1

    async def follow(visitor, _link):
        place = urlsplit(said[0].removeprefix("dashboard: "))
        assert place.netloc == "127.0.0.1:4000"
        assert (await visitor.get(f"{place.path}?{place.query}")).status == 303

    visit(config, follow)


def test_the_admin_token_signs_in_and_guessing_ends(config):
    async def work(visitor, link):
        assert link is None
        assert b"admin token" in (await visitor.get("/login")).body
        for _ in range(10):
            assert (await visitor.post("/login", {"token": "wrong"})).status == 403
        assert (await visitor.post("/login", {"token": "admin-token-1"})).status == 429
        visitor.dashboard._failed_tokens.clear()
        assert (await visitor.post("/login", {"token": "admin-token-1"})).status == 303
        assert (await visitor.get("/money")).status == 200
        assert (await visitor.post("/login/link")).status == 403
        bearer = {"authorization": "Bearer admin-token-1"}
        assert (await Visitor(visitor.dashboard).get("/live", **bearer)).status == 200

    assert visit(config, work, "admin-token-1") == []


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-goog-api-key", "api-key"])
def test_a_key_of_a_program_is_forbidden_on_every_admin_route(config, header):
    async def work(visitor, link):
        await visitor.get(link)
        for method, path in visitor.dashboard.routes:
            if path in GUARDED:
                assert (await visitor.get(path, **{header: "sk-program"})).status == 403
            elif method == "POST" and not path.startswith("/login"):
                assert (await visitor.post(path, headers={**OWN, header: "sk-program"})).status == 403

    visit(config, work)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"origin": "null"},
    ],
)
def test_a_form_of_another_page_does_nothing_even_with_the_cookie(config, headers):
    async def work(visitor, link):
        await visitor.get(link)
        for path in ("/actions/trip", "/actions/reset", "/actions/probe", "/logout", "/login", "/login/link"):
            assert (await visitor.post(path, {"name": TARGET}, headers)).status == 403
        assert (await visitor.dashboard.client.status()).targets[0].state == "closed"

    assert visit(config, work) == []


def test_other_machines_need_the_admin_token_and_no_link_helps_them(config):
    async def work(visitor, link):
        if link:
            await visitor.get(link)
        visitor.remote = "192.0.2.7"
        bearer = {"authorization": "Bearer admin-token-1"}
        wanted = (403, 403) if link else (303, 200)
        assert ((await visitor.get("/")).status, (await visitor.get("/", **bearer)).status) == wanted
        assert (await visitor.get("/login")).status == (403 if link else 200)

    visit(config, work)
    visit(config, work, "admin-token-1")


def notice_of(reply):
    return parse_qs(urlsplit(reply.headers["location"]).query)["notice"][0]


def test_trip_reset_and_probe_do_what_the_command_line_does(config):
    async def work(visitor, link):
        await visitor.get(link)
        client = visitor.dashboard.client

        async def act(action, name):
            place = (await visitor.post(f"/actions/{action}", {"name": name})).headers["location"]
            return (await visitor.get(place)).body.decode()

        assert f"forced open for 30 minutes: {TARGET}" in await act("trip", TARGET)
        one = (await client.status()).targets[0]
        assert one.state == "forced_open"
        assert f"reset: {TARGET}" in await act("reset", TARGET)
        assert (await client.status()).targets[0].state == "closed"
        assert "nothing to reset" in await act("reset", "")
        assert f"probe of {TARGET}: ok in" in await act("probe", TARGET)
        assert "trip failed: no provider or target is called" in await act("trip", "<b>nobody</b>")
        assert "&lt;b&gt;nobody" in await act("trip", "<b>nobody</b>")
        assert "probe failed" in await act("probe", "")

    visit(config, work)


def test_a_notice_is_shown_only_as_it_was_signed(config):
    async def work(visitor, link):
        await visitor.get(link)
        notice = notice_of(await visitor.post("/actions/trip", {"name": TARGET}))
        assert b"forced open for 30 minutes" in (await visitor.get(f"/?notice={notice}")).body
        assert b"forced open for 30 minutes" not in (await visitor.get(f"/?notice=00{notice}")).body

    visit(config, work)


def test_a_form_that_is_too_long_is_refused(config):
    async def work(visitor, link):
        await visitor.get(link)
        assert (await visitor.post("/actions/trip", {"name": "x" * 20_000})).status == 413

    visit(config, work)


def test_files_are_served_with_their_types_and_nothing_may_be_framed_or_inlined(config):
    async def work(visitor, link):
        await visitor.get(link)
        for path in ("/", "/login", "/dashboard/app.js", "/dashboard/style.css", "/dashboard/icon.svg"):
            reply = await visitor.get(path)
            policy = reply.headers["content-security-policy"]
            assert reply.status == 200
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert reply.headers["x-content-type-options"] == "nosniff"
        assert (await visitor.get("/dashboard/app.js")).headers["content-type"].startswith("text/javascript")
        assert (await visitor.get("/dashboard/../dashboard.py")).status == 404

    visit(config, work)


async def read_until(stream, text):
    """The events up to the one that has this text."""
    found = b""
    async with asyncio.timeout(10):
        while text.encode() not in found:
            found += await anext(stream)
    return found.decode()


def test_an_open_page_is_sent_everything_and_then_what_changes(config):
    async def work(visitor, link):
        await visitor.get(link)
        reply = await visitor.get("/dashboard/events?page=live")
        assert reply.headers["content-type"].startswith("text/event-stream")
        first = await read_until(reply.stream, '"whole":true')
        assert "retry: 500" in first
        assert "event: fragment" in first
        receipt = await visitor.dashboard.client.ask("hi")
        later = await read_until(reply.stream, receipt.id)
        assert '"whole":false' in later
        await reply.stream.aclose()

    visit(config, work)


def test_one_producer_serves_all_pages_and_ends_with_the_last(config):
    async def work(visitor, link):
        await visitor.get(link)
        client, looks = visitor.dashboard.client, []
        status = client.status

        async def counted():
            looks.append(1)
            return await status()

        client.status = counted
        streams = [
            (await visitor.get("/dashboard/events?page=overview")).stream for _ in range(MAX_LISTENERS)
        ]
        for stream in streams:
            await read_until(stream, "event: fragment")
        assert (await visitor.get("/dashboard/events?page=overview")).status == 503
        assert (await visitor.get("/dashboard/events?page=nothing")).status == 404
        assert len(looks) < MAX_LISTENERS / 2
        for stream in streams:
            await stream.aclose()
        async with asyncio.timeout(10):
            while visitor.dashboard._updates._producing is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        again = (await visitor.get("/dashboard/events?page=money")).stream
        await read_until(again, "daily")
        await again.aclose()

    visit(config, work)


def test_without_a_key_the_first_page_says_what_to_do(tmp_path):
    file = tmp_path / "llmfail.yaml"
    file.write_text(
        CONFIG.format(openai="http://127.0.0.1:9/v1").replace("made-up-key-1", '"${NOT_SET_HERE}"')
    )

    async def work(visitor, link):
        await visitor.get(link)
        text = (await visitor.get("/")).body.decode()
        assert "Nothing can be asked yet" in text
        assert "NOT_SET_HERE" in text
        assert "llmfail serve --drill none" in text

    visit(file, work)


def test_what_is_queued_and_logged_is_on_its_page_without_the_prompt(config, simulator):
    from llmfail.simulator import parse_faults

    simulator.set_faults(parse_faults("openai=503"))
    with Client(config) as client, pytest.raises(Exception, match="no target"):
        client.ask("a private prompt")

    async def work(visitor, link):
        await visitor.get(link)
        queue = (await visitor.get("/queue")).body.decode()
        assert "llmfail queue run" in queue
        live = (await visitor.get("/live")).body.decode()
        assert "no answer" in live
        assert "a private prompt" not in queue + live

    visit(config, work)
