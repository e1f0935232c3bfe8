"""What a caller asks for, before any target is chosen. None means: as the feature has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from llmfail.core.conversation import (
    NO_OPTIONS,
    Attachment,
    GenerationOptions,
    Marks,
    Message,
    Opaque,
    Text,
    Tool,
    ToolChoice,
    message_of,
)
from llmfail.core.model import Target
from llmfail.core.request.ask_options import DEFAULT_FEATURE
from llmfail.core.request.expectation import Expectation


class Ask(Struct, frozen=True):
    """One question. ``targets`` replaces the feature's chain; durations are in seconds. ``max_cost`` is what
    it may cost altogether, in pico-dollars; ``user`` is whose budget it goes on, ``key`` the name of the key
    with which a program asks ``serve``; ``session`` is the conversation it belongs to, which routing may go
    by. ``traceparent`` names the span that it is a part of. ``id`` is that of its receipt (None: a new one).
    ``cache``: with ``refresh`` stored answers are not read, but written. ``strict`` refuses degraded
    answers; ``wait`` is how long to wait while no target can be asked (None: not at all, or as the batch has
    it); ``queue`` keeps the request for later when nothing answers. ``stream`` asks for the answer token by
    token, also where it is shown when it is whole. ``hedge``: seconds after which an answer is late, so that
    a second target is asked too; ``p95``: by what the first one has shown so far.
    """

    messages: tuple[Message, ...]
    feature: str = DEFAULT_FEATURE
    targets: tuple[Target, ...] = ()
    system: str | tuple[Text, ...] | None = None
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    timeout: float | None = None
    deadline: float | None = None
    fallback: bool = True
    ref: str | int | None = None
    max_cost: int | None = None
    user: str | None = None
    session: str | None = None
    key: str | None = None
    id: str | None = None
    traceparent: str | None = None
    template: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    expect: Expectation = Expectation()
    cache: Literal["use", "refresh", "off"] = "use"
    strict: bool = False
    wait: float | None = None
    queue: bool = False
    stream: bool = False
    hedge: float | Literal["p95"] | None = None

    tools: tuple[Tool | Opaque, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    options: GenerationOptions = NO_OPTIONS
    schema_name: str = "answer"
    schema_strict: bool | None = None
    json: bool = False
    marks: Marks | None = None
    dimensions: int | None = None
    """How many numbers a vector shall have, where vectors are wanted; None: as the model gives them."""
    has_token_ids: bool = False
    """The text of each message is a JSON list of the ids of tokens, of which vectors are wanted."""

    @property
    def prompt(self) -> str:
        """What the caller typed, before any template."""
        return "\n\n".join(message.text for message in self.messages)


class RequestDocument(NamedTuple):
    """A request that was written for one vendor's API: its messages, and the fields of an Ask that it sets
    besides.
    """

    messages: tuple[Message, ...]
    fields: Mapping[str, Any]


def to_messages(prompt: str, *attachments: Attachment) -> tuple[Message, ...]:
    """One prompt as the messages of an Ask."""
    return (message_of("user", prompt, attachments),)
