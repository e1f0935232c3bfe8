"""What of a URL goes to the name server, into the Host header and into the request line."""

import pytest

from llmfail.wire.request_url import parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("https://API.example/v1?b=%2F", "api.example", 443, "api.example", "/v1?b=%2F"),
        ("https://api.example:443", "api.example", 443, "api.example", "/"),
        ("http://api.example:8080/a b", "api.example", 8080, "api.example:8080", "/a%20b"),
        ("https://me:hunter2@api.example/v1#part", "api.example", 443, "api.example", "/v1"),
        ("http://[2001:DB8::1]:81/", "2001:db8::1", 81, "[2001:db8::1]:81", "/"),
        ("http://bücher.example/ü?ü", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/%C3%BC?%C3%BC"),
        ("https://api.example/models/a%2Fb:run", "api.example", 443, "api.example", "/models/a%2Fb:run"),
    ],
)
def test_a_url_is_taken_apart(url, host, port, authority, target):
    parsed = parse_url(url)
    assert (parsed.host, parsed.port, parsed.authority, parsed.target) == (host, port, authority, target)
    assert parsed.text == f"{parsed.scheme}://{authority}{target}"


@pytest.mark.parametrize(
    "url", ["?", "", "nowhere", "ftp://far/", "https:///v1", "http://a:b/", "http://[::/", "http://\ud800/"]
)
def test_what_is_no_url_of_an_http_server_is_a_value_error(url):
    with pytest.raises(ValueError):  # noqa: PT011 - its text is never shown
        parse_url(url)
