"""The URL of a call, taken apart for the connection and for the request line. Both wires send the same."""

from __future__ import annotations

import string
from typing import NamedTuple
from urllib.parse import quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNQUOTED = string.punctuation
"""What is escaped in a configuration stays escaped, and nothing is escaped twice."""


class RequestUrl(NamedTuple):
    scheme: str
    host: str
    """In ASCII, an IPv6 address without its brackets."""
    port: int
    authority: str
    """The value of the Host header. Credentials in a URL are not sent."""
    target: str
    """Path and query."""

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(url: str) -> RequestUrl:
    """Raises ValueError, whose text may quote the URL."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not the URL of an HTTP server")
    host, default = encode_host(parts.hostname), _DEFAULT_PORTS[parts.scheme]
    port = parts.port or default
    target = quote(parts.path or "/", safe=_UNQUOTED)
    if parts.query:
        target += f"?{quote(parts.query, safe=_UNQUOTED)}"
    return RequestUrl(parts.scheme, host, port, join_authority(host, port, default), target)


def encode_host(host: str) -> str:
    """The name under which the domain name system knows a host."""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def join_authority(host: str, port: int, default_port: int | None = None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == default_port else f"{name}:{port}"
