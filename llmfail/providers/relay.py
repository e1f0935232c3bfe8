"""A program's own request, for endpoints that speak the dialect it was written in: every value of it goes on
as the bytes that it was, but for the model and the little that has to be ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from llmfail.core.answer_piece import OriginalRequest
from llmfail.core.conversation import (
    NO_OPTIONS,
    Dialect,
    GenerationOptions,
    Message,
    Signature,
    Text,
    Thought,
    ToolCall,
    merge_json,
    merge_options,
)
from llmfail.core.model import CREDENTIAL_NAME, Call, Endpoint, Request
from llmfail.core.request.wire_capabilities import can_read, dialect_of
from llmfail.core.vendors import Quirk, quirks_at
from llmfail.providers import load_wire_format
from llmfail.providers.decoding import as_mapping
from llmfail.providers.dialects import anthropic_request, gemini_request, responses_request
from llmfail.providers.dialects.relayed_body import clear_carried, decode_fields
from llmfail.providers.encoding import add_configured
from llmfail.providers.openai import host_of

_NOT_SHAPING: Final = frozenset({
    *("model", "stream", "stream_options", "metadata", "user", "client_metadata", "prompt_cache_key"),
    "safety_identifier",
})  # fmt: skip
"""Fields that change no answer."""
_PLAIN: Final = frozenset({
    *("messages", "system", "input", "instructions", "contents", "systemInstruction", "temperature", "stop"),
    *("stop_sequences", "max_tokens", "max_completion_tokens", "max_output_tokens"),
})  # fmt: skip
"""Fields of which the request that every wire carries has all, if it is a plain one."""
_LIMIT_NAMES: Mapping[Dialect, tuple[str, ...]] = {
    "anthropic": ("max_tokens",),
    "chat": ("max_tokens", "max_completion_tokens"),
    "responses": ("max_output_tokens",),
    "gemini": ("maxOutputTokens",),
}
_OWN_NAMES: Mapping[Dialect, Mapping[str, tuple[str, ...]]] = {
    "anthropic": {"stop": ("stop_sequences",), "effort": ("thinking", "output_config")},
    "chat": {"effort": ("reasoning_effort",), "logprobs": ("logprobs", "top_logprobs")},
    "responses": {"effort": ("reasoning",), "logprobs": ("top_logprobs",)},
    "gemini": {
        "stop": ("stopSequences",),
        "effort": ("thinkingConfig",),
        "top_p": ("topP",),
        "top_k": ("topK",),
        "presence_penalty": ("presencePenalty",),
        "frequency_penalty": ("frequencyPenalty",),
        "logprobs": ("responseLogprobs", "logprobs"),
    },
}
"""What a dialect calls a parameter that an endpoint may refuse, where it has a name of its own."""
_SIGNERS: Final[Mapping[Dialect, str | None]] = {
    "anthropic": anthropic_request.VENDOR,
    "responses": responses_request.VENDOR,
    "gemini": gemini_request.VENDOR,
    "chat": None,
}
"""Whose signatures stand in a dialect as they are; there are several in Chat Completions."""
_HOP_HEADERS: Final = frozenset({
    *("host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding"),
    *("content-encoding", "expect", "te", "upgrade", "keep-alive", "proxy-connection", "trailer"),
})  # fmt: skip
_OWN_QUERY: Final = frozenset({"alt", "key"})
_Fields = dict[str, Any]


class Relay(Struct, frozen=True, dict=True):
    """``request`` is what the original says to every wire; ``configured`` are the options of the
    configuration, where the program says nothing.
    """

    original: OriginalRequest
    request: Request
    configured: GenerationOptions = NO_OPTIONS

    def reaches(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint takes the original: it speaks its dialect, has not refused its schema, and
        may read every signature that goes on.
        """
        if endpoint.api == "vertex" or dialect_of(endpoint) != self.original.dialect:
            return False
        refused = endpoint.dropped_parameters
        if (self.request.schema is not None or self.request.json) and refused & {"schema", "response_format"}:
            return False
        if not (self._structured and self._signatures):
            return True
        own = _SIGNERS[self.original.dialect]
        return all(_may_see(one, endpoint, own) for one in self._signatures)

    def encode(self, endpoint: Endpoint, *, stream: bool) -> Call:
        written = self._written
        if self._structured:
            written = clear_carried(self.original.dialect, written, endpoint)
        fields: _Fields = {**written}
        if self.original.dialect == "gemini":
            self._adapt_config(fields, endpoint)
        else:
            fields["model"] = endpoint.model
            self._adapt(fields, endpoint)
            self._set_stream(fields, endpoint, stream=stream)
        for name, value in (endpoint.body or {}).items():
            fields[name] = _merge(fields.get(name), value)
        call = load_wire_format(endpoint.api, endpoint.door).begin_call(endpoint, stream=stream)
        headers = {**call.headers, **self._passed_headers()}
        url = _add_query(call.url, self.original.query)
        return add_configured(Call("POST", url, headers, msgspec.json.encode(fields)), endpoint)

    @cached_property
    def _written(self) -> Mapping[str, Raw]:
        return decode_fields(self.original.body)

    @cached_property
    def _structured(self) -> list[Message]:
        """What is more than a text: only there a program brings back what a model has signed."""
        return [one for one in self.request.messages if type(one.content) is not str or one.marks is not None]

    @cached_property
    def _signatures(self) -> tuple[Signature, ...]:
        """One of each vendor that has signed something in the conversation."""
        found: dict[str, Signature] = {}
        for message in self._structured:
            for part in message.parts:
                if isinstance(part, Thought | ToolCall | Text) and part.signature is not None:
                    found[part.signature.vendor] = part.signature
        return tuple(found.values())

    @cached_property
    def hides_usage(self) -> bool:
        """Whether the program did not ask for the usage of a stream, which is asked for in any case."""
        if self.original.dialect != "chat":
            return False
        options = msgspec.json.decode(self._written.get("stream_options", b"null"))
        return not as_mapping(options).get("include_usage")

    def digest(self) -> str:
        """What shapes the answer beyond the request that every wire carries; empty where nothing does."""
        shaping = {name: value for name, value in self._written.items() if name not in _NOT_SHAPING}
        headers = sorted(one for one in self._passed_headers().items() if one[0] != "anthropic-version")
        if self.request.is_plain and not headers and shaping.keys() <= _PLAIN:
            return ""
        whole = msgspec.json.encode((self.original.dialect, shaping, headers, self.original.query))
        return sha256(whole).hexdigest()

    def _adapt_config(self, fields: _Fields, endpoint: Endpoint) -> None:
        """Gemini has in an object what the others have beside the messages."""
        name = "generation_config" if "generation_config" in fields else "generationConfig"
        before = decode_fields(fields.get(name, b"{}"))
        config: _Fields = dict(before)
        self._adapt(config, endpoint)
        if config != before:
            fields[name] = config

    def _adapt(self, fields: _Fields, endpoint: Endpoint) -> None:
        """The longest answer as it is held in budgets, nothing that was refused, and what is configured."""
        dialect, refused = self.original.dialect, endpoint.dropped_parameters
        self._set_limit(fields, endpoint)
        for name in refused - {"max_tokens"}:
            for own in _OWN_NAMES[dialect].get(name, (name,)):
                fields.pop(own, None)
        if self.request.temperature is not None and "temperature" not in refused:
            fields.setdefault("temperature", self.request.temperature)
        options = merge_options(endpoint.options, self.configured)
        if options == NO_OPTIONS:
            return
        request = replace(self.request, options=_without(options, refused))
        wire = load_wire_format(endpoint.api, endpoint.door)
        for name, value in wire.build_options(request, endpoint).items():
            fields[name] = _merge(value, fields[name]) if name in fields else value

    def _set_limit(self, fields: _Fields, endpoint: Endpoint) -> None:
        names, most = _LIMIT_NAMES[self.original.dialect], self.request.max_tokens
        name = next((one for one in names if one in fields), None)
        is_refused = "max_tokens" in endpoint.dropped_parameters
        if self.original.dialect == "chat":
            is_new = (Quirk.NEW_LIMIT_KEY in quirks_at(host_of(endpoint))) != is_refused
            wanted = names[is_new] if name is None or is_refused else name
        elif is_refused:
            fields.pop(names[0], None)
            return
        else:
            wanted = names[0]
        if name != wanted or bytes(fields[name]) != str(most).encode():
            fields.pop(name or wanted, None)
            fields[wanted] = most

    def _set_stream(self, fields: _Fields, endpoint: Endpoint, *, stream: bool) -> None:
        is_asked = bytes(fields.get("stream", b"")) == b"true"
        if is_asked != stream:
            fields["stream"] = stream
        if self.original.dialect != "chat":
            return
        quirks = quirks_at(host_of(endpoint))
        if not stream or Quirk.NO_STREAM_OPTIONS in quirks or "stream_options" in endpoint.dropped_parameters:
            fields.pop("stream_options", None)
        elif self.hides_usage:
            fields["stream_options"] = _merge(fields.get("stream_options"), {"include_usage": True})

    def _passed_headers(self) -> dict[str, str]:
        named = ((name.lower(), value) for name, value in self.original.headers.items())
        return {
            name: value
            for name, value in named
            if name not in _HOP_HEADERS and not CREDENTIAL_NAME.search(name)
        }


def _may_see(signature: Signature, endpoint: Endpoint, own: str | None) -> bool:
    """Whether it does not go on to another vendor. Those of others than ``own``, the vendor whose signatures
    stand in a dialect as they are, are taken out.
    """
    return can_read(signature, endpoint) or (own is not None and signature.vendor != own)


def _without(options: GenerationOptions, refused: frozenset[str]) -> GenerationOptions:
    present = {name for name in refused if hasattr(options, name)}
    return replace(options, **dict.fromkeys(present)) if present else options


def _merge(farther: Any, nearer: Any) -> Any:  # noqa: ANN401 - JSON, or the bytes of it
    """As ``merge_json``, of values that may be the bytes of JSON; one of which nothing is changed stays."""
    if farther is None:
        return nearer
    plain = [msgspec.json.decode(one) if isinstance(one, Raw) else one for one in (farther, nearer)]
    if not all(isinstance(one, Mapping) for one in plain):
        return nearer
    merged = merge_json(cast("Mapping[str, Any]", plain[0]), cast("Mapping[str, Any]", plain[1]))
    return nearer if merged == plain[1] else merged


def _add_query(url: str, query: str) -> str:
    if not query:
        return url
    found = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in found if name not in _OWN_QUERY]
    return f"{url}{'&' if '?' in url else '?'}{urlencode(kept)}" if kept else url
