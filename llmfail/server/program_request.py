"""What a program asks, of its body, its headers and its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.core.routing.model_name import NamedModel, UnknownModel, resolve_model
from llmfail.providers.replies.error_reply import ErrorReply
from llmfail.server.answer_headers import read_options, read_sdk_timeout, read_session
from llmfail.server.program_keys import limits_of
from llmfail.server.served_request import GatewayRefusal, ServedRequest

USER_FIELDS: Final = ("safety_identifier", "user")
MAX_TAGS_CHARS: Final = 200
MAX_MODEL_CHARS: Final = 200


def find_model(served: ServedRequest, written: str) -> NamedModel:
    """What the program's ``model`` means, or its header that names a feature. Raises GatewayRefusal."""
    name = served.request.headers.get("x-llmfail-feature") or written
    served.line.model = name[:MAX_MODEL_CHARS]
    try:
        named = resolve_model(served.configuration.names, name, served.allowed)
    except UnknownModel as error:
        raise GatewayRefusal(ErrorReply("unknown_model", str(error))) from None
    served.line.feature = named.feature
    return named


def choose_options(served: ServedRequest, model: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The options of its ask. Raises GatewayRefusal and UsageError."""
    named = find_model(served, model)
    headers, line = served.request.headers, served.line
    line.tags = headers.get("x-llmfail-tags", "")[:MAX_TAGS_CHARS] or None
    options: dict[str, Any] = {"feature": named.feature, **read_options(headers)}
    if named.target is not None:
        options["model"] = [named.target]
    if user := _find_user(served, fields):
        options["user"] = line.user = user
    return options


def add_caller(served: ServedRequest, ask: Ask, fields: Mapping[str, Any]) -> Ask:
    """With its id, the key, the conversation, and the time that its program has."""
    return replace(
        ask,
        id=served.id,
        key=None if served.key is None else served.key.name,
        session=read_session(served.request.headers, read_mark(served, fields, "prompt_cache_key")),
        traceparent=served.request.headers.get("traceparent"),
        deadline=_find_deadline(served, ask),
    )


async def charge_key(served: ServedRequest, receipt: Receipt) -> None:
    """What it used counts in the limits of its key."""
    if served.key is None or receipt.usage is None:
        return
    configuration = served.configuration
    limits = limits_of(served.key, configuration.settings.namespace)
    tokens = receipt.usage.input_tokens + receipt.usage.output_tokens
    await configuration.client.charge_program(limits, tokens)


def read_mark(served: ServedRequest, fields: Mapping[str, Any], name: str) -> object:
    """A field of the body that only its dialect has."""
    marks = fields.get("marks")
    return marks.get(served.route.dialect, {}).get(name) if marks else None


def _find_user(served: ServedRequest, fields: Mapping[str, Any]) -> str | None:
    """Whose budget it goes on: the key's, unless its program may name users."""
    serve, key = served.configuration.serve, served.key
    own = None if key is None else key.name
    if serve.user_from == "key" or (key is not None and not key.may_name_users):
        return own
    if serve.user_from == "header":
        return served.request.headers.get("x-llmfail-user") or own
    named = next((one for name in USER_FIELDS if (one := read_mark(served, fields, name))), None)
    return named if isinstance(named, str) else own


def _find_deadline(served: ServedRequest, ask: Ask) -> float | None:
    """An SDK that gives up sooner than the feature would has nobody read a later answer."""
    seconds = read_sdk_timeout(served.request.headers)
    if seconds is None or ask.deadline is not None:
        return ask.deadline
    settings = served.configuration.settings
    own = settings.resolve_defaults(settings.find_feature(ask.feature)).deadline
    return min(seconds, own)
