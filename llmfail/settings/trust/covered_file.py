"""The files that a command names, and what is in them: trust in a command covers these too.

Only files in the directory of the configuration count, which came with it; what they read or run themselves
is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

MAX_HASHED_BYTES = 16_000_000
"""Of a larger file its size and the moment of its last change count: a model would take seconds to read."""
ABSENT = "absent"


def digest_files(argv: Sequence[object], directory: Path) -> dict[str, str]:
    """A digest by name, for each word of a command that may be a file of the directory, there or not."""
    names = dict.fromkeys(name for word in argv for name in _list_names(str(word)))
    return {name: _digest(directory / name) for name in names if _may_be_file(name, directory)}


def _list_names(word: str) -> Iterator[str]:
    """The word, and what stands behind the sign of ``--option=FILE``."""
    yield word
    if word.startswith("-") and "=" in word:
        yield word.partition("=")[2]


def _may_be_file(name: str, directory: Path) -> bool:
    """A path, or the name of what is there; but not what is elsewhere."""
    if not name or "\0" in name:
        return False
    base = os.path.abspath(directory)  # noqa: PTH100 - without following links
    path = os.path.normpath(os.path.join(base, name))  # noqa: PTH118 - names of strangers, not paths
    is_inside = path.startswith(os.path.join(base, ""))  # noqa: PTH118
    return is_inside and ("/" in name or os.path.lexists(path))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > MAX_HASHED_BYTES:
                return f"{found.st_size} bytes of {found.st_mtime_ns}"
            return sha256(file.read(MAX_HASHED_BYTES)).hexdigest()
    except (OSError, ValueError):
        return ABSENT
