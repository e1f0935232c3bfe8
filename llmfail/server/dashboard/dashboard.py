"""The dashboard as requests and replies: who may see it, its pages, its files, its stream and its actions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from urllib.parse import parse_qs, urlencode

from llmfail.core.errors import LlmfailError
from llmfail.core.loopback import is_loopback
from llmfail.http_server.message import IncomingRequest, OutgoingReply
from llmfail.server.dashboard.admin_access import (
    LINK_SECONDS,
    SESSION_SECONDS,
    AdminAccess,
    cookie_name,
    is_same_origin,
    write_cookie,
)
from llmfail.server.dashboard.admin_actions import ActionName, AdminActions
from llmfail.server.dashboard.admin_secret import claim_link, load_secret
from llmfail.server.dashboard.live_updates import LiveUpdates
from llmfail.server.dashboard.page_data import PageReader
from llmfail.server.dashboard.page_template import ASSETS, render_template
from llmfail.server.dashboard.pages import BY_NAME, BY_PATH, PAGES, Page, render_fragments
from llmfail.server.gateway_client import GatewayClient

MAX_FORM_BYTES = 16_384
NOTICE_SECONDS = 60
LINK_PAUSE_SECONDS = 5.0
"""Between two links that are printed because somebody asks for one."""
MAX_FAILED_TOKENS = 10
"""In a minute."""
ASSET_TYPES = {
    "style.css": "text/css",
    "uplot.css": "text/css",
    "app.js": "text/javascript",
    "uplot.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
ACTIONS: Mapping[str, ActionName] = {
    "/actions/reset": "reset",
    "/actions/trip": "trip",
    "/actions/probe": "probe",
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every reply. With a stricter referrer policy a browser would hide the Origin of our own forms."""
Handler = Callable[[IncomingRequest], Awaitable[OutgoingReply]]


class Dashboard:
    """``say`` writes a line where the server was started. ``start`` comes first."""

    def __init__(self, client: GatewayClient, admin_token: str | None, say: Callable[[str], None]) -> None:
        self._reader = PageReader(client)
        self._token = admin_token
        self._say = say
        self._updates = LiveUpdates(self._reader)
        self._actions = AdminActions()
        self._access = AdminAccess(b"", admin_token)
        self._link_printed_at = -LINK_PAUSE_SECONDS
        self._failed_tokens: list[float] = []
        self._open: Mapping[tuple[str, str], Handler] = {
            ("GET", "/login"): self._show_login,
            ("POST", "/login"): self._take_token,
            ("POST", "/login/link"): self._print_link,
            **{("GET", f"/dashboard/{name}"): self._send_asset for name in ASSET_TYPES},
        }
        self._guarded: Mapping[tuple[str, str], Handler] = {
            **{("GET", path): self._show_page for path in BY_PATH},
            ("GET", "/dashboard/events"): self._send_events,
            **{("POST", path): self._act for path in ACTIONS},
            ("POST", "/logout"): self._leave,
        }
        self.routes = frozenset({*self._open, *self._guarded})
        """Method and path of each."""

    async def start(self) -> str | None:
        """The path of the one-time link; None where there is an admin token."""
        self._access = AdminAccess(await load_secret(self.client.store), self._token)
        return None if self._access.has_token else self._make_link()

    async def close(self) -> None:
        await self._updates.close()
        await self._actions.close()

    @property
    def client(self) -> GatewayClient:
        """Whose state it shows; another one from the moment on in which it is set."""
        return self._reader.client

    @client.setter
    def client(self, client: GatewayClient) -> None:
        self._reader.client = client

    @property
    def banner(self) -> str:
        """What the server has to say of itself, on every page; empty for nothing."""
        return self._updates.banner

    @banner.setter
    def banner(self, text: str) -> None:
        self._updates.banner = text

    def is_admin(self, request: IncomingRequest) -> bool:
        return self._is_near(request) and self._access.judge(request, time.time()) == "admin"

    def _is_near(self, request: IncomingRequest) -> bool:
        """The one-time link is for this machine; from others it takes the admin token."""
        return self._access.has_token or not request.remote or is_loopback(request.remote)

    async def handle(self, request: IncomingRequest) -> OutgoingReply:
        route = request.method, request.path
        if request.method == "POST" and not is_same_origin(request):
            return _refuse(403, "this came from another page")
        if not self._is_near(request):
            return _refuse(403, "from other machines the dashboard needs serve.admin_token")
        if len(request.body) > MAX_FORM_BYTES:
            return _refuse(413, "this is too long for a form")
        handler = self._open.get(route) or self._guarded.get(route)
        if handler is None:
            return _refuse(404, "there is nothing here")
        refusal = None if route in self._open else self._refuse_stranger(request)
        return await handler(request) if refusal is None else refusal

    def _refuse_stranger(self, request: IncomingRequest) -> OutgoingReply | None:
        """None for an admin."""
        match self._access.judge(request, time.time()):
            case "admin":
                return None
            case "forbidden":
                return _refuse(403, "this key may ask models, and is not the admin token")
            case "stranger":
                is_page = request.method == "GET" and request.path in BY_PATH
                return _redirect("/login") if is_page else _refuse(401, "sign in first")

    async def _show_page(self, request: IncomingRequest) -> OutgoingReply:
        page = BY_PATH[request.path]
        notice = self._access.read("notice", request.parameters.get("notice", ""), time.time())
        try:
            rendered = render_fragments(page, await self._updates.read(page))
        except LlmfailError as error:
            return _refuse(503, str(error))
        text = render_template(
            "page.html",
            page=page,
            pages=PAGES,
            notice=notice and bytes.fromhex(notice).decode(),
            fragments=rendered.fragments,
            rows=rendered.rows,
        )
        return _reply(200, text)

    async def _send_events(self, request: IncomingRequest) -> OutgoingReply:
        page: Page | None = BY_NAME.get(request.parameters.get("page", ""))
        if page is None:
            return _refuse(404, "there is no such page")
        if self._updates.is_full:
            return _refuse(503, "too many pages are open")
        headers = {**HEADERS, "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
        return OutgoingReply(200, headers, stream=self._updates.listen(page))

    async def _act(self, request: IncomingRequest) -> OutgoingReply:
        name = _read_form(request).get("name", "")
        text = await self._actions.run(self.client, ACTIONS[request.path], name)
        notice = self._access.sign("notice", text.encode().hex(), time.time() + NOTICE_SECONDS)
        return _redirect(f"/?{urlencode({'notice': notice})}")

    async def _show_login(self, request: IncomingRequest) -> OutgoingReply:
        code = request.parameters.get("code")
        if code is None:
            return self._login_page()
        nonce = self._access.read("link", code, time.time())
        if nonce is None or self._access.has_token or not await claim_link(self.client.store, nonce):
            return self._login_page("This link was used before, or is too old.", status=403)
        return self._sign_in(request)

    async def _take_token(self, request: IncomingRequest) -> OutgoingReply:
        now = time.time()
        self._failed_tokens = [at for at in self._failed_tokens if at > now - 60]
        if len(self._failed_tokens) >= MAX_FAILED_TOKENS:
            return self._login_page("Too many tokens were wrong; wait for a minute.", status=429)
        if self._access.is_token(_read_form(request).get("token", "")):
            return self._sign_in(request)
        self._failed_tokens.append(now)
        return self._login_page("This is not the admin token.", status=403)

    async def _print_link(self, request: IncomingRequest) -> OutgoingReply:
        if self._access.has_token:
            return _refuse(403, "sign in with the admin token")
        now = time.monotonic()
        if now - self._link_printed_at >= LINK_PAUSE_SECONDS:
            self._link_printed_at = now
            scheme = "https" if request.is_tls else "http"
            self._say(f"dashboard: {scheme}://{request.headers.get('host', '')}{self._make_link()}")
        return self._login_page(is_sent=True)

    async def _leave(self, request: IncomingRequest) -> OutgoingReply:
        headers = {
            **HEADERS,
            "location": "/login",
            "set-cookie": f"{cookie_name(request)}=; Path=/; Max-Age=0",
        }
        return OutgoingReply(303, headers)

    async def _send_asset(self, request: IncomingRequest) -> OutgoingReply:
        name = request.path.rpartition("/")[2]
        headers = {
            **HEADERS,
            "content-type": f"{ASSET_TYPES[name]}; charset=utf-8",
            "cache-control": "public, max-age=31536000, immutable",
        }
        return OutgoingReply(200, headers, _read_asset(name))

    def _make_link(self) -> str:
        code = self._access.sign("link", secrets.token_hex(16), time.time() + LINK_SECONDS)
        return f"/login?{urlencode({'code': code})}"

    def _sign_in(self, request: IncomingRequest) -> OutgoingReply:
        session = self._access.sign("session", secrets.token_hex(8), time.time() + SESSION_SECONDS)
        return OutgoingReply(303, {**HEADERS, "location": "/", "set-cookie": write_cookie(request, session)})

    def _login_page(self, problem: str = "", status: int = 200, *, is_sent: bool = False) -> OutgoingReply:
        text = render_template(
            "login.html", problem=problem, by_token=self._access.has_token, is_sent=is_sent
        )
        return _reply(status, text)


def _read_form(request: IncomingRequest) -> dict[str, str]:
    found = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in found.items()}


def _reply(status: int, text: str) -> OutgoingReply:
    return OutgoingReply(status, {**HEADERS, "content-type": "text/html; charset=utf-8"}, text.encode())


def _refuse(status: int, text: str) -> OutgoingReply:
    return OutgoingReply(
        status, {**HEADERS, "content-type": "text/plain; charset=utf-8"}, f"{text}\n".encode()
    )


def _redirect(place: str) -> OutgoingReply:
    return OutgoingReply(303, {**HEADERS, "location": place})


@cache
def _read_asset(name: str) -> bytes:
    return (ASSETS / name).read_bytes()
