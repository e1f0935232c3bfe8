"""What is used up is told with its limit, whatever error it is behind."""

import errno
import os

import pytest

from llmfail.core.exhaustion import describe_exhaustion, find_exhaustion, is_before_sending


def behind(error):
    """The same error as a library passes it on."""
    outer = OSError("all addresses failed")
    outer.__cause__ = ExceptionGroup("several", [error])
    return outer


@pytest.mark.parametrize("wrap", [lambda error: error, behind])
@pytest.mark.parametrize(
    ("error", "said", "unsent"),
    [
        (OSError(errno.EMFILE, "x"), "of 256 (ulimit -n)", True),
        (OSError(errno.ENFILE, "x"), "fs.file-max", True),
        (OSError(errno.ENOBUFS, "x"), "network buffer", False),
        (OSError(errno.ENOMEM, "x"), "memory", False),
        (MemoryError(), "memory", False),
        (RuntimeError("can't start new thread"), "threads (ulimit -u)", True),
    ],
)
def test_e1_an_error_of_our_own_machine_names_its_limit(wrap, error, said, unsent):
    found = find_exhaustion(wrap(error))
    assert said in describe_exhaustion(found, 256)
    assert is_before_sending(found) is unsent


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.EACCES, errno.ENOSPC])
def test_any_other_error_is_none_of_these(number):
    assert find_exhaustion(OSError(number, os.strerror(number))) is None
    assert find_exhaustion(RuntimeError("something else")) is None
