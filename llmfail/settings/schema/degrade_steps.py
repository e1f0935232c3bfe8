"""What is left when no target answers, as a configuration writes it: the steps of ``degrade``."""

from msgspec import Struct

from llmfail.settings.schema.scalars import Count, Name, Seconds, Text


class Cached(Struct, frozen=True, kw_only=True):
    """Degrade: a stored answer to the same request."""


class Queue(Struct, frozen=True, kw_only=True):
    """Degrade: keep the request for later."""


class ShortenOptions(Struct, frozen=True, kw_only=True):
    """How a prompt is made smaller. ``keep_chars`` counts characters, None keeps all."""

    keep_chars: Count | None = None
    max_tokens: Count | None = None
    prefix: Text = ""


class ShortenStep(Struct, frozen=True, kw_only=True):
    """Degrade: a smaller prompt through the chain once more."""

    simplify: ShortenOptions


class TemplateStep(Struct, frozen=True, kw_only=True):
    """Degrade: a text with parameters, by the name of the template."""

    template: Name


class RulesStep(Struct, frozen=True, kw_only=True):
    """Degrade: what regular expressions find, by the name of the set; texts to answer with instead."""

    rules: Name
    on_match: Text | None = None
    on_none: Text | None = None


class CommandStep(Struct, frozen=True, kw_only=True):
    """Degrade: what a program makes of the prompt; an argv, never a shell."""

    command: tuple[Text, ...]
    timeout: Seconds = 10.0


class TextStep(Struct, frozen=True, kw_only=True):
    """Degrade: always the same text."""

    text: Text


DegradeStep = Cached | ShortenStep | TemplateStep | RulesStep | CommandStep | TextStep | Queue
