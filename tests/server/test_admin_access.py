"""Who is an admin: tokens, cookies, one-time links, and where a form comes from."""

import pytest

from llmfail.http_server.message import IncomingRequest
from llmfail.server.dashboard.admin_access import AdminAccess, cookie_name, is_same_origin, write_cookie

SECRET = b"s" * 32
NOW = 1_800_000_000.0
HOSTILE = ["", "x" * 1_000_000, "\0", "'; drop table keys; --", "schlüssel", "\udcff", "a\r\nb"]


def request(method="GET", path="/", *, is_tls=False, **headers):
    written = {name.replace("_", "-"): text for name, text in {"host": "127.0.0.1:4000", **headers}.items()}
    return IncomingRequest(method, path, "", written, b"", "127.0.0.1", is_tls)


@pytest.fixture
def access():
    return AdminAccess(SECRET, "the-admin-token")


def cookie_of(access, ends_at=NOW + 60, kind="session"):
    return f"a=b; llmfail_admin_4000={access.sign(kind, 'nonce', ends_at)}; c=d"


def test_a_cookie_is_good_until_its_end_and_only_as_it_was_signed(access):
    assert access.judge(request(cookie=cookie_of(access)), NOW) == "admin"
    assert access.judge(request(cookie=cookie_of(access)), NOW + 61) == "stranger"
    assert (
        access.judge(request(cookie=cookie_of(access) + "0"), NOW) == "admin"
    )  # of the last one, which is d
    assert access.judge(request(cookie=cookie_of(access).replace("nonce", "other")), NOW) == "stranger"
    assert access.judge(request(cookie=cookie_of(access, kind="link")), NOW) == "stranger"
    assert access.judge(request(), NOW) == "stranger"


def test_another_secret_or_token_makes_cookies_worthless(access):
    cookie = cookie_of(access)
    for other in (
        AdminAccess(b"t" * 32, "the-admin-token"),
        AdminAccess(SECRET, "x"),
        AdminAccess(SECRET, None),
    ):
        assert other.judge(request(cookie=cookie), NOW) == "stranger"


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-goog-api-key", "api-key"])
def test_the_admin_token_opens_and_any_other_credential_is_forbidden_even_beside_a_cookie(access, name):
    cookie = cookie_of(access)
    assert access.judge(request(**{name: "Bearer the-admin-token"}), NOW) == "admin"
    assert access.judge(request(**{name: "Bearer key-of-a-program", "cookie": cookie}), NOW) == "forbidden"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_credentials_are_none(access, text):
    assert access.judge(request(authorization=f"Bearer {text}"), NOW) == "forbidden"
    assert access.judge(request(cookie=f"llmfail_admin_4000={text}"), NOW) == "stranger"
    assert access.read("link", text, NOW) is None
    assert access.read("session", f"{text}.{text}.{text}", NOW) is None
    assert AdminAccess(SECRET, None).judge(request(authorization=text), NOW) == "forbidden"


def test_an_empty_token_is_not_the_absent_one():
    assert not AdminAccess(SECRET, None).is_token("")


@pytest.mark.parametrize(
    ("headers", "is_same"),
    [
        ({"origin": "http://127.0.0.1:4000", "sec_fetch_site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1:4000"}, True),
        ({"origin": "http://127.0.0.1:4000", "sec_fetch_site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:4000", "sec_fetch_site": "cross-site"}, False),
        ({"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"}, False),
        ({"origin": "https://127.0.0.1:4000"}, False),
        ({"origin": "null"}, False),
        ({"sec_fetch_site": "same-origin"}, False),
        ({}, False),
        ({"authorization": "Bearer the-admin-token"}, True),
        ({"authorization": "Bearer the-admin-token", "origin": "https://evil.example"}, False),
    ],
)
def test_what_acts_comes_from_the_same_origin_or_shows_a_token(headers, is_same):
    assert is_same_origin(request("POST", **headers)) is is_same


def test_each_port_has_a_cookie_of_its_own_which_no_script_and_no_other_site_gets():
    assert cookie_name(request()) == "llmfail_admin_4000"
    assert cookie_name(request(host="localhost")) == "llmfail_admin"
    written = write_cookie(request(), "x")
    assert "; HttpOnly; SameSite=Strict" in written
    assert "Secure" not in written
    assert write_cookie(request(is_tls=True), "x").endswith("; Secure")
