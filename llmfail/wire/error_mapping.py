"""What goes wrong on a connection, as WireErrors; and what both wires share.

Each wire raises its library's errors as the ones here, with the library's error as their cause.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from llmfail._version import __version__
from llmfail.core.errors import WireCause, WireError
from llmfail.core.exhaustion import find_exhaustion, is_before_sending, iter_causes
from llmfail.core.model import Call
from llmfail.wire.process_limit import explain_exhaustion

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A longer reply is not an answer."""
CONNECT_TIMEOUT_SECONDS = 10.0
"""Seconds; a host that takes longer to accept a connection is as good as down."""

_CAUSES: dict[type[BaseException], WireCause] = {
    socket.gaierror: "resolve",
    ssl.SSLError: "tls",
    ConnectionRefusedError: "refused",
    ConnectionResetError: "reset",
    BrokenPipeError: "reset",
}
_NO_ROUTE_ERRNOS = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})
MAYBE_OUT_OF_FILES_CAUSES = frozenset({"resolve", "tls", "other"})
OTHER_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""Variables by which other programs are told of certificates."""
NO_REPLY = "it closed the connection, or its reply is not HTTP"
"""Instead of the libraries' errors of the protocol, which quote what was sent or received, keys and all."""


class OutOfTimeError(Exception):
    """The limit of this call has passed."""


class ConnectTimeoutError(OutOfTimeError):
    """The host, or the proxy, did not accept a connection in time."""


class BrokenConnectionError(Exception):
    """The connection ended before the reply did, or what came is not HTTP."""


class ConnectError(BrokenConnectionError):
    """There is no connection."""


class ProxyError(ConnectError):
    """The proxy refused to connect."""


@contextmanager
def map_wire_errors(call: Call) -> Iterator[None]:
    """Turn whatever goes wrong on the way into a WireError that names the host, never the headers."""
    try:
        yield
    except Exception as error:
        found = find_wire_error(call, error)
        if found is None:
            raise
        raise found from error


def find_wire_error(call: Call, error: Exception) -> WireError | None:
    """The same, of an error that was caught; None for what is none of the way."""
    if isinstance(error, OutOfTimeError | TimeoutError):
        return WireError("timeout", f"no answer from {host_of(call)} in time")
    if isinstance(error, BrokenConnectionError | OSError | ValueError):
        return _to_wire_error(call, error)
    if isinstance(error, MemoryError | RuntimeError) and find_exhaustion(error) is not None:
        return _to_wire_error(call, error)
    return None


def _to_wire_error(call: Call, error: Exception) -> WireError:
    cause = cause_of(error)
    exhaustion = find_exhaustion(error)
    if exhaustion is None and cause in MAYBE_OUT_OF_FILES_CAUSES:
        exhaustion = _find_file_shortage()
    if exhaustion is None:
        return WireError(cause, f"{host_of(call)}: {describe_error(error)}{_suggest_certificates(error)}")
    is_unsent = is_before_sending(exhaustion) or isinstance(error, ConnectError)
    return WireError(
        "exhaustion" if is_unsent else "standstill", f"{host_of(call)}: {explain_exhaustion(exhaustion)}"
    )


def _suggest_certificates(error: BaseException) -> str:
    """What to do about a certificate that nobody here has signed, such as that of a company's proxy."""
    if not any(isinstance(found, ssl.SSLCertVerificationError) for found in iter_causes(error)):
        return ""
    others = [name for name in OTHER_CERTIFICATE_VARIABLES if os.environ.get(name)]
    ignored = f" ({', '.join(others)} {'are' if len(others) > 1 else 'is'} not read)" if others else ""
    return f"; if you trust it, name its certificates in SSL_CERT_FILE{ignored}"


def _find_file_shortage() -> OSError | None:
    """Libraries that cannot open a file of theirs, such as the list of name servers, do not say so."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error
    return None


@contextmanager
def map_body_errors(call: Call) -> Iterator[None]:
    """The same once the head of the reply is here: a connection that ends now cuts the body."""
    try:
        yield
    except (BrokenConnectionError, zlib.error) as error:
        found = find_body_error(call, error)
        if found is None:
            raise
        raise found from error


def find_body_error(call: Call, error: Exception) -> WireError | None:
    if not isinstance(error, BrokenConnectionError | zlib.error) or find_exhaustion(error) is not None:
        return None
    return WireError("cut", f"{host_of(call)}: the reply broke off in the middle")


def cause_of(error: BaseException) -> WireCause:
    """The cause behind an exception, from the operating system's own error where there is one."""
    for found in iter_causes(error):
        for kind, cause in _CAUSES.items():
            if isinstance(found, kind):
                return cause
        if isinstance(found, OSError) and found.errno in _NO_ROUTE_ERRNOS:
            return "route"
    return "reset" if isinstance(error, BrokenConnectionError) else "other"


def decode_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case."""
    return {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in raw}


def headers_of(call: Call) -> dict[str, str]:
    """Without ``accept-encoding`` a server may send any coding; these two are unpacked by both wires."""
    return {
        "user-agent": f"llmfail/{__version__}",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        **call.headers,
    }


def make_too_long_error(call: Call) -> WireError:
    return WireError("other", f"{host_of(call)}: the reply is longer than {MAX_REPLY_BYTES >> 20} MiB")


def make_closed_error(call: Call) -> WireError:
    return WireError("cut", f"{host_of(call)}: the reply was closed before")


def host_of(call: Call) -> str:
    """The host and port that a call goes to."""
    try:
        return urlsplit(call.url).netloc or "the provider's address"
    except ValueError:
        return "the provider's address"


def describe_error(error: BaseException) -> str:
    """One line. An error about the request may hold its headers, keys and all, so it is not quoted."""
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return f"the request could not be sent ({type(error).__name__})"
    system = next(
        (found for found in iter_causes(error) if isinstance(found, OSError) and found.strerror), None
    )
    return (
        " ".join((_describe_system_error(system) if system else str(error)).split()) or type(error).__name__
    )


def _describe_system_error(error: OSError) -> str:
    """The system's own words. asyncio has others, and TLS numbers of its own."""
    if isinstance(error, ssl.SSLError) or error.errno not in errno.errorcode:
        return error.strerror or ""
    return os.strerror(error.errno or 0)
