"""What the environment of this machine says about the way out: proxies and certificates.

Whatever is wrong here is for the user to mend, and no provider's failure: a UsageError names the variable,
and a proxy that is down is a missing route.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from llmfail.core.errors import UsageError, WireError
from llmfail.core.loopback import is_loopback
from llmfail.wire.error_mapping import (
    ConnectError,
    ConnectTimeoutError,
    ProxyError,
    cause_of,
    describe_error,
)
from llmfail.wire.request_url import RequestUrl, encode_host, join_authority

_PROXY_NAMES: tuple[str, ...] = ("http", "https", "all")
_PROXY_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


class Proxy(NamedTuple):
    """A proxy of the environment, and the variable that names it."""

    variable: str
    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None


class NetworkRoute(NamedTuple):
    """What a call needs of its connections: certificates, which take 30 ms to load, and a proxy."""

    needs_tls: bool
    proxy: Proxy | None


def find_network_route(url: RequestUrl) -> NetworkRoute:
    """No proxy of the environment stands in front of this machine itself. Raises UsageError."""
    proxy = None if is_loopback(url.host) else _find_proxy(url)
    return NetworkRoute(url.scheme == "https" or (proxy is not None and proxy.scheme == "https"), proxy)


def load_ssl_context(route: NetworkRoute) -> ssl.SSLContext:
    """The certificates that a way needs. Raises UsageError when those of the environment cannot be read."""
    if not route.needs_tls:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    variable = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    try:
        if variable == "SSL_CERT_FILE":
            return ssl.create_default_context(cafile=os.environ[variable])
        if variable == "SSL_CERT_DIR":
            return _load_ssl_directory(os.environ[variable])
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    except OSError as error:
        where = f"{variable}={os.environ[variable]}" if variable else "the certificates of certifi"
        raise UsageError(f"{where} cannot be used: {describe_error(error)}") from error


def _load_ssl_directory(paths: str) -> ssl.SSLContext:
    if not any(Path(path).is_dir() for path in paths.split(os.pathsep)):
        raise NotADirectoryError(None, "not a directory")
    return ssl.create_default_context(capath=paths)


@contextmanager
def map_proxy_errors(proxy: Proxy | None) -> Iterator[None]:
    """Until the head of a reply is here. A proxy that cannot be reached, or refuses, is no news of the
    provider; TLS is, because it goes through the proxy.
    """
    try:
        yield
    except (ProxyError, ConnectError, ConnectTimeoutError, socket.gaierror) as error:
        if proxy is None or cause_of(error) == "tls":
            raise
        where = f"the proxy {join_authority(proxy.host, proxy.port)} of {proxy.variable}"
        raise WireError("route", f"{where}: {describe_error(error)}") from error


def _find_proxy(url: RequestUrl) -> Proxy | None:
    """Every setting is checked, also one that another URL would use."""
    settings = getproxies()
    proxies = {name: _parse_proxy(name, settings[name]) for name in _PROXY_NAMES if name in settings}
    if _bypasses_proxy(url, settings.get("no", "")):
        return None
    return proxies.get(url.scheme) or proxies.get("all")


def _parse_proxy(name: str, address: str) -> Proxy:
    """The address may hold a password, so it is not quoted."""
    variable = _find_variable(f"{name}_proxy")
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = _PROXY_PORTS[parts.scheme] if parts.port is None else parts.port
        host = encode_host(parts.hostname or "")
    except (ValueError, KeyError):
        host, port = "", 0
    if not host or not port:
        raise UsageError(f"{variable} is not the address of a proxy, such as http://host:8080")
    credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    return Proxy(variable, parts.scheme, host, port, credentials if any(credentials) else None)


def _bypasses_proxy(url: RequestUrl, no_proxy: str) -> bool:
    """Whether an entry of NO_PROXY covers this host. Entries are divided by commas or blanks; one that means
    nothing covers nothing, as for curl and Go.
    """
    if bool(proxy_bypass(url.host)) or bool(proxy_bypass(join_authority(url.host, url.port))):
        return True
    return any(_covers(entry, url) for entry in no_proxy.replace(",", " ").split())


def _covers(entry: str, url: RequestUrl) -> bool:
    """``*``, a host and all below it, perhaps with its scheme or port, an address, a network such as
    10.0.0.0/8, or a pattern such as 192.168.*.
    """
    if "://" in entry:
        return entry == f"{url.scheme}://{url.host}"
    try:
        return ip_address(url.host.strip("[]")) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    if "*" in entry:
        return fnmatchcase(url.host.lower(), entry.lower())
    name = entry.lower().lstrip(".")
    hosts = (url.host.lower(), join_authority(url.host.lower(), url.port))
    return bool(name) and any(host == name or host.endswith(f".{name}") for host in hosts)


def _find_variable(name: str) -> str:
    """The spelling of a variable under which it is set; lower case wins, as it does for urllib."""
    return next((each for each in (name, name.upper()) if os.environ.get(each)), name)
