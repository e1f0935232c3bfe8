"""The options of an ask, each declared once.

A new option takes three places: an entry in ``ASK_OPTIONS``, from which the command line, its fast parser,
the fields of a batch line and the help of the Python API are made; a key of ``Options`` with the same name,
for type checkers; and a field of ``request.ask.Ask``, unless ``client.options.ask_of`` makes another value
of it. Tests compare the three. An option with scope "command line" has an entry alone.

The command line is read by this table before anything else is imported, so that it imports nothing slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from os import PathLike

    from llmfail.core.conversation import Attachment

DEFAULT_FEATURE: Final = "default"

OptionKind = Literal[
    "text",
    "texts",
    "targets",
    "pairs",
    "file",
    "schema_file",
    "attached_files",
    "count",
    "number",
    "duration",
    "duration_or_zero",
    "hedge_delay",
    "dollars",
    "flag",
    "generation_options",
    "tools_file",
    "tool_choice",
]
OptionScope = Literal["everywhere", "not in a line", "command line"]
"""Where it may be said: on the command line, as a keyword of Python, in a line of a batch."""
REPEATABLE_KINDS: Final = frozenset({"texts", "targets", "pairs", "attached_files", "generation_options"})


class AskOption(NamedTuple):
    """One option. ``name`` is the field of a batch line and the parameter of a command; ``flags`` are how
    the command line writes it, the long way last; ``negation`` is the flag that says no. ``keyword`` is the
    key of ``Options`` that it sets, where that is not its name. ``commands`` are those that have the option.
    """

    name: str
    flags: tuple[str, ...]
    kind: OptionKind
    metavar: str | None = None
    help: str | None = None
    keyword: str = ""
    negation: str = ""
    default: str | None = None
    commands: tuple[str, ...] = ("ask",)
    scope: OptionScope = "everywhere"

    @property
    def long_flag(self) -> str:
        return self.flags[-1]

    @property
    def is_flag(self) -> bool:
        return self.kind == "flag"

    @property
    def is_repeatable(self) -> bool:
        return self.kind in REPEATABLE_KINDS


_ALL = ("ask", "batch", "embed", "plan")
_CALLING = ("ask", "batch", "embed")
_ANSWERING = ("ask", "batch")
_PLANNED = ("ask", "batch", "plan")
_SINGLE = ("ask", "embed")

# fmt: off
ASK_OPTIONS: Final = (
    AskOption("feature", ("-f", "--feature"), "text", "NAME", "What it is for: the name of a feature.",
              default=DEFAULT_FEATURE, commands=_ALL),
    AskOption("model", ("-m", "--model"), "targets", "TARGET", "Instead of the chain; repeatable.",
              commands=_ALL),
    AskOption("messages", ("--messages",), "file", "FILE",
              "JSON: a conversation, or a whole request of OpenAI, Anthropic or Gemini; '-': standard input.",
              commands=("ask", "plan"), scope="command line"),
    AskOption("prompt_file", ("--prompt-file",), "file", "FILE", "The prompt, before the argument.",
              commands=("ask", "plan"), scope="command line"),
    AskOption("system_file", ("--system-file",), "file", "FILE", "The system prompt.",
              commands=("ask", "plan"), scope="command line"),
    AskOption("system", ("-s", "--system"), "text", "TEXT", "System prompt.", commands=_PLANNED),
    AskOption("template", ("-t", "--template"), "text", "NAME", "A prompt template by its name, or @FILE.",
              commands=_PLANNED),
    AskOption("params", ("-p", "--param"), "pairs", "K=V", "What $K in the template is; repeatable.",
              commands=_PLANNED),
    AskOption("attach", ("-a", "--attach"), "attached_files", "FILE",
              "An image, PDF, sound or text: a file, a URL, or '-'; repeatable.",
              keyword="attachments", commands=("ask", "plan"), scope="not in a line"),
    AskOption("schema", ("--schema",), "schema_file", "FILE", "JSON Schema for the answer.",
              commands=_ANSWERING),
    AskOption("expect", ("--expect",), "texts", "WHAT",
              "json, nonempty, complete or regex:RE: another answer is none; repeatable.",
              commands=_ANSWERING),
    AskOption("max_tokens", ("--max-tokens",), "count", "N", "How long the answer may be.",
              commands=_PLANNED),
    AskOption("temperature", ("--temperature",), "number", "X",
              "How much answers to the same prompt differ: 0 to 2.", commands=_ANSWERING),
    AskOption("stop", ("--stop",), "texts", "S", "End the answer before this text; repeatable."),
    AskOption("options", ("-O", "--option"), "generation_options", "K=V",
              "effort, top_p, top_k, seed, verbosity and others, where the model has it; repeatable.",
              commands=_PLANNED),
    AskOption("tools", ("--tools",), "tools_file", "FILE",
              "Tools that the model may call, as JSON; calls are printed as JSON lines.",
              commands=_PLANNED),
    AskOption("tool_choice", ("--tool-choice",), "tool_choice", "WHICH",
              "auto, none, required, or the tool that has to be called.", commands=_PLANNED),
    AskOption("timeout", ("--timeout",), "duration", "DURATION",
              "How long one attempt may take: 30, 30s, 2m.", commands=_CALLING),
    AskOption("deadline", ("--deadline",), "duration", "DURATION",
              "How long all attempts may take together; for ask and embed with the wait for the prompt.",
              commands=_CALLING),
    AskOption("max_cost", ("--max-cost",), "dollars", "USD",
              "Refuse what may cost more, all attempts together.",
              commands=("ask", "embed", "plan")),
    AskOption("user", ("--user",), "text", "ID", "Whose budget it goes on.", commands=_ALL),
    AskOption("session", ("--session",), "text", "ID",
              "Which conversation it belongs to: one target and one experiment for all of it.",
              commands=("ask", "plan")),
    AskOption("traceparent", ("--traceparent",), "text", "HEADER",
              "The span of a trace that it belongs to, as W3C has it; else that of $TRACEPARENT.",
              commands=_SINGLE, scope="not in a line"),
    AskOption("as_json", ("--json",), "flag", help="Print the receipt as one line of JSON.",
              commands=_SINGLE, scope="command line"),
    AskOption("events", ("--events",), "flag", help="Tell what happens as JSON lines on standard error.",
              scope="command line"),
    AskOption("extract", ("-x", "--extract"), "flag", help="Print the first fenced block of the answer only.",
              scope="command line"),
    AskOption("extract_lang", ("--extract-lang",), "text", "LANG", "The same, of the first in this language.",
              scope="command line"),
    AskOption("output", ("-o", "--output"), "file", "FILE", "Write it there; '-': standard output.",
              commands=_SINGLE, scope="command line"),
    AskOption("no_cache", ("--no-cache",), "flag", help="Neither use a stored answer nor store this one.",
              commands=_CALLING),
    AskOption("refresh", ("--refresh",), "flag",
              help="Ask a model although an answer is stored, and store the new one.",
              commands=_CALLING),
    AskOption("no_fallback", ("--no-fallback",), "flag", help="Ask the first target only.",
              commands=_ALL),
    AskOption("strict", ("--strict",), "flag", help="Refuse degraded answers.", commands=_ANSWERING),
    AskOption("wait", ("--wait",), "duration_or_zero", "DURATION",
              "How long to wait when no target can be asked now; lines: 10m each time.",
              commands=_CALLING),
    AskOption("queue", ("--queue",), "flag",
              help="When nothing can answer, keep the request for `queue run`."),
    AskOption("hedge", ("--hedge",), "hedge_delay", "DURATION",
              "Ask the next target too when the answer is so late; or p95."),
    AskOption("stream", ("--stream",), "flag", negation="--no-stream",
              help="Ask for a stream, which a terminal shows as it comes; by default, on a terminal."),
    AskOption("drill", ("--drill",), "text", "FAULTS",
              "Ask a simulator with faults, such as anthropic=503.", scope="command line"),
)
# fmt: on
LINE_OPTIONS: Final = tuple(option for option in ASK_OPTIONS if option.scope == "everywhere")
"""Those that a line of a batch may name."""


class Options(TypedDict, total=False):
    """What may be said of a question besides itself; the default is what the feature says."""

    feature: str
    model: str | Sequence[str]
    """A target, or several in the order in which they are tried, instead of the feature's chain."""
    attachments: Sequence[Attachment | str | PathLike[str]]
    """Files by their names, or what was read of them."""
    system: str | None
    schema: Mapping[str, Any] | None
    max_tokens: int | None
    temperature: float | None
    stop: str | Sequence[str]
    options: Mapping[str, Any]
    """``effort`` (none, low, medium, high, max), ``top_p``, ``top_k``, ``seed``, ``presence_penalty``,
    ``frequency_penalty``, ``logprobs``, ``verbosity``, ``service_tier``. What a target has no word for is
    left out, and named in the trail.
    """
    tools: Sequence[Any]
    """Tools that the model may call: Tools, or mappings as Chat Completions or Anthropic have them."""
    tool_choice: Any
    """``auto``, ``none``, ``required``, or the name of the tool that has to be called."""
    timeout: float | str | None
    """How long one attempt may take: seconds, or a text such as ``30s``; other durations likewise."""
    deadline: float | str | None
    ref: str | int | None
    max_cost: Decimal | float | str | None
    """What it may cost altogether, in US dollars; what may cost more is refused."""
    user: str | None
    """Whose budget it goes on: any text of at most 256 characters."""
    session: str | None
    """Which conversation it belongs to, likewise: targets and experiments are chosen once for all of it."""
    traceparent: str | None
    """The span of a trace that it belongs to, as the header of W3C has it."""
    template: str | None
    """The name of a prompt template of the configuration, instead of the feature's own."""
    params: Mapping[str, str]
    """What the template's ``$names`` stand for."""
    expect: str | Sequence[str]
    """What an answer must be besides what the feature says: ``json``, ``nonempty``, ``complete``,
    ``regex:…``.
    """
    no_cache: bool
    """Neither use a stored answer nor store this one."""
    refresh: bool
    """Ask a model although an answer is stored, and store the new one."""
    no_fallback: bool
    """Ask the first target only."""
    strict: bool
    """No degraded answers."""
    wait: float | str
    """How long to wait for the first trial when every circuit is open."""
    queue: bool
    """Keep the request for ``llmfail queue run`` when nothing can answer."""
    stream: bool
    """Ask for a stream, so that the limits for its first token and between two tokens hold."""
    hedge: float | str | None
    """A duration after which an answer is late, so that the next target is asked too; ``p95``: when it is
    later than 95 of 100 that the target gave in the last day.
    """


def collect_options(
    said: Mapping[str, Any], convert: Callable[[AskOption, Any], object], *, by_flag: bool
) -> dict[str, Any]:
    """The ``Options`` that ``said`` names, each converted. Raises ValueError, which names them as the command
    line writes them (``by_flag``) or by their names, when two contradict each other.
    """
    found: dict[str, Any] = {}
    flags: dict[str, str] = {}
    for option in ASK_OPTIONS:
        value = said.get(option.name)
        if option.scope == "command line" or value is None or value is False or value == ():
            continue
        found[option.keyword or option.name] = value if option.is_flag else convert(option, value)
        flags[option.name] = option.long_flag
    if contradiction := explain_contradiction(found, flags.__getitem__ if by_flag else str):
        raise ValueError(contradiction)
    return found


def explain_contradiction(said: Mapping[str, Any], spell: Callable[[str], str]) -> str:
    """Why these options cannot be meant together, their names spelled for whoever said them; else empty."""
    if said.get("no_cache") and said.get("refresh"):
        first, second = spell("no_cache"), spell("refresh")
        return f"{first} stores nothing and {second} stores a new answer; say one of them"
    return ""
