"""The request log: a line of JSON for each request, on standard error or in a file that all workers share."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from llmfail.core.errors import UsageError


class RequestLogFile:
    """Each line is one write at the end of the file, so that lines of several processes stay whole."""

    def __init__(self, path: Path | None) -> None:
        self._descriptor: int | None = None
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            try:
                self._descriptor = os.open(path, flags, 0o600)
            except OSError as error:
                raise UsageError(f"cannot write the request log {path}: {error.strerror}") from None

    def write(self, line: bytes) -> None:
        """What cannot be written is nobody's answer less."""
        with suppress(OSError, ValueError):
            if self._descriptor is not None:
                os.write(self._descriptor, line + b"\n")
            elif sys.stderr is not None:
                sys.stderr.write(line.decode() + "\n")
                sys.stderr.flush()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
