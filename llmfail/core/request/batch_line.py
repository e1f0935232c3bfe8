"""The lines of a batch: numbered lines -> what each asks, or what is wrong with it.

Knows the names and the JSON types of what a line may say. Whether a value will do is left to those who judge
the options of an ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from llmfail.core.request.ask_options import LINE_OPTIONS, AskOption, OptionKind, collect_options
from llmfail.core.request.line_splitter import MAX_LINE_BYTES, RawLine

MALFORMED_LINE_KIND = "malformed_line"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Ref = str | int
"""The id that a line gives itself, else its number."""


class BatchLine(Struct, frozen=True):
    """What a line asks: a prompt, a list of messages, or a whole request to OpenAI or Anthropic. ``options``
    are those that it names, by the names of the Python API; durations may still be texts such as ``30s``.
    """

    number: int
    ref: Ref
    prompt: str | list[Any] | dict[str, Any]
    options: Mapping[str, Any]
    has_id: bool = False


class MalformedLine(Struct, frozen=True):
    """A line that cannot be asked, and why, with its number. ``is_foreign``: it is neither a JSON text nor a
    JSON object, so that its file is perhaps no JSON Lines at all.
    """

    ref: Ref
    error: str
    is_foreign: bool = False


_FIELD_TYPES: Final[Mapping[OptionKind, tuple[Any, str]]] = {
    "text": (str, "a text"),
    "texts": (str | list[str], "a text or a list of texts"),
    "targets": (str | list[str], "a text or a list of texts"),
    "pairs": (dict[str, str | int | float], "an object of texts and numbers"),
    "schema_file": (dict[str, Any], "a JSON Schema, which is an object"),
    "count": (int, "a whole number"),
    "number": (float, "a number"),
    "duration": (float | str, "a number of seconds, or a text such as 30s"),
    "duration_or_zero": (float | str, "a number of seconds, or a text such as 30s"),
    "hedge_delay": (float | str, "a number of seconds, or a text such as 2s or p95"),
    "dollars": (int | float | str, "a number of US dollars"),
    "flag": (bool, "true or false"),
    "generation_options": (dict[str, Any], "an object of options"),
    "tools_file": (list[dict[str, Any]], "a list of tools"),
    "tool_choice": (str, "auto, none, required, or the name of a tool"),
}
"""The JSON types of an option in a line, where a schema stands itself and a number may be one."""
_MESSAGES_FIELD: Final = (list[dict[str, Any]], "a list of messages")
_ID_FIELD: Final = (Ref, "a text or a whole number")


class LineFormat:
    """What the lines of a command may say: a text under one of the ``text_keys``, an ``id``, and options. A
    line that is a JSON text says nothing else.
    """

    def __init__(self, example: str, text_keys: Sequence[str], options: Sequence[AskOption]) -> None:
        self.example = example
        self.text_keys = tuple(text_keys)
        self.fields: Mapping[str, tuple[Any, str]] = {
            **{key: _MESSAGES_FIELD if key == "messages" else _FIELD_TYPES["text"] for key in text_keys},
            "id": _ID_FIELD,
            **{option.name: _FIELD_TYPES[option.kind] for option in options},
        }
        # Null is not to name a field.
        struct = msgspec.defstruct(
            "_LineFields",
            [(name, kind | None, None) for name, (kind, _) in self.fields.items()],
            forbid_unknown_fields=True,
        )
        self.decoder = msgspec.json.Decoder(str | struct)


PROMPT_LINES: Final = LineFormat('{"prompt": "Say hello", "id": 7}', ("prompt", "messages"), LINE_OPTIONS)
TEXT_LINES: Final = LineFormat(
    '{"text": "…", "id": 7}',
    ("text", "prompt"),
    [option for option in LINE_OPTIONS if "embed" in option.commands],
)
"""Of texts that are to be embedded."""


def parse_line(raw: RawLine, form: LineFormat) -> BatchLine | MalformedLine | None:
    """None for a blank line."""
    number = raw.number
    if raw.text is None:
        return reject_line(number, number, f"longer than {MAX_LINE_BYTES >> 20} MiB, which no model takes")
    text = raw.text.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw.text
    if not text.strip():
        return None
    if "messages" in form.text_keys and b'"custom_id"' in text:
        from llmfail.core.request.vendor_line import read_vendor_line

        vendor_line = read_vendor_line(number, text)
        if vendor_line is not None:
            return vendor_line
    try:
        said = form.decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        from llmfail.core.request.line_error import explain_error

        return explain_error(number, text, form)
    if isinstance(said, str):
        return BatchLine(number, number, said, {})
    return _read_fields(number, msgspec.structs.asdict(said), form)


def reject_line(number: int, ref: Ref, error: str, *, is_foreign: bool = False) -> MalformedLine:
    return MalformedLine(ref, f"line {number}: {error}", is_foreign)


def _read_fields(number: int, fields: Mapping[str, Any], form: LineFormat) -> BatchLine | MalformedLine:
    said_id = fields["id"]
    ref = number if said_id is None else said_id
    texts = [fields[key] for key in form.text_keys if fields[key] is not None]
    if len(texts) > 1:
        return reject_line(number, ref, f"it has {' and '.join(form.text_keys)}; say one of them")
    try:
        options = collect_options(fields, _convert_field, by_flag=False)
    except ValueError as error:
        return reject_line(number, ref, str(error))
    return BatchLine(number, ref, texts[0] if texts else "", options, has_id=said_id is not None)


def _convert_field(option: AskOption, value: Any) -> object:  # noqa: ANN401 - of the field's JSON type
    if option.kind == "pairs":
        return {name: str(one) for name, one in value.items()}
    if option.kind in {"texts", "targets"}:
        return (value,) if isinstance(value, str) else tuple(value)
    return value
