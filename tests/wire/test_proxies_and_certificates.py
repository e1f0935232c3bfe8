"""Proxies and certificates of the environment: used, passed by for this machine, and blamed for what they do.

Both wires, real sockets.
"""

import asyncio
import contextlib
import socket
import sys
import threading

import pytest

from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call
from llmfail.engine.planning.codec import AttemptResult, result_from_wire_error
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.blocking import HttpcoreWire
from llmfail.wire.error_mapping import OTHER_CERTIFICATE_VARIABLES
from llmfail.wire.proxy_and_tls import find_network_route
from llmfail.wire.request_url import parse_url

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def blocking(url):
    wire = HttpcoreWire()
    try:
        return wire.send(Call("POST", url, {}, b"{}"), 5)
    finally:
        wire.close()


def asynchronous(url):
    async def once():
        wire = AiohttpWire()
        try:
            return await wire.send(Call("POST", url, {}, b"{}"), 5)
        finally:
            await wire.close()

    return asyncio.run(once())


@pytest.fixture(params=[blocking, asynchronous])
def send(request):
    return request.param


@pytest.fixture
def closed():
    """A port of this machine where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def server(answer):
    """Answers the first thing that each connection says, and hears out what else it says: who closes on
    unread bytes resets the connection. Yields its port.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


CERTIFICATES = {
    "SSL_CERT_FILE that is not there": ("SSL_CERT_FILE", None, "No such file or directory"),
    "SSL_CERT_FILE without certificates": ("SSL_CERT_FILE", "", ""),
    "SSL_CERT_FILE with a broken one": ("SSL_CERT_FILE", NO_CERTIFICATE, ""),
    "SSL_CERT_DIR that is not there": ("SSL_CERT_DIR", None, "not a directory"),
    "SSL_CERT_DIR that is a file": ("SSL_CERT_DIR", "x", "not a directory"),
}


@pytest.mark.parametrize(("variable", "content", "why"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_certificates_that_cannot_be_read_are_a_mistake_of_ours(
    send, monkeypatch, tmp_path, variable, content, why
):
    path = tmp_path / "certificates"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(UsageError, match=f"{variable}={path} cannot be used: .*{why}"):
        send("https://far.invalid/v1")


def test_a_directory_of_certificates_among_several_is_enough(send, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_DIR", f"/nope:{tmp_path}")
    with pytest.raises(WireError) as raised:
        send("https://far.invalid/v1")
    assert raised.value.cause == "resolve"


def test_a_call_without_tls_needs_no_certificates(send, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nope")
    with server(b"HTTP/1.1 204 None\r\n\r\n") as port:
        assert send(f"http://127.0.0.1:{port}/").status == 204


NO_PROXIES = {
    "no port": ("HTTPS_PROXY", "::::", "HTTPS_PROXY is not the address of a proxy"),
    "a password in it": ("HTTPS_PROXY", "http://me:hunter2@host:port", "HTTPS_PROXY is not the address"),
    "a port too high": ("http_proxy", "http://me:hunter2@host:99999", "http_proxy is not the address"),
    "no proxy of ours": ("ALL_PROXY", "ftp://hunter2@host", "ALL_PROXY is not the address of a proxy"),
}


@pytest.mark.parametrize(("variable", "value", "said"), NO_PROXIES.values(), ids=NO_PROXIES)
def test_a_proxy_that_is_none_is_a_mistake_of_ours_and_no_password_is_shown(
    send, monkeypatch, variable, value, said
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=said) as raised:
        send("https://far.invalid/v1")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("no_proxy", ["::::", "localhost,127.0.0.0/8,::1/128", "[", "host:port"])
def test_e5_a_list_without_any_proxy_stands_in_nobody_s_way(send, monkeypatch, no_proxy):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with pytest.raises(WireError) as raised:
        send("http://far.invalid/v1")
    assert raised.value.cause == "resolve"


@pytest.mark.parametrize("others", [{}, {"REQUESTS_CA_BUNDLE": "/a", "NODE_EXTRA_CA_CERTS": "/b"}])
def test_e10_a_certificate_that_nobody_knows_is_told_with_what_to_do(send, monkeypatch, identity, others):
    _, context = identity
    for name in OTHER_CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(WireError) as raised:
            send(f"https://localhost:{listener.getsockname()[1]}/v1")
    assert raised.value.cause == "tls"
    assert "; if you trust it, name its certificates in SSL_CERT_FILE" in str(raised.value)
    assert ("REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS are not read" in str(raised.value)) is bool(others)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_refuses_is_named_and_is_no_route(send, monkeypatch, closed, variable):
    monkeypatch.setenv(variable, f"http://me:hunter2@127.0.0.1:{closed}")
    with pytest.raises(WireError) as raised:
        send("https://far.invalid/v1")
    assert str(raised.value) == f"the proxy 127.0.0.1:{closed} of {variable}: Connection refused"
    assert raised.value.cause == "route"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_has_no_address_is_no_route(send, monkeypatch, scheme):
    monkeypatch.setenv(f"{scheme}_proxy", "proxy.invalid:3128")
    with pytest.raises(WireError, match=f"the proxy proxy.invalid:3128 of {scheme}_proxy: ") as raised:
        send(f"{scheme}://far.invalid/v1")
    assert raised.value.cause == "route"


def test_a_proxy_that_lets_nobody_through_is_no_route(send, monkeypatch):
    with server(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(WireError, match=f"the proxy 127.0.0.1:{port} of HTTPS_PROXY: 407") as raised:
            send("https://far.invalid/v1")
    assert raised.value.cause == "route"


def test_tls_that_fails_behind_a_proxy_is_not_the_proxys(send, monkeypatch):
    with server(b"HTTP/1.1 200 Go\r\n\r\nthis is no handshake" * 9) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(WireError, match=r"^far\.invalid: ") as raised:
            send("https://far.invalid/v1")
    assert raised.value.cause == "tls"


def test_no_proxy_stands_before_this_machine(send, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "::::")
    with server(b"HTTP/1.1 204 None\r\n\r\n") as port:
        assert send(f"http://127.0.0.1:{port}/").status == 204


@pytest.mark.parametrize("host", ["proxied.invalid", "127.1.invalid"])
def test_a_proxy_stands_before_every_other_host(send, monkeypatch, host):
    with server(b"HTTP/1.1 204 None\r\n\r\n") as port:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
        assert send(f"http://{host}/").status == 204


def test_a_host_that_no_proxy_names_is_reached_without_it(send, monkeypatch):
    monkeypatch.setenv("http_proxy", "127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "far.invalid")
    with pytest.raises(WireError, match=r"^far\.invalid") as raised:
        send("http://far.invalid/")
    assert raised.value.cause == "resolve"


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("far.example", "https://far.example/", True),
        ("FAR.example", "https://far.EXAMPLE/", True),
        ("far.example", "https://api.far.example/", True),
        ("far.example", "https://nofar.example/", False),
        (".far.example", "https://api.far.example/", True),
        ("a.example , far.example", "https://far.example/", True),
        ("far.example:8443", "https://far.example:8443/", True),
        ("far.example:8443", "https://far.example/", False),
        ("https://far.example", "https://far.example/", True),
        ("http://far.example", "https://far.example/", False),
        ("192.0.2.1", "http://192.0.2.1/", True),
        ("192.0.2.1", "http://192.0.2.10/", False),
        ("2001:db8::1", "http://[2001:db8::1]/", True),
        ("2001:db8::1", "http://[2001:db8::2]:1/", False),
        ("10.0.0.0/8", "http://far.example/", False),
        ("192.0.0.0/8", "http://192.0.2.2:9/", True),
        ("192.0.2.0/24", "http://192.0.3.2/", False),
        ("2001:db8::/32", "http://[2001:db8::2]:1/", True),
        ("::1/128", "http://192.0.2.1/", False),
        ("192.*", "http://192.0.2.2/", True),
        ("*.example", "https://far.example/", True),
        ("a.example far.example\tb.example", "https://far.example/", True),
        ("localhost,127.0.0.0/8,::1/128", "https://far.example/", False),
        ("::::,far.example", "https://far.example/", True),
        ("far.example:port, 300.1.2.3/8, [", "https://far.example/", False),
        ("*", "https://far.example/", True),
        ("a.example,*", "https://far.example/", True),
        ("", "https://far.example/", False),
    ],
)
def test_e5_no_proxy_lists_the_hosts_that_are_reached_without_one(monkeypatch, no_proxy, url, is_direct):
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (find_network_route(parse_url(url)).proxy is None) is is_direct


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({"HTTPS_PROXY": "http://one:1", "ALL_PROXY": "http://two:2"}, ("HTTPS_PROXY", "one", 1)),
        ({"HTTP_PROXY": "http://one:1", "ALL_PROXY": "http://two:2"}, ("ALL_PROXY", "two", 2)),
        ({"https_proxy": "one:1", "HTTPS_PROXY": "http://two:2"}, ("https_proxy", "one", 1)),
        ({"https_proxy": "https://one"}, ("https_proxy", "one", 443)),
        ({"all_proxy": "socks5h://one"}, ("all_proxy", "one", 1080)),
        ({"HTTP_PROXY": "http://one:1"}, None),
    ],
)
def test_the_proxy_of_a_scheme_goes_before_that_of_all(monkeypatch, settings, chosen):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    proxy = find_network_route(parse_url("https://far.example/")).proxy
    assert (proxy and (proxy.variable, proxy.host, proxy.port)) == chosen


@contextlib.contextmanager
def socks_proxy():
    """A SOCKS proxy behind which any host answers 204. Yields its port and what it heard."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as connection:
                for answer in (
                    b"\x05\x02",
                    b"\x01\x00",
                    b"\x05\x00\x00\x01" + bytes(6),
                    b"HTTP/1.1 204 None\r\n\r\n",
                ):
                    heard.append(connection.recv(65536))
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], heard


def test_a_socks_proxy_gets_the_name_of_the_host_and_its_own_credentials(monkeypatch):
    with socks_proxy() as (port, heard):
        monkeypatch.setenv("ALL_PROXY", f"socks5h://me:p%40ss@127.0.0.1:{port}")
        assert blocking("http://far.invalid:81/v1").status == 204
    assert b"\x02me\x04p@ss" in heard[1]
    assert heard[2].endswith(b"far.invalid\x00\x51")
    assert heard[3].startswith(b"POST /v1 HTTP/1.1\r\nhost: far.invalid:81\r\n")


def test_a_socks_proxy_needs_a_package_and_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hunter2@proxy.example")
    with pytest.raises(UsageError, match=r"SOCKS.*httpcore\[socks\]") as raised:
        blocking("https://far.example/")
    assert "hunter2" not in str(raised.value)


def test_nobody_listening_on_localhost_is_refused_whichever_addresses_it_has(send, closed):
    with pytest.raises(WireError) as raised:
        send(f"http://localhost:{closed}/")
    assert raised.value.cause == "refused"


def test_a_call_that_had_no_turn_says_so():
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

    async def crowd():
        wire = AiohttpWire(max_calls=2)
        busy = [asyncio.create_task(wire.send(Call("GET", url, {}), 60)) for _ in range(2)]
        await asyncio.sleep(0)
        try:
            await wire.send(Call("GET", "http://far.invalid:1/", {}), 0.01)
        finally:
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
            await wire.close()

    with silent, pytest.raises(WireError, match=r"far\.invalid:1: not asked, no turn in time") as raised:
        asyncio.run(crowd())
    assert raised.value.cause == "turn"


def test_a_call_that_ran_out_of_time_after_it_had_to_wait_says_so_too():
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

    async def crowd():
        wire = AiohttpWire(max_calls=1)
        busy = asyncio.create_task(wire.send(Call("GET", url, {}), 60))
        await asyncio.sleep(0)
        late = asyncio.create_task(wire.send(Call("GET", url, {}), 0.5))
        await asyncio.sleep(0)
        busy.cancel()
        try:
            await late
        finally:
            await asyncio.gather(busy, return_exceptions=True)
            await wire.close()

    with silent, pytest.raises(WireError, match=r"after .* s for a turn") as raised:
        asyncio.run(crowd())
    was_sent = AttemptResult(Outcome(Kind.CANCELLED, str(raised.value)), is_free=False)
    assert result_from_wire_error(raised.value, None) == was_sent
