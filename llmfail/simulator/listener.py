"""A port of the simulator on loopback that can refuse connections and let them in again.

While it is shut the port stays bound, so that nobody else gets it, and nobody listens: the kernel answers a
connection with RST, which is what a dead server's host does.
"""

from __future__ import annotations

import contextlib
import socket

LOOPBACK = "127.0.0.1"
BACKLOG = 1024


class Listener:
    """Not thread-safe: the simulator's lock guards it. The listening socket never blocks."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.accepted = 0
        self.socket = _bind_socket(port)
        self.port: int = self.socket.getsockname()[1]
        self.is_listening = False

    def start_listening(self) -> None:
        self.socket.listen(BACKLOG)
        self.is_listening = True

    def stop_listening(self) -> None:
        self.socket.close()
        self.socket = _bind_socket(self.port)
        self.is_listening = False

    def accept(self) -> socket.socket | None:
        """The next connection, None when there is none (any more)."""
        with contextlib.suppress(OSError):
            connection, _ = self.socket.accept()
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        return None


def _bind_socket(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.settimeout(0)
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
