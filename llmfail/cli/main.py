"""The way of one command line: which command it is, what it printed, and the exit code of the process."""

from __future__ import annotations

import itertools
import os
import re
import sys
from typing import NoReturn

from llmfail.cli import startup
from llmfail.cli.arguments import fast_parser
from llmfail.cli.signals import Interrupted, raise_on_stop_signals
from llmfail.core.errors import EmptyPrompt, ExitCode, LlmfailError, UsageError

COMPLETION_VARIABLE = "_LLMFAIL_COMPLETE"
"""The variable by which a shell asks for completions."""


def main() -> NoReturn:
    """Run the command of sys.argv and exit with its code."""
    startup.collect_garbage_rarely()
    try:
        raise_on_stop_signals()
        code = run(sys.argv[1:])
    except Interrupted as interrupted:
        code = interrupted.exit_code
    startup.exit_at_once(code)


def run(arguments: list[str]) -> int:
    """The exit code of one command line; whatever goes wrong is told on standard error."""
    from llmfail.cli.io.output import replace_closed_stdout, say

    replace_closed_stdout()
    try:
        return _run_command(arguments)
    except Interrupted as interrupted:
        return interrupted.exit_code
    except EmptyPrompt as error:
        say(f"{error}; say it as an argument, or pipe it to standard input")
        return error.exit_code
    except LlmfailError as error:
        for line in str(error).splitlines():
            say(line, is_error=True)
        return error.exit_code
    except Exception as error:
        # A bug is told in one line as well; whoever wants to see it asks with -vv.
        if _is_traceback_wanted(arguments):
            raise
        # A shell that completes has no place for words, and asks in ways that Typer does not expect.
        code, text = _explain_unexpected(error)
        if COMPLETION_VARIABLE not in os.environ:
            say(text)
        return code


def _run_command(arguments: list[str]) -> int:
    """The exit code that the command itself decides on."""
    plain = None if COMPLETION_VARIABLE in os.environ else fast_parser.parse(arguments)
    return _run_typer(arguments) if plain is None else _run_parsed(plain)


def _run_typer(arguments: list[str]) -> int:
    """Raises UsageError, in our words, for what Typer finds wrong."""
    from typer._click.exceptions import ClickException, NoArgsIsHelpError

    from llmfail.cli.app import build_command_line
    from llmfail.cli.arguments.usage_error import describe_usage_error
    from llmfail.cli.io.output import require_output

    try:
        command_line = build_command_line(arguments, os.environ)
        code = command_line(arguments, prog_name="llmfail", standalone_mode=False)
    except SystemExit as exit_:
        code = exit_.code
    except NoArgsIsHelpError as help_:
        help_.show()
        return ExitCode.USAGE
    except ClickException as error:
        raise UsageError(describe_usage_error(error)) from None
    except OSError:
        # Typer writes help and completions by itself.
        require_output()
        raise
    return code if isinstance(code, int) else ExitCode.ANSWERED


def _run_parsed(parsed: fast_parser.ParsedCommand) -> int:
    startup.import_msgspec()
    from llmfail.cli.arguments.global_options import parse_global_options

    options = parse_global_options(parsed.config, parsed.state_dir, parsed.verbose, parsed.quiet)
    if parsed.command == "serve":
        from llmfail.cli.run.run_serve import run_serve

        return run_serve(options, **parsed.options)
    from llmfail.cli.run.run_ask import run_ask

    return run_ask(options, parsed.options)


def _explain_unexpected(error: Exception) -> tuple[ExitCode, str]:
    """The trouble of a process that has nothing left of something is no bug."""
    from llmfail.wire.process_limit import explain_exhaustion

    exhaustion = explain_exhaustion(error)
    if exhaustion is None:
        text = f"a bug in llmfail, please report it: {type(error).__name__}: {error} (-vv shows more)"
        return ExitCode.BUG, text
    return ExitCode.USAGE, f"{exhaustion}; raise that limit, and try again"


def _is_traceback_wanted(arguments: list[str]) -> bool:
    """Typer may not have counted the -v yet when something goes wrong."""
    own = itertools.takewhile(lambda argument: argument != "--", arguments)
    return sum(one.count("v") for one in own if re.fullmatch("-[qv]+", one)) >= 2
