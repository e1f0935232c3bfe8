"""The frozen values that all packages share.

Nothing is decided here. Money is an integer of pico-dollars (1e-12 USD), because prices per million tokens
with up to six decimals are whole numbers of pico-dollars per token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Literal, Self

from msgspec import Struct

from llmfail.core.conversation import (
    NO_OPTIONS,
    GenerationOptions,
    Marks,
    Message,
    Opaque,
    Part,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    are_plain,
    join_text,
)

Api = Literal["anthropic", "openai", "gemini", "vertex"]
Door = Literal["chat", "responses"]
"""Which of OpenAI's two endpoints for answers: Chat Completions or Responses."""
FinishReason = Literal["stop", "length", "content_filter", "refusal", "tool_calls", "other"]

MAX_TARGET_NAME_CHARS = 256


CREDENTIAL_NAME = re.compile(r"key|token|secret|authorization|cookie", re.IGNORECASE)
"""Headers that tell who asks."""


class Secret:
    """A key. Only ``reveal`` shows it; never repr, str, formatting or JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class LazySecret(Secret):
    """A key that is fetched when it is first needed, and once. ``load`` may raise UsageError."""

    __slots__ = ("_load",)

    def __init__(self, load: Callable[[], str]) -> None:
        self._load = load

    def reveal(self) -> str:
        if not hasattr(self, "_value"):
            self._value = self._load()
        return self._value

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Secret) and other.reveal() == self.reveal())

    def __hash__(self) -> int:
        return hash(self.reveal())


class Target(Struct, frozen=True, order=True):
    """A model at a provider, written ``provider/model``; the model may contain slashes."""

    provider: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """``openai/gpt-6.1-terra`` -> Target. Raises ValueError for anything else: names become parts of
        URLs, keys and terminal output, so they are visible ASCII.
        """
        if len(text) > MAX_TARGET_NAME_CHARS or not re.fullmatch(
            r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[!-.0-~][!-~]*", text
        ):
            shown = text if len(text) <= MAX_TARGET_NAME_CHARS else f"{text[:40]}…"
            raise ValueError(
                "a target is written provider/model, "
                f"in at most {MAX_TARGET_NAME_CHARS} visible ASCII characters, got {shown!r}"
            )
        provider, _, model = text.partition("/")
        return cls(provider, model)

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


_COUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class Request(Struct, frozen=True):
    """The request to a model, the same for every target. Unset sampling parameters are not sent. ``json``:
    any JSON is wanted; ``schema``: JSON of this schema, ``schema_name`` and ``schema_strict`` where the
    caller says so. ``marks`` are fields of the whole request that only one dialect has.
    """

    messages: tuple[Message, ...]
    system: str | tuple[Text, ...] | None = None
    max_tokens: int = 2000
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    schema_strict: bool | None = None
    json: bool = False
    tools: tuple[Tool | Opaque, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    options: GenerationOptions = NO_OPTIONS
    marks: Marks | None = None

    @property
    def output_bound(self) -> int:
        """The most tokens that come back: Chat Completions and Gemini take several answers to one request."""
        return self.max_tokens * (_count_answers(self.marks) if self.marks else 1)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing in it but texts, a schema and numbers that every wire has."""
        if self.tools or self.marks or self.json or isinstance(self.system, tuple):
            return False
        return self.options == NO_OPTIONS and are_plain(self.messages)

    @property
    def system_parts(self) -> tuple[Text, ...]:
        if isinstance(self.system, str):
            return (Text(self.system),) if self.system else ()
        return self.system or ()

    @property
    def system_text(self) -> str:
        return self.system if isinstance(self.system, str) else join_text(self.system_parts)


def _count_answers(marks: Marks) -> int:
    """How many answers a program asks for at once. A server that is lax reads a number in quotes too."""
    config = marks.get("gemini", {}).get("generationConfig")
    own = config if isinstance(config, Mapping) else {}
    said = map(str, (marks.get("chat", {}).get("n"), own.get("candidateCount")))
    return max(1, *(ceil(float(one)) if _COUNT.fullmatch(one) else 1 for one in said))


class Address(Struct, frozen=True):
    """Where the calls to a target go. What is stored about a target belongs to it, whatever its name."""

    api: str
    base_url: str
    model: str = ""
    project: str | None = None
    location: str | None = None

    @property
    def of_provider(self) -> Address:
        """The same without the model: what all models of a provider have in common."""
        return Address(self.api, self.base_url, "", self.project, self.location)


class Endpoint(Struct, frozen=True):
    """The address, API and key of one target. ``key`` is None for a server that needs none."""

    api: Api
    base_url: str
    model: str
    key: Secret | None
    api_version: str | None = None
    project: str | None = None
    location: str | None = None
    door: Door = "chat"
    vendor: str = ""
    """Who reads the signatures that come from there: the name of a vendor, else the host."""
    options: GenerationOptions = NO_OPTIONS
    """What the configuration says of this target, where the request says nothing else."""
    body: Mapping[str, Any] | None = None
    """Merged into the JSON of a request as it is."""
    headers: Mapping[str, Secret] | None = None
    query: Mapping[str, str] | None = None
    dropped_parameters: frozenset[str] = frozenset()
    """Parameters that this target has refused: left out, or sent under their other name."""

    @property
    def secret(self) -> Secret | None:
        """What is never to be seen: the key, or the header that stands for it."""
        if self.key is not None or not self.headers:
            return self.key
        names = (name for name in self.headers if CREDENTIAL_NAME.search(name))
        return next((self.headers[name] for name in names), None)

    @property
    def address(self) -> Address:
        return Address(self.api, self.base_url, self.model, self.project, self.location)


class Call(Struct, frozen=True):
    """One HTTP request. Its headers carry the key, so they stay out of the repr."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Call({self.method} {self.url})"


class Reply(Struct, frozen=True):
    """One whole HTTP reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Usage(Struct, frozen=True):
    """Tokens of one call. ``input_tokens`` is the whole input, cached reads and cache writes included;
    ``output_tokens`` is all that is billed as output, ``reasoning_tokens`` included.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """The part of ``cache_write_tokens`` that is stored for an hour, at a price of its own."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    variant: str | None = None
    """The price list that the provider reports it used: ``flex``, ``priority``, ``batch``, ``fast``."""
    surcharge: int = 0
    """Per cent added to the list price, such as 10 for a call that was bound to one region."""
    reported_cost: int | None = None
    """The cost that the provider reports, in pico-dollars; it counts before any price list."""


class Completion(Struct, frozen=True):
    """A decoded answer. ``detail`` explains a refusal or a block; ``billed`` is False for a refusal
    that the provider does not charge for. ``parts`` are all of it in order, where it is more than ``text``:
    thoughts, calls of tools. ``thoughts`` are those that stood in the text itself. ``usage_warning`` says why
    what was reported as used is not believed.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None = None
    model: str | None = None
    detail: str = ""
    billed: bool = True
    thoughts: str = ""
    parts: tuple[Part, ...] = ()
    logprobs: Any = None
    """The probabilities of its tokens, as the provider writes them."""
    usage_warning: str = ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def all_thoughts(self) -> str:
        """What the model thought, wherever it stood."""
        shown = [part.text for part in self.parts if isinstance(part, Thought) and part.text]
        return "\n".join([*shown, *([self.thoughts] if self.thoughts else [])])


class Embedding(Struct, frozen=True):
    """One vector per input text, in the order of the inputs. ``usage_warning`` as for a Completion."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None
    model: str | None = None
    usage_warning: str = ""

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        return len(self.vectors[0]) if self.vectors else 0
