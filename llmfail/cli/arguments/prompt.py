"""The prompt of a command line: the argument, standard input when it is piped, or both."""

from __future__ import annotations

import os
import sys

from llmfail.cli.io.output import say
from llmfail.cli.io.text_decoding import decode_text
from llmfail.core.errors import UsageError

MAX_STDIN_BYTES = 20 << 20
"""Bytes of standard input; no provider takes a larger request."""
CHUNK_BYTES = 1 << 16
NOTICE_DELAY = 2.0
"""Seconds after which somebody who gave a prompt is told what is being waited for."""
WAITING_NOTICE = "waiting for standard input to end; with </dev/null there is nothing to wait for"


def read_prompt(argument: str | None, *, quiet: bool, has_input: bool = True) -> str | None:
    """Standard input first, a blank line, then the argument; ``-`` is standard input. None when there is
    nothing in either. Without ``has_input`` standard input is something else. Raises UsageError for what is
    no text, and for too much of it.
    """
    typed = require_utf8("the prompt", argument) if argument and argument != "-" else None
    if not has_input:
        if argument == "-":
            raise UsageError("standard input is either the prompt or an attachment, not both")
        return typed
    piped = _read_standard_input(asked_for=argument == "-", notice=typed is not None and not quiet)
    parts = [piped, typed]
    return "\n\n".join(part for part in parts if part and part.strip()) or None


def require_utf8(name: str, argument: str) -> str:
    """An argument as text. Python keeps bytes that are no UTF-8 as surrogates, which nobody could be sent."""
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} is not UTF-8 text") from error
    return argument


def read_attached_input() -> bytes:
    """Standard input as a file that goes with the prompt. Raises UsageError for none, and for too much."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("-a - attaches standard input, and nothing is piped to it")
    data = _read_to_limit(sys.stdin.fileno(), notice=False)
    if not data or len(data) > MAX_STDIN_BYTES:
        size = f"larger than {MAX_STDIN_BYTES >> 20} MiB, which no model takes" if data else "empty"
        raise UsageError(f"standard input is {size}")
    return data


def _read_standard_input(*, asked_for: bool, notice: bool) -> str | None:
    if sys.stdin is None or (sys.stdin.isatty() and not asked_for):
        return None
    try:
        data = _read_to_limit(sys.stdin.fileno(), notice=notice)
    except OSError:
        return None
    if len(data) > MAX_STDIN_BYTES:
        raise UsageError(f"standard input is larger than {MAX_STDIN_BYTES >> 20} MiB, which no model takes")
    return decode_text("standard input", data)


def _read_to_limit(descriptor: int, *, notice: bool) -> bytes:
    """Everything up to its end or just above the limit. A pipe that somebody keeps open looks like a program
    that hangs; ``notice``: say so, once.
    """
    data = bytearray()
    while len(data) <= MAX_STDIN_BYTES:
        if notice and not _is_ready(descriptor):
            say(WAITING_NOTICE)
            notice = False
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _is_ready(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], NOTICE_DELAY)[0])
