"""The identity of a request to one target: everything that shapes its answer, and nothing else.

The order of a schema's keys is part of it, because a model answers in that order. Names of features, API
keys, time limits and prices are not.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import msgspec

from llmfail.core.model import Attachment, Endpoint, Message, Request

FINGERPRINT_VERSION = 1
"""Fingerprints of different versions never match."""


def digest_of(request: Request) -> str:
    """The part of the identity that is the same on every target."""
    sampling = (request.max_tokens, request.temperature, request.stop)
    messages = [_message_identity(message) for message in request.messages]
    return _hash((FINGERPRINT_VERSION, request.system or None, sampling, request.schema, messages))


def fingerprint(request_digest: str, endpoint: Endpoint) -> str:
    """64 hexadecimal digits for the request with this ``digest_of``, on one target."""
    address = (endpoint.api, endpoint.base_url, endpoint.model, endpoint.api_version)
    return _hash((request_digest, address, endpoint.project, endpoint.location))


def _hash(whole: tuple[Any, ...]) -> str:
    try:
        text = msgspec.json.encode(whole)
    except UnicodeEncodeError:  # half a surrogate pair
        text = json.dumps(whole).encode()
    return sha256(text).hexdigest()


def _message_identity(message: Message) -> tuple[Any, ...]:
    return message.role, message.text, [_attachment_identity(file) for file in message.attachments]


def _attachment_identity(attachment: Attachment) -> tuple[str, str, str]:
    return attachment.name, attachment.media_type, sha256(attachment.data).hexdigest()
