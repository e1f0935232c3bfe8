"""Google's tokens: real files, a real executable called gcloud, real servers on loopback."""

import asyncio
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

import pytest

from llmfail.core.classification.outcome import Kind
from llmfail.core.errors import WireError
from llmfail.core.model import Reply
from llmfail.engine.ports.execution import run_inline
from llmfail.engine.ports.google_token import GoogleTokens, run_token_command
from llmfail.google_auth import TokenRefused, fetch_google_token

NOW = 1_000_000.0
SIX_MINUTES = 300.0


@pytest.fixture
def google():
    """A server that plays token endpoint and metadata server, and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            size = int(self.headers.get("content-length", 0))
            seen = (self.path, dict(self.headers), parse_qs(self.rfile.read(size).decode()))
            self.server.seen.append(seen)
            status, headers, body = self.server.reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_GET = do_POST = answer  # noqa: N815 - the names of the standard library

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.reply = (200, {}, {"access_token": "ya29.new", "expires_in": 3599, "token_type": "Bearer"})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def reply_of(call, seconds):
    if seconds <= 0:
        raise WireError("timeout", "no time is left")
    request = Request(call.url, call.body or None, dict(call.headers), method=call.method)
    try:
        with urlopen(request, timeout=seconds) as reply:
            return Reply(reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read())
    except HTTPError as error:
        with error:
            return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())
    except URLError as error:
        raise WireError("refused", str(error.reason)) from None


async def fetch(call, seconds):
    return reply_of(call, seconds)


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """An empty home, an empty PATH, and a metadata server that is not there."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # where this process finds programs
    return {
        "HOME": str(tmp_path),
        "PATH": str(tmp_path / "bin"),
        "GCE_METADATA_HOST": "127.0.0.1:9",
    }


async def run(argv, seconds):
    return run_token_command(argv, seconds)


def ask(environ):
    return asyncio.run(fetch_google_token(environ, run, fetch, NOW))


def host(server):
    return f"127.0.0.1:{server.server_port}"


def user_credentials(server):
    return {
        "type": "authorized_user",
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "1//refresh",
        "token_uri": f"http://{host(server)}/token",
    }


def login(folder, document):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "application_default_credentials.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def gcloud(environ, script):
    path = Path(environ["PATH"]) / "gcloud"
    path.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    path.chmod(0o755)


def test_without_any_credentials_there_is_no_token(environ):
    assert ask(environ) is None


def test_a_refresh_token_is_exchanged_at_the_address_in_its_file(environ, google, tmp_path):
    login(tmp_path / ".config" / "gcloud", user_credentials(google))
    token = ask(environ)
    assert token.secret.reveal() == "ya29.new"
    assert token.expires_at == NOW + 3599 - 60
    ((path, _, form),) = google.seen
    assert path == "/token"
    assert form == {
        "grant_type": ["refresh_token"],
        "client_id": ["id"],
        "client_secret": ["secret"],
        "refresh_token": ["1//refresh"],
    }
    assert "ya29" not in repr(token)


def test_the_file_that_the_environment_names_comes_before_the_one_of_the_login(environ, google, tmp_path):
    named = login(tmp_path / "named", user_credentials(google))
    login(tmp_path / "cloudsdk", "not JSON")
    environ |= {"GOOGLE_APPLICATION_CREDENTIALS": str(named), "CLOUDSDK_CONFIG": str(tmp_path / "cloudsdk")}
    assert ask(environ).secret.reveal() == "ya29.new"


def test_the_file_of_the_login_comes_before_gcloud(environ, google, tmp_path):
    login(tmp_path / "cloudsdk", user_credentials(google))
    environ["CLOUDSDK_CONFIG"] = str(tmp_path / "cloudsdk")
    gcloud(environ, "print('ya29.gcloud')")
    assert ask(environ).secret.reveal() == "ya29.new"


def test_gcloud_is_asked_for_its_token(environ):
    gcloud(environ, "assert sys.argv[1:] == ['auth', 'print-access-token']; print('ya29.gcloud')")
    token = ask(environ)
    assert token.secret.reveal() == "ya29.gcloud"
    assert NOW < token.expires_at <= NOW + SIX_MINUTES


@pytest.mark.parametrize("script", ["sys.exit(1)", "print()"])
def test_a_gcloud_without_a_login_is_passed_over(environ, google, script):
    gcloud(environ, script)
    environ["GCE_METADATA_HOST"] = host(google)
    google.reply = (200, {"Metadata-Flavor": "Google"}, {"access_token": "ya29.meta", "expires_in": 600})
    token = ask(environ)
    assert (token.secret.reveal(), token.expires_at) == ("ya29.meta", NOW + 540)
    ((path, headers, _),) = google.seen
    assert path == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert {k.lower(): v for k, v in headers.items()}["metadata-flavor"] == "Google"


def test_a_gcloud_that_takes_longer_than_the_call_may_is_passed_over(environ, monkeypatch):
    gcloud(environ, "import time; time.sleep(1000)")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tokens = GoogleTokens(fetch, run_inline)
    started = time.monotonic()
    assert asyncio.run(tokens.get(0.3)) is None
    assert time.monotonic() - started < 5


def test_whoever_answers_without_the_flavor_is_no_metadata_server(environ, google):
    environ["GCE_METADATA_HOST"] = host(google)
    assert ask(environ) is None


def refused(environ):
    with pytest.raises(TokenRefused) as caught:
        ask(environ)
    assert str(caught.value) == caught.value.outcome.note
    return caught.value.outcome


def test_a_refresh_token_that_is_no_longer_good_is_a_matter_of_credentials(environ, google, tmp_path):
    login(tmp_path / ".config" / "gcloud", user_credentials(google))
    google.reply = (400, {}, {"error": "invalid_grant", "error_description": "Bad 1//refresh"})
    outcome = refused(environ)
    assert outcome.kind is Kind.AUTH
    assert "Bad [key]" in outcome.note
    assert "gcloud auth application-default login" in outcome.note


def test_a_token_endpoint_that_is_down_is_not_a_matter_of_credentials(environ, google, tmp_path):
    login(tmp_path / ".config" / "gcloud", user_credentials(google))
    google.reply = (503, {"retry-after": "7"}, {"error": "temporarily_unavailable"})
    outcome = refused(environ)
    assert (outcome.kind, outcome.retry_after) == (Kind.SERVER_ERROR, 7)


def test_a_token_endpoint_that_cannot_be_reached_is_a_failure_on_the_wire(environ, google, tmp_path):
    document = {**user_credentials(google), "token_uri": "http://127.0.0.1:9/token"}
    login(tmp_path / ".config" / "gcloud", document)
    with pytest.raises(WireError):
        ask(environ)


@pytest.mark.parametrize(
    "document",
    [
        {"no": "token"},
        {"access_token": ""},
        {"access_token": 7},
        [],
    ],
)
def test_a_reply_without_a_token_is_refused(environ, google, tmp_path, document):
    login(tmp_path / ".config" / "gcloud", user_credentials(google))
    google.reply = (200, {}, document)
    assert "without a token" in refused(environ).note


@pytest.mark.parametrize("life", [None, "3600", -5, 10**30, 0])
def test_an_odd_life_of_a_token_counts_as_a_short_one(environ, google, tmp_path, life):
    login(tmp_path / ".config" / "gcloud", user_credentials(google))
    google.reply = (200, {}, {"access_token": "t", "expires_in": life})
    assert NOW <= ask(environ).expires_at <= NOW + SIX_MINUTES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "not a credentials file"),
        ("[]", "not a credentials file"),
        ('{"type": "external_account"}', "'external_account' are not supported"),
        ("{}", "None are not supported"),
    ],
)
def test_a_credentials_file_that_is_of_no_use_says_why(environ, tmp_path, text, said):
    environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(login(tmp_path / "named", text))
    assert said in refused(environ).note


def test_a_named_file_that_is_missing_is_not_passed_over(environ, tmp_path):
    environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / "gone.json")
    gcloud(environ, "print('ya29.gcloud')")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in refused(environ).note


def test_a_service_account_without_the_extra_says_how_to_install_it(environ, google, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)  # as on a machine where it is not installed
    document = {"type": "service_account", "client_email": "a@b", "private_key": "x"}
    environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(login(tmp_path / "named", document))
    assert "pip install 'llmfail[vertex]'" in refused(environ).note


def test_a_service_account_with_the_extra_signs_for_its_token(environ, google, tmp_path):
    pytest.importorskip("google.auth.crypt")
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    document = {
        "type": "service_account",
        "client_email": "a@b",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": f"http://{host(google)}/token",
    }
    environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(login(tmp_path / "named", document))
    assert ask(environ).secret.reveal() == "ya29.new"
    ((_, _, form),) = google.seen
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert form["assertion"][0].count(".") == 2
