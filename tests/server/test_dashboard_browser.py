"""The dashboard in a real browser: what is seen, read aloud, reached by keys, and live."""

import logging
import re
import time
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import open_browser
from dashboard_server import DashboardServer
from playwright.sync_api import expect

from llmfail import Client, Unavailable
from llmfail.simulator import parse_faults

pytestmark = pytest.mark.slow

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 5s, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 10m}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-1}}
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
  keyless: {{api: openai, base_url: "{openai}", api_key: "${{NOT_SET_ANYWHERE}}"}}
budgets:
  - {{name: daily, limit: 5, per: day}}
  - {{name: monthly, limit: 0.2, per: month, each: provider}}
features:
  default: {{primary: anthropic/claude-sonnet-5-5, fallbacks: [openai/gpt-6.1-terra], degrade: [queue]}}
  lonely: {{primary: openai/gpt-6-luna, fallbacks: [keyless/x]}}
"""
CLAUDE, TERRA, LUNA = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "openai/gpt-6-luna"
PATHS = ("/", "/live", "/features", "/money", "/queue")
WAIT = 10_000
"""Milliseconds that tell what hangs from what works."""


@pytest.fixture(scope="module")
def chromium():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("anthropic", "openai")}))
    return file


@pytest.fixture
def dashboard(config):
    with DashboardServer(config) as running:
        yield running
    assert running.errors == []


@contextmanager
def visit(chromium, dashboard, **settings):
    """A page that has signed in; nothing it does may break its policy, its scripts, or leave the host."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **settings)
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.problems = []
    page.on(
        "console", lambda message: page.problems.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on(
        "request",
        lambda one: (
            None if one.url.startswith(dashboard.url) else page.problems.append(f"left for {one.url}")
        ),
    )
    page.goto(dashboard.url + dashboard.link)
    yield page
    context.close()


def fail_twice(config, simulator, faults="anthropic=503"):
    simulator.set_faults(parse_faults(faults))
    with Client(config) as client:
        for number in range(2):
            client.ask(f"hi {number}")


def row_of(page, target):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=target))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_five_pages_are_readable_by_everybody_and_keep_to_their_policy(
    chromium, dashboard, config, simulator, scheme, tmp_path
):
    fail_twice(config, simulator)
    simulator.set_faults(parse_faults("anthropic=503,openai=503"))
    with Client(config) as client:
        client.trip(LUNA, 600)
        with pytest.raises(Unavailable):
            client.ask("later", feature="default")
    with visit(chromium, dashboard, color_scheme=scheme) as page:
        for path in PATHS:
            page.goto(dashboard.url + path)
            expect(page.locator("#connection")).to_have_text("live")
            if path == "/live":
                page.locator("summary").first.click()
            for one in page.locator(".card details summary").all():
                one.click()
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            picture = tmp_path / f"{scheme}{path.replace('/', '-')}.png"
            page.screenshot(path=picture, full_page=True)
            assert picture.stat().st_size > 10_000
        assert page.problems == []


def test_charts_are_drawn_in_the_colours_of_the_scheme(chromium, dashboard, config, simulator):
    """A checker sees no canvas: axes that stay black on a dark page are found by their pixels."""
    fail_twice(config, simulator)
    count = """name => {
        const [wanted] = [getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()];
        const [r, g, b] = [1, 3, 5].map(at => parseInt(wanted.slice(at, at + 2), 16));
        const canvas = document.querySelector('[data-table=table-requests] canvas');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let at = 0; at < data.length; at += 4)
            if (data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] > 128) found += 1;
        return found;
    }"""
    with visit(chromium, dashboard, color_scheme="light") as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for name in ("quiet", "warn-fill"):
                deadline = time.monotonic() + WAIT / 1000
                while page.evaluate(count, name) <= 10:
                    assert time.monotonic() < deadline, f"{name} is not in the chart ({scheme})"


def test_everything_is_reached_by_keys(chromium, dashboard, config, simulator):
    fail_twice(config, simulator)
    with visit(chromium, dashboard) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        tab_to(page, page.get_by_role("link", name="Live"))
        page.keyboard.press("Enter")
        expect(page).to_have_url(dashboard.url + "/live")
        tab_to(page, page.locator("summary").first)
        page.keyboard.press("Enter")
        expect(
            page.get_by_text("answered, tier 1").or_(page.get_by_text("answered, tier 2")).first
        ).to_be_visible()
        page.goto(dashboard.url)
        button = page.get_by_role("button", name=f"Trip {LUNA} for 30 minutes")
        tab_to(page, button)
        outline = button.evaluate("one => getComputedStyle(one).outlineStyle")
        page.keyboard.press("Enter")
        expect(
            page.get_by_role("status").filter(has_text=f"forced open for 30 minutes: {LUNA}")
        ).to_be_visible()
        expect(row_of(page, LUNA)).to_contain_text("forced open")
        assert outline == "solid"
        assert page.problems == []


def tab_to(page, place):
    for _ in range(60):
        page.keyboard.press("Tab")
        if place.evaluate("one => one === document.activeElement"):
            return
    pytest.fail("it is not reached by the tab key")


def test_a_circuit_that_opens_is_seen_live(chromium, dashboard, config, simulator):
    with visit(chromium, dashboard) as page:
        expect(page.locator("#connection")).to_have_text("live")
        expect(row_of(page, CLAUDE)).to_contain_text("closed")
        fail_twice(config, simulator)
        opened_at = time.monotonic()
        expect(row_of(page, CLAUDE).locator(".chip")).to_have_text("open")
        logging.getLogger("llmfail.tests").info("seen after %.2f s", time.monotonic() - opened_at)
        expect(row_of(page, CLAUDE)).to_contain_text(
            re.compile(r"until \d\d:\d\d:\d\d \(in (9m\d\ds|10m00s)\)")
        )
        expect(page.locator(".verdict")).to_contain_text(f"Not closed: {CLAUDE} (open)")


def test_requests_appear_live_and_what_is_open_or_focused_stays_so(chromium, dashboard, config):
    with visit(chromium, dashboard) as page, Client(config) as client:
        page.goto(dashboard.url + "/live")
        expect(page.get_by_text("Nothing was asked yet")).to_be_visible()
        first = client.ask("one")
        page.locator(f"#request-{first.id} summary").click()
        second = client.ask("two")
        expect(page.locator(".requests > li").first).to_have_id(f"request-{second.id}")
        expect(page.locator(f"#request-{first.id} .trail")).to_be_visible()
        page.goto(dashboard.url)
        page.locator("#details-requests summary").click()
        page.locator("#reset-all").focus()
        client.ask("three")
        expect(row_of(page, CLAUDE).get_by_role("cell", name="3", exact=True)).to_be_visible()
        expect(page.locator("#table-requests")).to_be_visible()
        expect(page.locator("#reset-all")).to_be_focused()


def test_after_a_restart_the_page_is_live_again_by_itself(chromium, config):
    with DashboardServer(config) as first, visit(chromium, first) as page, Client(config) as client:
        page.goto(first.url + "/live")
        expect(page.locator("#connection")).to_have_text("live")
        first.stop()
        expect(page.locator("#connection")).to_have_text("connection lost, trying again")
        asked = client.ask("meanwhile")
        with DashboardServer(config, port=first.port) as second:
            expect(page.locator("#connection")).to_have_text("live")
            expect(page.locator(f"#request-{asked.id}")).to_be_visible()
        assert first.errors + second.errors == []


def test_without_javascript_pages_are_tables_that_refresh_and_forms_work(
    chromium, dashboard, config, simulator
):
    fail_twice(config, simulator)
    with visit(chromium, dashboard, java_script_enabled=False) as page:
        for path in PATHS:
            page.goto(dashboard.url + path)
            assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
            expect(page.locator("main")).to_be_visible()
        page.goto(dashboard.url + "/live")
        page.locator("summary").first.click()
        expect(page.locator(".trail").first).to_be_visible()
        page.goto(dashboard.url)
        expect(row_of(page, CLAUDE).locator(".chip")).to_have_text("open")
        page.locator("#details-requests summary").click()
        expect(page.locator("#table-requests")).to_be_visible()
        expect(page.locator(".chart").first).to_be_hidden()
        page.get_by_role("button", name=f"Reset {CLAUDE}").click()
        expect(page.get_by_role("status")).to_contain_text(f"reset: {CLAUDE}")
        expect(row_of(page, CLAUDE).locator(".chip")).to_have_text("closed")


def test_nothing_moves_for_those_who_asked_for_that(chromium, dashboard, config):
    animated = "() => document.querySelector('.requests li.new:first-child')?.getAnimations().length"
    with visit(chromium, dashboard) as page, Client(config) as client:
        page.goto(dashboard.url + "/live")
        client.ask("before")
        page.locator(".requests li").first.wait_for()
        for motion, wanted in (("reduce", 0), ("no-preference", 1)):
            page.emulate_media(reduced_motion=motion)
            new = client.ask(f"hi {motion}")
            page.locator(f"#request-{new.id}.new").wait_for()
            assert page.evaluate(animated) == wanted


def test_pages_that_are_left_leave_nothing_behind(chromium, dashboard, caplog):
    with caplog.at_level(logging.WARNING), visit(chromium, dashboard) as page:
        for _ in range(3):
            for path in PATHS:
                page.goto(dashboard.url + path)
        expect(page.locator("#connection")).to_have_text("live")
    deadline = time.monotonic() + 10
    while dashboard.is_watched and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not dashboard.is_watched
    assert [one.getMessage() for one in caplog.records] == []


def test_signing_in_is_readable_and_the_link_is_used_up(chromium, dashboard):
    with visit(chromium, dashboard) as page:
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Print a new link in that terminal")).to_be_visible()
        assert Axe().run(page).violations_count == 0
        page.goto(dashboard.url + dashboard.link)
        expect(page.get_by_role("alert")).to_contain_text("used before")
        page.get_by_role("button", name="Print a new link in that terminal").click()
        expect(page.get_by_role("status")).to_contain_text("A new link stands in the terminal")
        page.goto(dashboard.said[0].removeprefix("dashboard: "))
        expect(page).to_have_url(dashboard.url + "/")


def test_a_page_is_no_wider_than_its_window(chromium, dashboard, config, simulator):
    fail_twice(config, simulator)
    with visit(chromium, dashboard) as page:
        for path in PATHS:
            page.goto(dashboard.url + path)
            for width in (360, 800, 1920):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
