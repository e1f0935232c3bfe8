"""Which parameter of the request a bad_request names, so that the call can be made once more without it."""

from __future__ import annotations

import re

from llmfail.core.classification.error_body import ErrorBody

_OUR_NAMES = {
    "temperature": "temperature",
    "stop": "stop",
    "stop_sequences": "stop",
    "stopsequences": "stop",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxoutputtokens": "max_tokens",
    "response_format": "schema",
    "responsejsonschema": "schema",
    "response_json_schema": "schema",
    "responsemimetype": "schema",
    "response_mime_type": "schema",
    "output_config": "schema",
    "output_format": "schema",
    "stream_options": "stream_options",
    **{
        spelling: name
        for name, spellings in {
            "effort": "effort reasoning reasoning_effort thinking thinkingconfig thinking_config "
            "thinkinglevel thinking_level thinkingbudget thinking_budget",
            "top_p": "top_p topp",
            "top_k": "top_k topk",
            "seed": "seed",
            "presence_penalty": "presence_penalty presencepenalty",
            "frequency_penalty": "frequency_penalty frequencypenalty",
            "logprobs": "logprobs top_logprobs responselogprobs",
            "verbosity": "verbosity",
            "service_tier": "service_tier servicetier",
        }.items()
        for spelling in spellings.split()
    },
}
_NAME_ALTERNATIVES = "|".join(sorted(_OUR_NAMES, key=len, reverse=True))
_QUOTED_NAME = re.compile(
    rf"[`'\"](?:[\w.]{{0,64}}\.)?({_NAME_ALTERNATIVES})(?:\.[\w.]{{0,64}})?[`'\"]", re.IGNORECASE
)
_LEADING_NAME = re.compile(
    rf"(?:[\w.]{{0,64}}\.)?({_NAME_ALTERNATIVES})(?:\.[\w.]{{1,64}})?: ", re.IGNORECASE
)
_UNKNOWN_PARAMETER_TEXT = re.compile(
    r"unsupported|not supported|unrecognized|unknown|extra|not permitted|unexpected", re.IGNORECASE
)


_SCHEMA_TEXT = re.compile(
    r"response_format|output_config|output_format|json_?schema|structured[ _-]?outputs?|"
    r"invalid schema|schema (?:is too|produces|contains|must|has)",
    re.IGNORECASE,
)
_NO_FORMAT_TEXT = re.compile(
    r"unknown (?:name|parameter|field|argument)|unrecognized|unexpected keyword|extra (?:inputs|fields)|"
    r"unsupported parameter|"
    r"(?:response_format|structured[ _-]?outputs?|json[ _]?(?:schema|mode)|output_config)['\"`]?"
    r"(?: type| of type ['\"`]?json_schema['\"`]?)? (?:is|are) (?:not |un)(?:supported|available|permitted)|"
    r"does(?: not|n't) support (?:response_format|structured|json|this response)",
    re.IGNORECASE,
)
"""Of a target that takes no schema, whatever is in it."""


def find(error_body: ErrorBody) -> str | None:
    """``temperature``, ``stop``, ``max_tokens``, ``schema``, ``response_format``, ``stream_options``, options
    such as ``top_p``; or None. The structured field counts before the text, and the text only where it quotes
    the name or begins with it, or speaks of schemas. ``max_tokens`` counts only when the server does not know
    that name, not when it refuses the value; ``response_format`` is the wish for any schema, and ``schema``
    this one.
    """
    name = _find_in_path(error_body.parameter) or _find_in_text(error_body.message)
    if name is None and _SCHEMA_TEXT.search(error_body.message):
        name = "schema"
    if name == "schema" and _takes_no_format(error_body):
        return "response_format"
    if name == "max_tokens" and not _is_unknown_to_server(error_body):
        return None
    return name


def _find_in_path(path: str) -> str | None:
    """``temperature`` for ``generation_config.temperature``, ``schema`` for ``output_config.format``: the
    last step that is known counts, as in ``output_config.effort``.
    """
    return next((_OUR_NAMES[part] for part in reversed(path.lower().split(".")) if part in _OUR_NAMES), None)


def _find_in_text(message: str) -> str | None:
    found = _LEADING_NAME.match(message) or _QUOTED_NAME.search(message)
    return _OUR_NAMES[found[1].lower()] if found else None


def _takes_no_format(error_body: ErrorBody) -> bool:
    is_unknown = not {"unsupported_parameter", "unknown_parameter"}.isdisjoint(error_body.codes)
    return is_unknown or bool(_NO_FORMAT_TEXT.search(error_body.message))


def _is_unknown_to_server(error_body: ErrorBody) -> bool:
    return "unsupported_parameter" in error_body.codes or bool(
        _UNKNOWN_PARAMETER_TEXT.search(error_body.message)
    )
