"""A configuration as it is in force: every default filled in, every secret masked, where each value is from.

Texts that use the environment are shown as they were written: what a variable holds is nobody's business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import asdict, replace

from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.model import Secret, Target
from llmfail.settings.reading.env_vars import find_variables
from llmfail.settings.reading.load import ExaminedConfig
from llmfail.settings.reading.plain_values import Place, parse_scalar
from llmfail.settings.schema.provider_types import BreakerPatch
from llmfail.settings.schema.scalars import FALSE_WORDS, TRUE_WORDS, Scalar
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import (
    ListShape,
    MappingShape,
    OptionalShape,
    Shape,
    StructShape,
    VariantShape,
    shape_of,
)
from llmfail.settings.schema.types import Defaults

MASK = "****"
_PASSWORD = re.compile(r"(?<=://).*(?=@)|(?<=\?).*")
_UNQUOTED = re.compile(r"[A-Za-z/][\w./-]*(?:://[\w./:-]*\w)?")

OriginalTexts = Mapping[Place, str]


def collect_effective_values(examination: ExaminedConfig) -> dict[str, object]:
    """Plain values, in the order of the keys; durations in seconds, money in USD."""
    settings = examination.result.settings
    assert settings is not None, "only a valid configuration is shown"
    shape = shape_of(Settings)
    assert isinstance(shape, StructShape)
    return _struct_to_plain(shape, _fill_defaults(settings), (), examination.result.original_texts)


def format_yaml(examination: ExaminedConfig) -> str:
    """The effective values, one a line, each with a comment that says where it is from."""
    return "\n".join(
        _format_lines(collect_effective_values(examination), (), "", _describe_origins(examination))
    )


def _fill_defaults(settings: Settings) -> Settings:
    """With the numbers that hold where a feature or the breaker sets none."""
    breaker = {**asdict(BreakerRules()), **_select_set_values(settings.breaker)}
    features = {
        name: replace(feature, **_select_set_values(settings.resolve_defaults(feature)))
        for name, feature in settings.features.items()
    }
    return replace(settings, breaker=BreakerPatch(**breaker), features=features)


def _select_set_values(values: BreakerPatch | Defaults) -> dict[str, Any]:
    found = asdict(values)
    return {name: value for name, value in found.items() if value is not None}


def _to_plain(shape: Shape, value: object, at: Place, original_texts: OriginalTexts) -> object:
    match shape:
        case Scalar():
            found = _scalar_to_plain(shape, value, at, original_texts)
        case OptionalShape():
            found = None if value is None else _to_plain(shape.shape, value, at, original_texts)
        case StructShape():
            found = _struct_to_plain(shape, value, at, original_texts)
        case MappingShape() if isinstance(value, Mapping):
            found = {
                str(key): _to_plain(shape.item, item, (*at, str(key)), original_texts)
                for key, item in value.items()
            }
        case ListShape() if isinstance(value, tuple):
            found = [
                _to_plain(shape.item, item, (*at, index), original_texts) for index, item in enumerate(value)
            ]
        case VariantShape():
            found = _variant_to_plain(shape, value, at, original_texts)
        case _:
            found = value
    return found


def _struct_to_plain(
    record: StructShape, value: object, at: Place, original_texts: OriginalTexts
) -> dict[str, object]:
    """Every key; where all may be left out, only those that are set."""
    found = {
        name: _to_plain(shape, getattr(value, name), (*at, name), original_texts)
        for name, shape in record.keys.items()
    }
    is_patch = all(isinstance(shape, OptionalShape) for shape in record.keys.values())
    return {name: item for name, item in found.items() if item is not None} if is_patch else found


def _variant_to_plain(
    variants: VariantShape, value: object, at: Place, original_texts: OriginalTexts
) -> object:
    tag, record = next(
        (tag, record) for tag, record in variants.by_tag.items() if type(value) is record.struct
    )
    return _struct_to_plain(record, value, at, original_texts) if record.keys else tag


def _scalar_to_plain(kind: Scalar, value: object, at: Place, original_texts: OriginalTexts) -> object:
    match value:
        case Secret():
            return MASK
        case str() if kind.secret:
            return _PASSWORD.sub(MASK, value)
        case str() if kind.free:
            return original_texts.get(at, value)
        case Target():
            return str(value)
        case float() | Decimal():
            return int(value) if value == int(value) else float(value)
        case _:
            return value


def _describe_origins(examination: ExaminedConfig) -> Mapping[Place, str]:
    """Where a value is from, unless it is a default."""
    overriding = examination.result.overriding_variables
    lines = {
        place: f"line {line}"
        for place, line in examination.lines.items()
        # What a variable has replaced is not in the file any more.
        if not any(place[:length] in overriding for length in range(len(place)))
    }
    written = {
        place: f"{lines[place]}, {', '.join(f'${{{name}}}' for name in find_variables(text))}"
        for place, text in examination.result.original_texts.items()
        if place in lines and text.isprintable()
    }
    return {**lines, **written, **overriding}


def _format_lines(value: object, at: Place, indent: str, origins: Mapping[Place, str]) -> Iterator[str]:
    """A mapping or list in block style. What is inside a list goes in flow style, on the line of its item."""
    assert isinstance(value, dict)
    for key, item in value.items():
        place = (*at, key)
        if isinstance(item, dict) and item:
            yield f"{indent}{_format_text(key)}:"
            yield from _format_lines(item, place, indent + "  ", origins)
        elif isinstance(item, list) and item:
            yield f"{indent}{_format_text(key)}:"
            for index, each in enumerate(item):
                yield f"{indent}  - {_format_flow(each)}{_format_comment((*place, index), origins)}"
        else:
            yield f"{indent}{_format_text(key)}: {_format_flow(item)}{_format_comment(place, origins)}"


def _format_flow(value: object) -> str:
    """On one line. What JSON is, YAML is too."""
    return _format_text(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _format_text(value: str) -> str:
    """Plain where every reader of YAML takes it for text, else quoted."""
    means_text = isinstance(parse_scalar(value), str) and value.lower() not in TRUE_WORDS | FALSE_WORDS
    return value if means_text and _UNQUOTED.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def _format_comment(place: Place, origins: Mapping[Place, str]) -> str:
    """Where the value is from, or the section that it came with."""
    above = (place[:length] for length in range(len(place), 0, -1))
    return f"  # {next((origins[each] for each in above if each in origins), 'default')}"
