"""Write the manual page of llmfail to standard output, in the format of man(7). Besides the exit codes, which
the README has too, everything in it is from the help of the commands.

    python scripts/make_man.py > llmfail.1 && man -l llmfail.1
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from llmfail._version import __version__
from llmfail.cli.app import COMMANDS, build_command_line
from llmfail.core.errors import ExitCode

EXIT_CODES = {
    ExitCode.ANSWERED: "an answer was printed, or a report is good",
    ExitCode.BUG: "a bug in llmfail; of reports: not good",
    ExitCode.USAGE: "usage or configuration error",
    ExitCode.UNAVAILABLE: "no answer: every target failed or is unavailable",
    ExitCode.OVER_BUDGET: "a budget or --max-cost refused the call",
    ExitCode.REQUEST_REFUSED: "the request was refused",
    ExitCode.CREDENTIALS_MISSING: "only credentials stood in the way",
    ExitCode.DEADLINE_PASSED: "the deadline passed",
    ExitCode.INCOMPLETE: "the answer broke off after a part of it was shown",
}


def escape(text: str) -> str:
    """A line of text as roff prints it as it is."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{plain}" if plain.startswith((".", "'")) else plain


def option_lines(command: Any) -> Iterator[str]:  # noqa: ANN401 - of the copy of click that Typer brings
    for parameter in command.params:
        if not getattr(parameter, "help", None):
            continue
        flags = ", ".join([*parameter.opts, *parameter.secondary_opts])
        value = "" if getattr(parameter, "is_flag", False) or parameter.metavar is None else parameter.metavar
        yield ".TP"
        yield rf"\fB{escape(flags)}\fR {escape(value)}".rstrip()
        yield escape(" ".join(parameter.help.split()))


def help_lines(text: str) -> Iterator[str]:
    """The paragraphs of a help text; its examples as they are typed."""
    for paragraph in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        words = " ".join(paragraph.split())
        if words.rstrip(":") == "Examples":
            yield ".PP"
            yield r"\fIExamples\fR"
        elif words.startswith("llmfail ") or "| llmfail " in words:
            yield from (".PP", ".RS 4", ".nf", *map(escape, paragraph.strip().splitlines()), ".fi", ".RE")
        elif words:
            yield from (".PP", escape(words))


def command_lines(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    arguments = [one.make_metavar(None) for one in command.params if one.param_type_name == "argument"]
    yield f".SS {escape(' '.join(['llmfail', name, *arguments]))}"
    yield from help_lines(command.help or "")
    yield from option_lines(command)
    for child, below in sorted(getattr(command, "commands", {}).items()):
        yield from command_lines(f"{name} {child}", below)


def page_lines() -> Iterator[str]:
    program = build_command_line(list(COMMANDS), {})
    yield f'.TH LLMFAIL 1 "" "llmfail {__version__}"'
    yield from (".SH NAME", r"llmfail \- ask language models through fallback chains")
    yield from (".SH SYNOPSIS", r"\fBllmfail\fR [\fIoptions\fR] \fIcommand\fR [\fIarguments\fR]")
    yield ".SH DESCRIPTION"
    yield from help_lines(program.help or "")
    yield ".SH OPTIONS"
    yield from option_lines(program)
    yield ".SH COMMANDS"
    for name in COMMANDS:
        yield from command_lines(name, program.commands[name])
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES.items():
        yield from (".TP", rf"\fB{code:d}\fR", escape(meaning))


if __name__ == "__main__":
    print("\n".join(page_lines()))
