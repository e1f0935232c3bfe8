"""The identity of a request to one target: everything that shapes its answer, and nothing else.

The order of a schema's keys is part of it, because a model answers in that order. Names of features, API
keys, time limits and prices are not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from llmfail.core.cache.conversation_hash import (
    encode_identity,
    hash_conversation,
    identities_of,
    identity_of_message,
)
from llmfail.core.model import CREDENTIAL_NAME, Endpoint, Request, Target

if TYPE_CHECKING:
    from msgspec import Struct

FINGERPRINT_VERSION = 1
"""Fingerprints of different versions never match."""
ASKED_DIGITS = 32
_MORE_OF_REQUESTS = (
    "schema_name",
    "schema_strict",
    "json",
    "tools",
    "tool_choice",
    "parallel_tools",
    "options",
    "marks",
)
_MORE_OF_ENDPOINTS = ("door", "options", "body", "query")
_PLAIN_REQUEST, _PLAIN_ENDPOINT = Request(()), Endpoint("openai", "", "", None)


def digest_of(request: Request) -> str:
    """The part of the identity that is the same on every target."""
    sampling = (request.max_tokens, request.temperature, request.stop)
    system = request.system or None if isinstance(request.system, str) else identities_of(request.system)
    head = (FINGERPRINT_VERSION, system, sampling, request.schema)
    more = _values_beyond(_PLAIN_REQUEST, request, _MORE_OF_REQUESTS)
    try:
        hashed = hash_conversation(encode_identity(head)[:-1] + b",[", request.messages)
        hashed.update(b"]," + encode_identity(more) + b"]" if more else b"]]")
    except UnicodeEncodeError:
        whole = (*head, list(map(identity_of_message, request.messages)))
        return _hash((*whole, more) if more else whole)
    return hashed.hexdigest()


def digest_of_text(text: str, dimensions: int | None = None) -> str:
    """The same of a text of which a vector is wanted: never that of a request for an answer."""
    whole = (FINGERPRINT_VERSION, "vector", text)
    return _hash(whole if dimensions is None else (*whole, dimensions))


def fingerprint(request_digest: str, endpoint: Endpoint) -> str:
    """64 hexadecimal digits for the request with this ``digest_of``, or this ``digest_of_text``, on one
    target.
    """
    address = (endpoint.api, endpoint.base_url, endpoint.model, endpoint.api_version)
    whole = (request_digest, address, endpoint.project, endpoint.location)
    more = _values_beyond(_PLAIN_ENDPOINT, endpoint, _MORE_OF_ENDPOINTS)
    headers = [(name, value.reveal()) for name, value in (endpoint.headers or {}).items()]
    shaping = sorted(one for one in headers if not CREDENTIAL_NAME.search(one[0]))
    return _hash((*whole, more, shaping) if more or shaping else whole)


def describe_asked(digest: str, feature: str, targets: Sequence[Target], expected: object) -> str:
    """What a receipt says was asked: the request with this ``digest_of``, of which feature or named targets,
    and what its answer was expected to be. Two that differ in their version, the part before the hyphen,
    cannot be compared.
    """
    whole = (digest, feature, [str(target) for target in targets], expected)
    return f"{FINGERPRINT_VERSION}-{_hash(whole)[:ASKED_DIGITS]}"


def are_comparable(one: str, other: str) -> bool:
    """Whether two results of ``describe_asked`` tell by their difference that the requests differ."""
    return one.partition("-")[0] == other.partition("-")[0]


def _hash(whole: tuple[Any, ...]) -> str:
    try:
        text = encode_identity(whole)
    except UnicodeEncodeError:  # half a surrogate pair, whose JSON is written in another way as a whole
        text = json.dumps(msgspec.to_builtins(whole, enc_hook=dict)).encode()
    return sha256(text).hexdigest()


def _values_beyond(plain: Struct, value: Struct, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The fields in which it differs from a plain one."""
    read = _reader_of(names)
    own, others = read(value), read(plain)
    if own == others:
        return []
    named = zip(names, own, others, strict=True)
    return [(name, one) for name, one, other in named if one != other]


@cache
def _reader_of(names: tuple[str, ...]) -> Callable[[Struct], tuple[Any, ...]]:
    """All of these fields at once."""
    return attrgetter(*names)
