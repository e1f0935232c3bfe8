"""What a target has refused of a request, as it is remembered: a parameter for every request, a schema for
itself alone.

A name without a slash is a parameter; ``schema/`` and a digest is one schema. What an encoder is told to
leave out are names of parameters only, ``schema`` among them for a schema that is not to be sent.
"""

from __future__ import annotations

import json
from hashlib import sha256

from llmfail.core.model import Request
from llmfail.core.routing.ask_state import AttemptState

SCHEMA = "schema"
"""This schema is not taken."""
FORMAT = "response_format"
"""No schema is taken at all, nor any other wish for a format."""
_DIGEST_CHARS = 16
_SILENT = frozenset({"max_tokens", "stream_options", SCHEMA, FORMAT})
"""Sent under another name, or of no effect on the answer, or told in words of their own."""


def names_to_remember(dropped: frozenset[str], request: Request) -> frozenset[str]:
    """For a target that took the request without these."""
    others = dropped - {SCHEMA}
    if SCHEMA not in dropped or FORMAT in dropped or request.schema is None:
        return others
    return others | {_name_of_schema(request)}


def names_to_leave_out(remembered: frozenset[str], request: Request) -> frozenset[str]:
    """Of this request, for a target of which these are remembered."""
    names = frozenset(name for name in remembered if "/" not in name)
    if request.schema is None:
        return names
    is_refused = FORMAT in names or (len(names) < len(remembered) and _name_of_schema(request) in remembered)
    return names | {SCHEMA} if is_refused else names


def describe_left_out(names: frozenset[str], request: Request) -> str:
    """What a call went without, for people; empty where that is nothing."""
    present = {"temperature": request.temperature is not None, "stop": bool(request.stop)}
    left_out = sorted(name for name in names - _SILENT if present.get(name, False))
    said = [f"sent without {', '.join(left_out)}"] if left_out else []
    if request.schema is not None and names & {SCHEMA, FORMAT}:
        said.append("its schema went into the system prompt")
    return "; ".join(said)


def _name_of_schema(request: Request) -> str:
    text = json.dumps(request.schema, sort_keys=True, ensure_ascii=True, default=str)
    return f"{SCHEMA}/{sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]}"


def names_left_out(attempt: AttemptState, request: Request) -> frozenset[str]:
    """What a call to its target goes without: what that has refused before, and in this ask."""
    admission = attempt.admission
    remembered = frozenset() if admission is None else admission.dropped_parameters
    if not remembered and not attempt.dropped:
        return frozenset()
    return names_to_leave_out(remembered | attempt.dropped, request)
