"""Who may see the dashboard and act on it: the holder of the admin token, or whoever opened the one-time
link.

Both get a cookie that is signed, not stored. A page of another origin can neither read a page nor act: the
cookie is strict, and what acts must come from this very origin. Nothing here reads a clock or a store.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Literal

from llmfail.http_server.message import IncomingRequest

SESSION_SECONDS = 12 * 3600
LINK_SECONDS = 24 * 3600
CREDENTIAL_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
COOKIE = "llmfail_admin"
SignedKind = Literal["session", "link", "notice"]
Access = Literal["admin", "stranger", "forbidden"]
"""``forbidden``: it shows a credential that is none of an admin, such as the key of a program."""


class AdminAccess:
    """``secret`` is shared by all processes of one state; another admin token makes all cookies worthless."""

    def __init__(self, secret: bytes, token: str | None) -> None:
        self._token = None if token is None else _digest(token)
        self._key = hmac.digest(secret, (token or "").encode("utf-8", "surrogatepass"), "sha256")

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def sign(self, kind: SignedKind, text: str, ends_at: float) -> str:
        """The text, until when it is good, and a signature, separated by dots."""
        payload = f"{text}.{int(ends_at)}"
        return f"{payload}.{self._mac(kind, payload)}"

    def read(self, kind: SignedKind, signed: str, now: float) -> str | None:
        """The text that was signed, unless it is somebody else's or too old."""
        payload, _, mac = signed.rpartition(".")
        text, _, ends_at = payload.rpartition(".")
        if not hmac.compare_digest(_digest(mac), _digest(self._mac(kind, payload))):
            return None
        return text if now < int(ends_at) else None

    def is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(_digest(text), self._token)

    def judge(self, request: IncomingRequest, now: float) -> Access:
        shown = list_credentials(request.headers)
        if shown:
            return "admin" if any(map(self.is_token, shown)) else "forbidden"
        session = _find_cookie(request.headers, cookie_name(request))
        return "admin" if session and self.read("session", session, now) is not None else "stranger"

    def _mac(self, kind: SignedKind, payload: str) -> str:
        return hmac.new(self._key, f"{kind}:{payload}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def list_credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What programs show of who they are, without the scheme before it."""
    shown = (headers[name] for name in CREDENTIAL_HEADERS if name in headers)
    return tuple(text.removeprefix("Bearer ").removeprefix("bearer ").strip() for text in shown)


def is_same_origin(request: IncomingRequest) -> bool:
    """Whether a form of this very origin sent it. A browser says so in two headers; a program that shows the
    token says nothing, and needs not.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if list_credentials(request.headers) and site is None and origin is None:
        return True
    scheme = "https" if request.is_tls else "http"
    return site in {None, "same-origin"} and origin == f"{scheme}://{request.headers.get('host', '')}"


def cookie_name(request: IncomingRequest) -> str:
    """Browsers keep one jar for all ports of a host: each port has a cookie of its own."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdigit() else COOKIE


def write_cookie(request: IncomingRequest, session: str) -> str:
    flags = "HttpOnly; SameSite=Strict" + ("; Secure" if request.is_tls else "")
    return f"{cookie_name(request)}={session}; Path=/; Max-Age={SESSION_SECONDS}; {flags}"


def _find_cookie(headers: Mapping[str, str], name: str) -> str | None:
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return next((value for found, _, value in pairs if found == name), None)


def _digest(text: str) -> bytes:
    """Of equal length whatever the text, so that comparing tells nothing of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
