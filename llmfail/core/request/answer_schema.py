"""JSON Schema: whether one can be judged by, and what speaks against a value.

Nothing is ever fetched, so a schema is complete in itself. To judge a value takes time that grows with its
size; reasons are looked for with care, because a validator that collects them does so along every branch.
Assumes values that came out of strict JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

MAX_LEVELS = 100
"""Levels of a schema and of a value: providers take five to ten. The validator recurses on the C stack."""
MAX_EXPLAINED_LEVELS = 10
"""Levels of a value for which it is said where it is wrong: what that takes may double with each."""
MAX_PATTERN_BACKTRACKS = 100_000
"""Steps that a pattern of a schema may go back: about a millisecond."""
_VALUE_PLACEHOLDER = "\0"
"""What stands for the value in a message."""
_VAGUE_ERROR_KINDS = frozenset({"AnyOf", "OneOfNotValid", "OneOfMultipleValid", "FalseSchema"})
_MAX_PATH_CHARS = 80
_MAX_VALUE_CHARS = 40


def find_schema_problem(schema: Mapping[str, Any]) -> str | None:
    """What makes this no schema to judge by, such as ``is nested too deeply``; None when it is one."""
    from jsonschema_rs import ValidationError

    from llmfail.core.one_line import one_line

    if is_deeper_than(schema, MAX_LEVELS):
        return "is not a JSON Schema: it is nested too deeply"
    try:
        _compile_schema(_encode_schema(schema))
    except ValidationError as error:
        if type(error.kind).__name__ == "Referencing":
            said = error.message.partition(" and retrieving")[0]
            return one_line(f"is not complete in itself, and nothing is fetched: {said}")
        return one_line(f"is not a JSON Schema{_describe_error(error, schema)}")
    except (TypeError, ValueError, RecursionError) as error:
        return one_line(f"is not a JSON Schema: {error}")
    return None


def find_schema_violation(schema: Mapping[str, Any], value: object) -> str | None:
    """One line on why the value is not valid; None when it is. Raises ValueError for a schema with a flaw."""
    if is_deeper_than(value, MAX_LEVELS):
        return "nested too deeply to be judged"
    if _compile_schema(_encode_schema(schema)).is_valid(value):
        return None
    from llmfail.core.one_line import one_line

    reason = "" if is_deeper_than(value, MAX_EXPLAINED_LEVELS) else _find_reason(schema, value)
    return one_line(f"not valid for the schema{reason}")


def is_deeper_than(value: object, levels: int) -> bool:
    """Whether values stand within values for more than so many levels."""
    level = [value]
    for _ in range(levels):
        level = [inner for outer in level for inner in _iter_inner_values(outer)]
    return bool(level)


def _iter_inner_values(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _encode_schema(schema: Mapping[str, Any]) -> str:
    return msgspec.json.encode(dict(schema)).decode()


@lru_cache(maxsize=64)
def _compile_schema(text: str) -> Validator:
    """Raises ValueError (ValidationError among others). One for each schema that a process meets."""
    import jsonschema_rs

    patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_PATTERN_BACKTRACKS)
    return jsonschema_rs.validator_for(
        text, retriever=_refuse_to_fetch, mask=_VALUE_PLACEHOLDER, pattern_options=patterns
    )


def _refuse_to_fetch(_uri: str) -> NoReturn:
    raise LookupError("nothing is fetched")


def _find_reason(schema: Mapping[str, Any], value: object) -> str:
    """What is wrong and where; empty when that cannot be told."""
    from jsonschema_rs import ValidationError

    try:
        judge = _compile_schema(_encode_schema(_hide_alternatives(schema)))
    except ValueError:  # a reference into one of the alternatives
        return ""
    try:
        judge.validate(value)
    except ValidationError as error:
        return _describe_error(error, value)
    return ""


def _hide_alternatives(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The same schema, but what is wrong with each of several alternatives is not told: those reasons hold
    reasons in their turn, and there are soon millions of them.
    """
    if isinstance(schema, list | tuple):
        return [_hide_alternatives(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    blunt = {key: _hide_alternatives(part) for key, part in schema.items()}
    alternatives = {key: blunt.pop(key) for key in ("anyOf", "oneOf") if isinstance(blunt.get(key), list)}
    if alternatives:
        blunt["allOf"] = [*blunt.get("allOf", ()), {"if": alternatives, "else": False}]
    return blunt


def _describe_error(error: ValidationError, value: object) -> str:
    """`` at /items/0/name: 3 is not of type "string"``."""
    path = error.instance_path
    place = "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)
    if len(place) > _MAX_PATH_CHARS:
        place = "…" + place[1 - _MAX_PATH_CHARS :]
    what = _abbreviate(_find_value(value, path))
    told = type(error.kind).__name__ not in _VAGUE_ERROR_KINDS
    said = error.message.replace(_VALUE_PLACEHOLDER, what) if told else f"{what} is not what is allowed here"
    return f" at {place}: {said}" if place else f": {said}"


def _find_value(value: Any, path: Sequence[str | int]) -> object:  # noqa: ANN401 - any JSON
    for key in path:
        value = value[key]
    return value


def _abbreviate(value: object) -> str:
    """Enough of a value to know it again."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    text = msgspec.json.encode(value).decode()
    if len(text) <= _MAX_VALUE_CHARS:
        return text
    return text[:_MAX_VALUE_CHARS] + ('…"' if isinstance(value, str) else "…")
