"""The command line: one small file per command. No rules here."""

from __future__ import annotations

import gc
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from llmfail.cli import swift
from llmfail.core.errors import LlmfailError

COMPLETION = "_LLMFAIL_COMPLETE"
"""The variable by which a shell asks for completions."""


SETTLING = 3.0
"""Seconds within which a process that was asked to stop has settled what it did."""


class Interrupted(BaseException):
    """A signal asks to stop. Calls under way are settled on the way out."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__()


def main() -> NoReturn:
    """Run the command of sys.argv and exit with its code."""
    gc.set_threshold(50_000)  # importing makes many objects and no garbage
    try:
        _on_stop(_interrupt)
        code = run(sys.argv[1:])
    except Interrupted as interrupted:
        code = interrupted.exit_code
    _leave(code)


def _leave(code: int) -> NoReturn:
    """At once: to take apart what is about to be gone anyway would be a sixth of the time of an ask.
    Everything is closed and written by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a closed pipe, a closed stream, none at all
            stream.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of one command line; whatever goes wrong is told on standard error."""
    from llmfail.cli.output import open_output, say  # noqa: PLC0415 - start-up: a signal may come here

    open_output()
    try:
        return _code(arguments)
    except Interrupted as interrupted:
        return interrupted.exit_code
    except LlmfailError as error:
        for line in str(error).splitlines():
            say(line)
        return error.exit_code
    except Exception as error:
        # A bug is told in one line as well; whoever wants to see it asks with -vv.
        if _wants_traceback(arguments):
            raise
        # A shell that completes has no place for words, and asks in ways that Typer does not expect.
        if COMPLETION not in os.environ:
            say(f"a bug in llmfail, please report it: {type(error).__name__}: {error} (-vv shows more)")
        return 1


def _code(arguments: list[str]) -> int:
    """The exit code that the command itself decides on."""
    plain = None if COMPLETION in os.environ else swift.read(arguments)
    if plain is not None:
        return _asked(plain)
    from llmfail.cli.app import command_line  # noqa: PLC0415 - start-up
    from llmfail.cli.output import require_output  # noqa: PLC0415 - as above

    try:
        command_line(arguments, os.environ)(arguments, prog_name="llmfail")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    except OSError:
        # Typer writes help and completions by itself.
        require_output()
        raise
    return 0


def _asked(plain: swift.Plain) -> int:
    with _without("typing_extensions"):
        # It takes longer to import than msgspec itself, which needs nothing of it that typing has not.
        import msgspec  # noqa: F401, PLC0415 - start-up
    from llmfail.cli.asking import Said, answered  # noqa: PLC0415 - start-up
    from llmfail.cli.options import globals_from  # noqa: PLC0415 - as above

    options = globals_from(plain.config, plain.state_dir, plain.verbose, plain.quiet)
    return answered(options, Said(**plain.said))


@contextmanager
def _without(module: str) -> Iterator[None]:
    """As if that module were not installed."""
    there = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]  # how Python is told so
    try:
        yield
    finally:
        del sys.modules[module]
        if there is not None:
            sys.modules[module] = there


def _wants_traceback(arguments: list[str]) -> bool:
    """Typer may not have counted the -v yet when something goes wrong."""
    own = itertools.takewhile(lambda argument: argument != "--", arguments)
    return sum(one.count("v") for one in own if re.fullmatch("-[qv]+", one)) >= 2


def heeded() -> list[signal.Signals]:
    """The signals that ask to stop, without those that nohup and the shell's background jobs ignore."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in asked if signal.getsignal(number) is not signal.SIG_IGN]


def _on_stop(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in heeded():
        signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """What has to be written before the end takes no long: who asks again at once is not heard."""
    stopped_at = time.monotonic()

    def insist(number: int, _frame: FrameType | None) -> None:
        if time.monotonic() > stopped_at + SETTLING:
            raise Interrupted(number)

    _on_stop(insist)
    raise Interrupted(number)
