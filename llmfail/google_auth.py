"""OAuth2 tokens for Vertex, from wherever Google's tools would look.

In this order: the file that GOOGLE_APPLICATION_CREDENTIALS names, the file that ``gcloud auth
application-default login`` writes, ``gcloud auth print-access-token``, the metadata server of a machine at
Google. A file that is there decides: it is never passed over for a later source. Nothing is kept here: the
caller keeps the token until ``expires_at``. HTTP and processes are the caller's, as ports.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from llmfail.core.classification.body import parse
from llmfail.core.classification.classify import classify_reply
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import LlmfailError, WireError
from llmfail.core.model import Call, Reply, Secret
from llmfail.core.one_line import one_line

FetchReply = Callable[[Call, float], Awaitable[Reply]]
"""Sends a call within so many seconds. Raises WireError."""
RunCommand = Callable[[Sequence[str], float], Awaitable[str | None]]
"""Runs a command within so many seconds: its output, or None when it is not there or fails."""

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
_ENDPOINT_TIMEOUT = 15.0
_METADATA_TIMEOUT = 1.0
"""A machine elsewhere has no metadata server, and must not wait for it."""
_GCLOUD_TIMEOUT = 15.0
_EXPIRY_MARGIN_SECONDS = 60.0
_GCLOUD_TOKEN_SECONDS = 300.0
"""gcloud does not tell how long a token lasts, and renews it in the last minutes of its hour."""
_MAX_TOKEN_SECONDS = 86_400.0
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LOGIN_ADVICE = "run: gcloud auth application-default login"


class AccessToken(Struct, frozen=True):
    """``expires_at`` is in epoch seconds, with a minute to spare."""

    secret: Secret
    expires_at: float


class TokenRefused(LlmfailError):
    """There are credentials, but they give no token. ``outcome`` is what the call comes to."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.note)


async def fetch_google_token(
    environ: Mapping[str, str], run: RunCommand, fetch: FetchReply, now: float
) -> AccessToken | None:
    """None when no source has credentials. Raises TokenRefused, and WireError from the token endpoint."""
    path = _find_credentials_file(environ)
    if path is not None:
        return await _fetch_with_file(path, fetch, now)
    printed = await run(("gcloud", "auth", "print-access-token"), _GCLOUD_TIMEOUT)
    if printed is not None:
        return AccessToken(Secret(printed.strip()), now + _GCLOUD_TOKEN_SECONDS)
    return await _fetch_from_metadata(environ, fetch, now)


def _find_credentials_file(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return Path(named)
    folder = environ.get("CLOUDSDK_CONFIG") or (environ.get("HOME", "") + "/.config/gcloud")
    known = Path(folder) / "application_default_credentials.json"
    return known if known.is_file() else None


async def _fetch_with_file(path: Path, fetch: FetchReply, now: float) -> AccessToken:
    document = _read_credentials(path)
    match document.get("type"):
        case "authorized_user":
            fields = {
                name: str(document.get(name, "")) for name in ("client_id", "client_secret", "refresh_token")
            }
            form = {"grant_type": "refresh_token", **fields}
        case "service_account":
            form = {"grant_type": _JWT_BEARER, "assertion": _sign_assertion(document, path, now)}
        case other:
            raise _make_refusal(f"{path}: credentials of type {other!r} are not supported; {_LOGIN_ADVICE}")
    uri = str(document.get("token_uri") or _TOKEN_URI)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    reply = await fetch(Call("POST", uri, headers, urlencode(form).encode()), _ENDPOINT_TIMEOUT)
    return _parse_token(reply, now, str(path), hide=Secret(form.get("refresh_token", "")))


async def _fetch_from_metadata(
    environ: Mapping[str, str], fetch: FetchReply, now: float
) -> AccessToken | None:
    host = environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    call = Call("GET", f"http://{host}{_METADATA_PATH}", {"metadata-flavor": "Google"})
    try:
        reply = await fetch(call, _METADATA_TIMEOUT)
    except WireError:
        return None
    if reply.headers.get("metadata-flavor") != "Google":
        return None
    return _parse_token(reply, now, "the metadata server")


def _read_credentials(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise _make_refusal(f"{path}: {error.strerror}; mend GOOGLE_APPLICATION_CREDENTIALS") from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _make_refusal(f"{path}: not a credentials file in JSON; {_LOGIN_ADVICE}")
    return document


def _sign_assertion(document: Mapping[str, Any], path: Path, now: float) -> str:
    """What a service account signs to get a token."""
    try:
        from google.auth import crypt, jwt
    except ImportError:
        raise _make_refusal(
            f"{path}: service-account keys need an extra: pip install 'llmfail[vertex]'"
        ) from None
    claims = {
        "iss": document.get("client_email"),
        "scope": _SCOPE,
        "aud": document.get("token_uri") or _TOKEN_URI,
        "iat": int(now),
        "exp": int(now) + 3600,
    }
    try:
        signer = crypt.RSASigner.from_service_account_info(document)  # type: ignore[no-untyped-call]
    except ValueError:
        raise _make_refusal(f"{path}: its private key cannot be read; make a new key") from None
    signed: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
    return signed.decode("ascii")


def _parse_token(reply: Reply, now: float, source: str, hide: Secret | None = None) -> AccessToken:
    document = parse(reply.body)
    secret = document.get("access_token") if isinstance(document, dict) else None
    if reply.status == 200 and isinstance(secret, str) and secret:
        life = document.get("expires_in")
        seconds = (
            life if isinstance(life, int | float) and 0 < life < _MAX_TOKEN_SECONDS else _GCLOUD_TOKEN_SECONDS
        )
        return AccessToken(Secret(secret), now + max(seconds - _EXPIRY_MARGIN_SECONDS, 0.0))
    outcome = classify_reply(reply, document, now, hide)
    if outcome is not None and outcome.consequence.is_transient:
        raise TokenRefused(outcome)
    said = outcome.note if outcome else f"HTTP {reply.status} without a token"
    raise _make_refusal(f"{source}: {said}; {_LOGIN_ADVICE}")


def _make_refusal(text: str) -> TokenRefused:
    return TokenRefused(Outcome(Kind.AUTH, one_line(text)))
