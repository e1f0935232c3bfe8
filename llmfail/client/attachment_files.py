"""Files that go with a prompt."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from llmfail.core.conversation import Attachment
from llmfail.core.errors import UsageError

MEBIBYTE = 1 << 20
MAX_ATTACHMENT_BYTES = 20 * MEBIBYTE
"""Bytes; the providers take no larger requests."""
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def load_attachment(path: Path) -> Attachment:
    """Raises UsageError for what cannot be read, and for a name that is no text."""
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise UsageError("the name of an attachment is not UTF-8 text") from error
    data = read_bytes(path, MAX_ATTACHMENT_BYTES)
    return Attachment(path.name, IMAGE_TYPES.get(path.suffix.lower(), "text/plain"), data)


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The whole of a file, never more than so many bytes. Raises UsageError."""
    try:
        # A named pipe that nobody writes to must not make anybody wait: not even its opening.
        with open(path, "rb", opener=_open_nonblocking) as file:
            os.set_blocking(file.fileno(), True)
            data = file.read(max_bytes + 1)
            is_pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if is_pipe and not data:
        raise UsageError(f"cannot read {path}: nobody writes to this pipe")
    if len(data) > max_bytes:
        raise UsageError(f"{path} is larger than {max_bytes // MEBIBYTE} MiB")
    return data


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
