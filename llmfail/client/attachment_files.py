"""Files that go with a prompt."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

from llmfail.core.conversation import Attachment
from llmfail.core.errors import UsageError
from llmfail.core.request.media_type import find_media_type, guess_media_type

MEBIBYTE = 1 << 20
MAX_ATTACHMENT_BYTES = 20 * MEBIBYTE
"""Bytes; the providers take no larger requests."""
URL_START = re.compile(r"https?://", re.IGNORECASE)


def load_attachment(place: str | os.PathLike[str]) -> Attachment:
    """A file, or what a URL names, which goes to the provider as it is. Raises UsageError for what cannot be
    read, for what no model takes, and for a name that is no text.
    """
    if isinstance(place, str) and URL_START.match(place):
        name = urlsplit(place).path.rpartition("/")[2] or place
        return Attachment(name, guess_media_type(place), url=place)
    path = Path(place)
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise UsageError("the name of an attachment is not UTF-8 text") from error
    data = read_bytes(path, MAX_ATTACHMENT_BYTES)
    return Attachment(path.name, find_media_type(path.name, data), data)


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
