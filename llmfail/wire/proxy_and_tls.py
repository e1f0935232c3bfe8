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
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from httpx._utils import URLPattern, get_environment_proxies

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call
from llmfail.wire.error_mapping import cause_of, describe_error

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_NO_PROXY_VARIABLE = "no_proxy"


class NetworkRoute(NamedTuple):
    """What a call needs of its client: certificates, which take 30 ms to load, and whether it is for this
    machine itself, which no proxy of the environment stands in front of.
    """

    needs_tls: bool
    is_direct: bool


def find_network_route(url: str) -> NetworkRoute:
    direct = is_loopback(url)
    proxied = not direct and any(_find_variable(name) for name in _PROXY_VARIABLES)
    return NetworkRoute(needs_tls=urlsplit(url).scheme == "https" or proxied, is_direct=direct)


def is_loopback(url: str) -> bool:
    """Whether a call stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def load_ssl_context(route: NetworkRoute) -> ssl.SSLContext:
    """The certificates that a way needs. Raises UsageError when those of the environment cannot be read."""
    if not route.needs_tls:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    variable = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    try:
        if variable == "SSL_CERT_DIR" and not _has_directory(os.environ[variable]):
            raise NotADirectoryError(None, "not a directory")
        return httpx.create_ssl_context()
    except OSError as error:
        where = f"{variable}={os.environ[variable]}" if variable else "the certificates of certifi"
        raise UsageError(f"{where} cannot be used: {describe_error(error)}") from error


@contextmanager
def check_proxy_settings(route: NetworkRoute) -> Iterator[None]:
    """Around the making of a client, which reads the proxies of the environment. Their addresses may hold
    passwords, so none is quoted.
    """
    for variable in () if route.is_direct else filter(None, map(_find_variable, _PROXY_VARIABLES)):
        if not _is_proxy_address(os.environ[variable]):
            raise UsageError(f"{variable} is not the address of a proxy, such as http://host:8080")
    try:
        yield
    except ImportError as error:
        raise UsageError(f"the proxy of the environment needs more: {describe_error(error)}") from error
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(
            f"{_find_variable(_NO_PROXY_VARIABLE) or _NO_PROXY_VARIABLE} is not a list of hosts"
        ) from error


def find_proxy(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy of the environment in front of a URL, as httpx chooses it; it has no public way to ask."""
    patterns = sorted((URLPattern(pattern), proxy) for pattern, proxy in get_environment_proxies().items())
    chosen = next((proxy for pattern, proxy in patterns if pattern.matches(url)), None)
    return None if chosen is None else httpx.Proxy(chosen)


@contextmanager
def map_proxy_errors(proxy: httpx.Proxy | None, call: Call) -> Iterator[None]:
    """Until the head of a reply is here. A proxy that cannot be reached, or lets nobody through, is no news
    of the provider; TLS is, because it goes through the proxy.
    """
    try:
        yield
    except (httpx.ProxyError, httpx.ConnectError, httpx.ConnectTimeout, socket.gaierror) as error:
        if proxy is None or cause_of(error) == "tls":
            raise
        variable = _find_variable(f"{urlsplit(call.url).scheme}_proxy") or _find_variable("all_proxy")
        where = proxy.url.netloc.decode("ascii", "replace")
        raise WireError("route", f"the proxy {where} of {variable}: {describe_error(error)}") from error


def _find_variable(name: str) -> str | None:
    """The spelling of a variable under which it is set; lower case wins, as it does for httpx."""
    return next((each for each in (name, name.upper()) if os.environ.get(each)), None)


def _is_proxy_address(address: str) -> bool:
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}").url
    except (httpx.InvalidURL, ValueError):
        return False
    return bool(proxy.host) and 0 < (proxy.port or 1) < 65536


def _has_directory(paths: str) -> bool:
    return any(Path(path).is_dir() for path in paths.split(os.pathsep))
