"""One connection to one server: opened, and used for one trip after another, each within a deadline.

Nothing is sent twice here. A connection on which anything went wrong is closed, because a late reply on it
would be taken for that of another command.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any

from llmfail.core.errors import StoreError
from llmfail.store.redis.resp import BrokenReply, RefusedCommand, Reply, encode_command, read_reply

if TYPE_CHECKING:
    from llmfail.core.store_url import RedisUrl, ServerAddress

Command = Sequence[bytes | str | int]

LEAST_SECONDS = 0.001


class Unreachable(StoreError):
    """No connection can be had: nothing was sent."""


class ConnectionLost(StoreError):
    """The connection ended before the reply: what was sent may have been done."""


class TimedOut(StoreError):
    """The time of the verb is over."""


class TripDeadline:
    """When a verb has to be over, in monotonic seconds."""

    def __init__(self, timeout: float) -> None:
        self._ends_at = time.monotonic() + timeout

    def seconds_left(self) -> float:
        return self._ends_at - time.monotonic()

    def extend(self, seconds: float) -> None:
        """For what was no waiting for the server."""
        self._ends_at += seconds

    def require(self, what: object) -> float:
        """The seconds left. Raises TimedOut."""
        left = self.seconds_left()
        if left <= 0:
            raise TimedOut(f"{what} did not answer in time (store_timeout)")
        return left


class _DeadlineSource(RawIOBase):
    """What a socket receives until a deadline, however slowly it comes."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.deadline = TripDeadline(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable bytes
        """What is there is taken however late it is: this process may have had to wait for a processor."""
        self._socket.settimeout(max(self.deadline.seconds_left(), LEAST_SECONDS))
        return self._socket.recv_into(buffer)


class RedisConnection:
    """Raises Unreachable when it cannot be opened by the deadline."""

    def __init__(self, endpoint: ServerAddress, url: RedisUrl, deadline: TripDeadline) -> None:
        self.address = endpoint
        self._setup = _list_setup_commands(url)
        try:
            self._socket = _connect(endpoint, url, deadline)
        except TimeoutError as error:
            raise TimedOut(f"{endpoint} did not answer in time (store_timeout)") from error
        except (OSError, ValueError) as error:
            raise Unreachable(f"{endpoint}: {_describe(error)}") from error
        self._source = _DeadlineSource(self._socket)
        self._reader = BufferedReader(self._source, 65536)

    def run(self, commands: Sequence[Command], deadline: TripDeadline) -> list[Reply | RefusedCommand]:
        """The reply to each, in one trip. Raises StoreError, and UnicodeEncodeError before anything is sent.

        The commands that make the connection ready go before the first ones; where one of them is refused,
        its RefusedCommand is raised.
        """
        data = b"".join(map(encode_command, [*self._setup, *commands]))
        setup, self._setup = self._setup, ()
        self._source.deadline = deadline
        try:
            self._socket.settimeout(deadline.require(self.address))
            self._socket.sendall(data)
            replies = [self._read() for _ in range(len(setup) + len(commands))]
        except TimeoutError as error:
            raise TimedOut(f"{self.address} did not answer in time (store_timeout)") from error
        except (OSError, BrokenReply) as error:
            raise ConnectionLost(f"{self.address}: {_describe(error)}") from error
        for refused in replies[: len(setup)]:
            if isinstance(refused, RefusedCommand):
                raise refused
        return replies[len(setup) :]

    def close(self) -> None:
        """Without a word to the server: in a forked child the connection is still its parent's."""
        with suppress(OSError):
            self._socket.close()

    def _read(self) -> Reply | RefusedCommand:
        try:
            return read_reply(self._reader)
        except RefusedCommand as error:
            return error


def _list_setup_commands(url: RedisUrl) -> tuple[Command, ...]:
    login: tuple[Command, ...] = ()
    if url.password:
        login = (("AUTH", url.user, url.password) if url.user else ("AUTH", url.password),)
    return (*login, ("SELECT", url.db)) if url.db else login


def _connect(endpoint: ServerAddress, url: RedisUrl, deadline: TripDeadline) -> socket.socket:
    connected = _connect_tcp(endpoint, deadline)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not url.is_encrypted:
            return connected
        connected.settimeout(deadline.require(endpoint))
        import ssl

        return ssl.create_default_context().wrap_socket(connected, server_hostname=endpoint.host)
    except BaseException:
        connected.close()
        raise


def _connect_tcp(endpoint: ServerAddress, deadline: TripDeadline) -> socket.socket:
    """To the first of its addresses that answers."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(endpoint, deadline):
        connected = socket.socket(family, kind, protocol)
        try:
            connected.settimeout(deadline.require(endpoint))
            connected.connect(address)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure or socket.gaierror(socket.EAI_NONAME, "the name has no address")


def _resolve(endpoint: ServerAddress, deadline: TripDeadline) -> Sequence[tuple[Any, Any, int, str, Any]]:
    """The system's resolver knows no time limit, so names are looked up in a thread of their own."""
    with suppress(OSError):
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags)
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(deadline.require(endpoint))
    if not found:
        raise TimedOut(f"the name of {endpoint} was not found in time (store_timeout)")
    if isinstance(found[0], OSError):
        raise found[0]
    return found


def _describe(error: Exception) -> str:
    """In words without an address, which the caller names."""
    if isinstance(error, BrokenReply):
        return str(error)
    refused: str | None = getattr(error, "verify_message", None)  # of an SSLError; ssl is a slow import
    if refused is not None:
        return f"its certificate is not accepted ({refused})"
    if type(error).__module__ == "ssl":
        return f"TLS failed ({getattr(error, 'reason', None) or 'it does not speak TLS'})"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
