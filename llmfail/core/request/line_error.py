"""What is wrong with a line of a batch that cannot be read, in words for the person who wrote it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from llmfail.core.request.batch_line import LineFormat, MalformedLine, Ref, reject_line


def explain_error(number: int, text: bytes, form: LineFormat) -> MalformedLine:
    """``text`` is a line that its decoder refused."""
    try:
        written = json.loads(text.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return reject_line(number, number, f"not UTF-8 text (byte {error.start})", is_foreign=True)
    except json.JSONDecodeError as error:
        why = f"not JSON (character {error.pos + 1}); {_describe_form(form)}"
        return reject_line(number, number, why, is_foreign=True)
    except (ValueError, RecursionError) as error:
        deep = "nested too deep to be read"
        return reject_line(number, number, f"not JSON: {error}" if isinstance(error, ValueError) else deep)
    if not isinstance(written, str | dict):
        why = f"it is neither a text nor an object; {_describe_form(form)}"
        return reject_line(number, number, why, is_foreign=True)
    return reject_line(number, _read_ref(written, number), _find_error(written, form))


def _describe_form(form: LineFormat) -> str:
    return f"a line is a JSON text, or an object such as {form.example}"


def _find_error(written: str | dict[str, Any], form: LineFormat) -> str:
    if _has_half_a_pair(written):
        return "its text has half of a surrogate pair, which is no text"
    for name, value in written.items() if isinstance(written, dict) else ():
        if name not in form.fields:
            return f"unknown key {name!r}{_suggest(name, form)}; a line knows {', '.join(form.fields)}"
        kind, words = form.fields[name]
        if value is not None and not _is_of(value, kind):
            return f"{name} is not {words}"
    return _describe_form(form)


def _is_of(value: object, kind: Any) -> bool:  # noqa: ANN401 - a type of msgspec
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _suggest(name: str, form: LineFormat) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, form.fields, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _read_ref(written: str | dict[str, Any], number: int) -> Ref:
    """The id, as far as it can be read."""
    said = written.get("id") if isinstance(written, dict) else None
    is_ref = isinstance(said, str | int) and not isinstance(said, bool) and not _has_half_a_pair(said)
    return said if is_ref else number  # type: ignore[return-value]


def _has_half_a_pair(written: object) -> bool:
    try:
        json.dumps(written, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
