"""How much memory the replies of one client may take up together, while they are read."""

from __future__ import annotations

from threading import Lock
from typing import Self

from llmfail.core.errors import WireError
from llmfail.core.model import Call
from llmfail.wire.error_mapping import host_of

MAX_BYTES_TOGETHER = 128 * 1024 * 1024
ORDINARY_BYTES = 4 * 1024 * 1024
"""A reply of this size is read however much is held of others."""


class ReplyMemory:
    """The bytes of replies that are being read, by any thread."""

    def __init__(self) -> None:
        self._held = 0
        self._lock = Lock()

    def add(self, size: int) -> int:
        """What is held then."""
        with self._lock:
            self._held += size
            return self._held


class HeldReply:
    """The body of one reply, piece by piece; what it takes up is free again at the end of the block."""

    def __init__(self, memory: ReplyMemory, call: Call) -> None:
        self._memory = memory
        self._call = call
        self._pieces: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._memory.add(-self._size)

    def add(self, piece: bytes) -> None:
        """Raises WireError when there is no room for it: trouble of this process, not of the provider."""
        self._pieces.append(piece)
        self._size += len(piece)
        held = self._memory.add(len(piece))
        if held > MAX_BYTES_TOGETHER and self._size > ORDINARY_BYTES:
            raise WireError(
                "standstill",
                f"{host_of(self._call)}: no room for a reply of more than {self._size >> 20} MiB beside "
                f"others (altogether {MAX_BYTES_TOGETHER >> 20} MiB)",
            )

    def join(self) -> bytes:
        return b"".join(self._pieces)
