"""Errors that say that this process or machine has nothing left of something: descriptors, memory, threads.
They are nobody else's failure.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

_NO_THREAD = "can't start new thread"


def iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is behind it."""
    while error is not None:
        yield error
        first = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = first or error.__cause__ or error.__context__


def find_exhaustion(error: BaseException) -> BaseException | None:
    """The error among its causes that says that something is used up."""
    return next((found for found in iter_causes(error) if _is_exhaustion(found)), None)


def is_before_sending(exhaustion: BaseException) -> bool:
    """Whether it keeps a connection from being made, so that nothing has been sent on one."""
    return not isinstance(exhaustion, MemoryError) and getattr(exhaustion, "errno", None) not in {
        errno.ENOBUFS,
        errno.ENOMEM,
    }


def describe_exhaustion(exhaustion: BaseException, max_files: int) -> str:
    """What is used up, and the limit. ``max_files`` is how many descriptors this process may have."""
    match getattr(exhaustion, "errno", None):
        case errno.EMFILE:
            return f"this process has no file descriptor left, of {max_files} (ulimit -n)"
        case errno.ENFILE:
            return "this machine has no file descriptor left (fs.file-max)"
        case errno.ENOBUFS:
            return "this machine has no network buffer left"
    if isinstance(exhaustion, RuntimeError):
        return "this process can start no more threads (ulimit -u)"
    return "this process can get no more memory (ulimit -v)"


def _is_exhaustion(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)
