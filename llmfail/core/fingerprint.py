"""The identity of a question to one target: everything that shapes its answer, and nothing else.

The order of the keys of a schema is part of it, because a model answers in that order. Names of features,
keys, time limits and prices are not.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from llmfail.core.model import Attachment, Endpoint, Message, Request

VERSION = 1
"""Of what goes into a fingerprint: another one finds nothing of this one."""


def fingerprint(request: Request, endpoint: Endpoint) -> str:
    """64 hexadecimal digits. Raises UnicodeEncodeError for what is no text."""
    place = (
        endpoint.api,
        endpoint.base_url,
        endpoint.model,
        endpoint.api_version,
        endpoint.project,
        endpoint.location,
    )
    sampling = (request.max_tokens, request.temperature, request.stop)
    said = [_message(message) for message in request.messages]
    whole = (VERSION, place, request.system or None, sampling, request.schema, said)
    return sha256(msgspec.json.encode(whole)).hexdigest()


def _message(message: Message) -> tuple[Any, ...]:
    return message.role, message.text, [_attachment(one) for one in message.attachments]


def _attachment(attachment: Attachment) -> tuple[str, str, str]:
    return attachment.name, attachment.media_type, sha256(attachment.data).hexdigest()
