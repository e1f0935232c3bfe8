"""Whether the request of a program may go on as the program wrote it, before any target is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from llmfail.core.answer_piece import OriginalRequest
from llmfail.core.conversation import NO_OPTIONS, OPTION_NAMES, Message
from llmfail.core.request.ask import Ask
from llmfail.core.request.expectation import can_be_shown, without_schema
from llmfail.engine.planning.job import Job
from llmfail.providers.relay import Relay


def add_relay(job: Job, ask: Ask, original: OriginalRequest | None) -> Job:
    """The job with the original, unless the feature says something in the request, or expects of an answer
    what only another form of it may be.
    """
    request = job.request
    if original is None or request.system != ask.system or request.schema != ask.schema:
        return job
    is_as_asked = request.messages is ask.messages or _texts(request.messages) == _texts(ask.messages)
    if not is_as_asked or not can_be_shown(without_schema(job.expected)):
        return job
    configured = request.options
    if ask.options != NO_OPTIONS:
        own = {name: None for name in OPTION_NAMES if getattr(ask.options, name) is not None}
        configured = replace(configured, **own)
    return replace(job, relay=Relay(original, request, configured))


def _texts(messages: Sequence[Message]) -> list[str]:
    return [one.text for one in messages]
