"""Where a server listens: a port of an address, or a socket file, which is for its owner alone."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from llmfail.core.errors import UsageError
from llmfail.settings.schema.serve_scalars import UNIX_PREFIX, split_address

BACKLOG: Final = 1024
_OTHERS: Final = 0o177
"""What a socket file lets nobody do."""


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:9464``, ``[::1]:9464``, ``:9464`` (loopback). Raises UsageError."""
    found = split_address(text)
    if found is None:
        raise UsageError(f"--listen is written HOST:PORT, such as 127.0.0.1:9464, got {text!r}")
    return found


def find_socket_file(text: str) -> Path | None:
    """That of ``unix:/run/llmfail.sock``; None for an address."""
    return Path(text.removeprefix(UNIX_PREFIX)) if text.startswith(UNIX_PREFIX) else None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UsageError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)  # noqa: FBT003 - the name of its parameter is not public
    return listener


def bind_file(path: Path) -> socket.socket:
    """A listening socket, at which whoever may not act as this user cannot connect. Raises UsageError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(_OTHERS)
    try:
        _remove_left(path)
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {UNIX_PREFIX}{path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    listener.setblocking(False)  # noqa: FBT003 - the name of its parameter is not public
    return listener


def url_of(listener: socket.socket, *, is_tls: bool) -> str:
    """Where programs connect."""
    if listener.family == socket.AF_UNIX:
        return f"{UNIX_PREFIX}{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def _remove_left(path: Path) -> None:
    """The socket file of a server that is no more."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(ConnectionRefusedError):
            probe.connect(str(path))
            return
        path.unlink()
