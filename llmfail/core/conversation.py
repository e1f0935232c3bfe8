"""A conversation as frozen values: messages of parts, tools, and how to choose among them.

One form for every wire. What only one wire can say goes along as ``marks`` of a value, by the name of that
wire's dialect, and comes back there as it was; every other wire leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

Dialect = Literal["anthropic", "chat", "responses", "gemini"]
"""The shapes of JSON in which conversations are written: Anthropic Messages, OpenAI Chat Completions, OpenAI
Responses, and Gemini.
"""
Role = Literal["user", "assistant", "system"]
Marks = Mapping[str, Mapping[str, Any]]
"""By dialect, fields that only this dialect has, such as those that say what the provider may cache."""
MediaKind = Literal["image", "audio", "document", "text"]


class Signature(Struct, frozen=True):
    """An opaque text with which a vendor recognises what its model wrote. No other vendor may see it, so
    ``vendor`` says whose it is: a name of ``core.vendors``, or a host.
    """

    vendor: str
    text: str


class Text(Struct, frozen=True, tag="text", omit_defaults=True):
    text: str
    marks: Marks | None = None
    signature: Signature | None = None


class Attachment(Struct, frozen=True, tag="attachment", omit_defaults=True):
    """A file that goes with a message: its bytes, or the URL where the provider finds it."""

    name: str
    media_type: str
    data: bytes = b""
    url: str | None = None
    marks: Marks | None = None

    @property
    def kind(self) -> MediaKind:
        """What it is to a model; whatever is no image, no sound and no PDF is text."""
        if self.media_type.startswith("image/"):
            return "image"
        if self.media_type.startswith("audio/"):
            return "audio"
        return "document" if self.media_type == "application/pdf" else "text"

    @property
    def is_image(self) -> bool:
        return self.kind == "image"


class ToolCall(Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """The model asks for a tool. ``arguments`` is JSON text, as far as the model has written any."""

    id: str
    name: str
    arguments: str
    signature: Signature | None = None
    marks: Marks | None = None


class ToolResult(Struct, frozen=True, tag="tool_result", omit_defaults=True):
    """What a tool gave. ``name`` is that of the tool; empty where only the id of the call is known."""

    call_id: str
    content: str | tuple[Text | Attachment, ...]
    name: str = ""
    is_error: bool = False
    marks: Marks | None = None

    @property
    def parts(self) -> tuple[Text | Attachment, ...]:
        return (Text(self.content),) if isinstance(self.content, str) else self.content


class Thought(Struct, frozen=True, tag="thought", omit_defaults=True):
    """What the model thought. ``text`` is empty where the vendor only shows a signature."""

    text: str
    signature: Signature | None = None
    marks: Marks | None = None


class Opaque(Struct, frozen=True, tag="opaque", omit_defaults=True):
    """A part, or a tool, that only one dialect can say, as its JSON."""

    dialect: Dialect
    json: Mapping[str, Any]


Part = Text | Attachment | ToolCall | ToolResult | Thought | Opaque


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn: a text, or parts in their order."""

    role: Role
    content: str | tuple[Part, ...]
    marks: Marks | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Text(self.content),) if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """What it says, without files, tools and thoughts."""
        return self.content if isinstance(self.content, str) else join_text(self.content)

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in it but white space."""
        content = self.content
        if isinstance(content, str):
            return not content or content.isspace()
        return all(isinstance(part, Text) and not part.text.strip() for part in content)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, Attachment))


class Tool(Struct, frozen=True, tag="tool", omit_defaults=True):
    """A function that the model may call. ``parameters`` is the JSON Schema of its arguments."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    marks: Marks | None = None


class ToolChoice(Struct, frozen=True):
    """``named``: the tool called ``name`` has to be called, as any tool has to be with ``required``."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


class GenerationOptions(Struct, frozen=True):
    """How a model is to work, where a caller or the configuration says so; None is what the provider does by
    itself. ``effort``: how much it may think. ``logprobs``: so many alternatives for each token.
    """

    effort: Literal["none", "low", "medium", "high", "max"] | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: int | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: str | None = None


NO_OPTIONS = GenerationOptions()
OPTION_NAMES = GenerationOptions.__struct_fields__


def are_plain(messages: Sequence[Message]) -> bool:
    """Whether every wire has them: texts of the user and of the assistant."""
    for one in messages:
        if not isinstance(one.content, str) or one.marks is not None or one.role == "system":
            return False
    return True


def is_blank_of_text(message: Message) -> bool:
    """Whether it has something, and no text."""
    return not message.is_blank and not message.text.strip() and not message.attachments


def count_chars(message: Message) -> int:
    """About how long it is: the characters of its texts and the bytes of its files."""
    if isinstance(message.content, str):
        return len(message.content)
    return sum(map(_count_part, message.content))


def _count_part(part: Part) -> int:
    match part:
        case Text() | Thought():
            return len(part.text)
        case Attachment():
            return len(part.data)
        case ToolCall():
            return len(part.arguments)
        case ToolResult():
            return sum(map(_count_part, part.parts))
        case Opaque():
            return 0


def message_of(role: Role, text: str, attachments: tuple[Attachment, ...] = ()) -> Message:
    """A text and the files that go with it: those that are no text first, the text last."""
    if not attachments:
        return Message(role, text)
    files = sorted(attachments, key=lambda one: one.kind == "text")
    return Message(role, (*files, *((Text(text),) if text else ())))


def with_text(message: Message, text: str) -> Message:
    """The message with another text, and all else that is in it before it."""
    if isinstance(message.content, str):
        return Message(message.role, text, message.marks)
    others = tuple(part for part in message.content if not isinstance(part, Text))
    return Message(message.role, (*others, Text(text)), message.marks)


def join_text(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def calls_text(parts: tuple[Part, ...]) -> str:
    """What a model wrote that is no text for the reader, as far as it can be counted."""
    written = [part.text if isinstance(part, Thought) else "" for part in parts]
    written += [f"{part.name} {part.arguments}" for part in parts if isinstance(part, ToolCall)]
    return "\n".join(filter(None, written))


def sign_part(part: Part, vendor: str) -> Part:
    """The part of an answer, with the vendor that alone may see its signature, where nobody is named yet."""
    if isinstance(part, Text | Thought | ToolCall) and part.signature and not part.signature.vendor:
        return replace(part, signature=replace(part.signature, vendor=vendor))
    return part


def merge_json(farther: Mapping[str, Any], nearer: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings within mappings are merged as well; of anything else the nearer holds."""
    merged = dict(farther)
    for name, value in nearer.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[name] = merge_json(before, value)
        else:
            merged[name] = value
    return merged


def merge_options(farther: GenerationOptions, nearer: GenerationOptions) -> GenerationOptions:
    """Key by key, the nearer wins."""
    if farther is NO_OPTIONS or farther == NO_OPTIONS:
        return nearer
    chosen = ((name, getattr(nearer, name), getattr(farther, name)) for name in OPTION_NAMES)
    return GenerationOptions(**{name: near if near is not None else far for name, near, far in chosen})
