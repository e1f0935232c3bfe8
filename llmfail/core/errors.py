"""One exception tree, each error with its exit code.

LlmfailError
├── UsageError               2   the command or the call is wrong
│   ├── SettingsError        2   the configuration is wrong; lists every problem
│   ├── EmptyPrompt          2   there is nothing to ask
│   └── UnsupportedRequest   2   this target cannot take this request; others may
├── StoreError                   a store cannot do its work; never reaches a caller of ``ask``
├── WireError                    no whole HTTP reply arrived; the engine turns it into an outcome
├── MalformedReply               a reply breaks its wire format; likewise
├── TokenRefused                 Google gave no token (llmfail.google_auth); carries its outcome
├── CommandFailed                a degrade command gave no answer; the next step is tried
└── AskError                     no answer; carries the receipt
    ├── Unavailable          3   every target failed or is unavailable
    ├── OverBudget           4   a budget or --max-cost refused the call
    ├── RequestRefused       5   the request was refused, and every target would refuse it
    ├── CredentialsMissing   6   no target has a usable credential
    ├── DeadlinePassed       7   the deadline passed
    └── IncompleteAnswer     8   only a part of the answer arrived
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    from llmfail.core.receipt import Receipt


class ExitCode(IntEnum):
    """The exit codes of the process. The README's table of exit codes is this list."""

    ANSWERED = 0
    BUG = 1
    USAGE = 2
    UNAVAILABLE = 3
    OVER_BUDGET = 4
    REQUEST_REFUSED = 5
    CREDENTIALS_MISSING = 6
    DEADLINE_PASSED = 7
    INCOMPLETE = 8

    # Of reports: `drill`, `eval`, `status --check`.
    NOT_GOOD = 1
    UNHEALTHY = 2


class LlmfailError(Exception):
    """The root. The text is complete: what happened, where, and what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG


class UsageError(LlmfailError):
    exit_code = ExitCode.USAGE


class Problem(NamedTuple):
    """One error in a configuration. ``path`` is dotted (``features.vpr.primary``), ``line`` is counted from 1
    and None when the value came from the environment.
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else (self.file or "environment")
        return f"{place}: {self.path or '(top level)'}: {self.message}"


class SettingsError(UsageError):
    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class EmptyPrompt(UsageError):
    """There is nothing to ask. How to say something depends on who says it."""


class UnsupportedRequest(UsageError):
    """This target cannot take this request; others may."""


class StoreError(LlmfailError):
    """The store cannot be opened, read or written now. The text names the file or host, and the reason."""


WireCause = Literal[
    "resolve",
    "route",
    "refused",
    "reset",
    "tls",
    "timeout",
    "cut",
    "exhaustion",
    "turn",
    "standstill",
    "closed",
    "other",
]


class WireError(LlmfailError):
    """No whole reply arrived. ``cause``: the name was not resolved, there was no route, the connection was
    refused or reset, TLS failed, time ran out, the body was cut, this process has no descriptor, memory or
    thread left to connect with (``exhaustion``), the call never got a slot among its own (``turn``), this
    process was suspended or held the call up until time ran out (``standstill``), its client was ``closed``
    meanwhile, any other.
    """

    def __init__(self, cause: WireCause, text: str) -> None:
        self.cause: WireCause = cause
        super().__init__(text)


class MalformedReply(LlmfailError):
    """A 2xx reply whose body is not an answer in its wire format."""


class CommandFailed(LlmfailError):
    """A degrade command gave no answer. The text has the command, the reason, and its last error line."""


class AskError(LlmfailError):
    """No answer. ``receipt`` has the trail, and ``retry_at`` when a time is known."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        super().__init__(receipt.error.message if receipt.error else "no answer")


class Unavailable(AskError):
    exit_code = ExitCode.UNAVAILABLE


class OverBudget(AskError):
    exit_code = ExitCode.OVER_BUDGET


class RequestRefused(AskError):
    exit_code = ExitCode.REQUEST_REFUSED


class CredentialsMissing(AskError):
    exit_code = ExitCode.CREDENTIALS_MISSING


class DeadlinePassed(AskError):
    exit_code = ExitCode.DEADLINE_PASSED


class IncompleteAnswer(AskError):
    exit_code = ExitCode.INCOMPLETE
