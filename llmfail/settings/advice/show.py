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

from llmfail.core.admission.breaker import Rules
from llmfail.core.model import Secret, Target
from llmfail.settings.reading.env_vars import references
from llmfail.settings.reading.load import Examination
from llmfail.settings.reading.plain_values import Place, scalar
from llmfail.settings.schema.scalars import FALSE, TRUE, Scalar
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import (
    Items,
    Maybe,
    Names,
    Record,
    Shape,
    Variants,
    shape_of,
)
from llmfail.settings.schema.types import BreakerPatch, Defaults

MASK = "****"
_PASSWORD = re.compile(r"(?<=://).*(?=@)|(?<=\?).*")
_PLAIN = re.compile(r"[A-Za-z/][\w./-]*(?:://[\w./:-]*\w)?")

Written = Mapping[Place, str]


def effective(examination: Examination) -> dict[str, object]:
    """Plain values, in the order of the keys; durations in seconds, money in USD."""
    settings = examination.reading.settings
    assert settings is not None, "only a valid configuration is shown"
    shape = shape_of(Settings)
    assert isinstance(shape, Record)
    return _record(shape, _resolved(settings), (), examination.reading.written)


def as_yaml(examination: Examination) -> str:
    """The effective values, one a line, each with a comment that says where it is from."""
    return "\n".join(_lines(effective(examination), (), "", _origins(examination)))


def _resolved(settings: Settings) -> Settings:
    """With the numbers that hold where a feature or the breaker sets none."""
    breaker = {**asdict(Rules()), **_set_in(settings.breaker)}
    features = {
        name: replace(feature, **_set_in(settings.resolved(feature)))
        for name, feature in settings.features.items()
    }
    return replace(settings, breaker=BreakerPatch(**breaker), features=features)


def _set_in(values: BreakerPatch | Defaults) -> dict[str, Any]:
    found = asdict(values)
    return {name: value for name, value in found.items() if value is not None}


def _plain(shape: Shape, value: object, at: Place, written: Written) -> object:
    match shape:
        case Scalar():
            found = _scalar(shape, value, at, written)
        case Maybe():
            found = None if value is None else _plain(shape.shape, value, at, written)
        case Record():
            found = _record(shape, value, at, written)
        case Names() if isinstance(value, Mapping):
            found = {
                str(key): _plain(shape.item, item, (*at, str(key)), written) for key, item in value.items()
            }
        case Items() if isinstance(value, tuple):
            found = [_plain(shape.item, item, (*at, index), written) for index, item in enumerate(value)]
        case Variants():
            found = _variant(shape, value, at, written)
        case _:
            found = value
    return found


def _record(record: Record, value: object, at: Place, written: Written) -> dict[str, object]:
    """Every key; where all may be left out, only those that are set."""
    found = {
        name: _plain(shape, getattr(value, name), (*at, name), written) for name, shape in record.keys.items()
    }
    is_patch = all(isinstance(shape, Maybe) for shape in record.keys.values())
    return {name: item for name, item in found.items() if item is not None} if is_patch else found


def _variant(variants: Variants, value: object, at: Place, written: Written) -> object:
    tag, record = next((tag, record) for tag, record in variants.by_tag.items() if type(value) is record.of)
    return _record(record, value, at, written) if record.keys else tag


def _scalar(kind: Scalar, value: object, at: Place, written: Written) -> object:
    match value:
        case Secret():
            return MASK
        case str() if kind.secret:
            return _PASSWORD.sub(MASK, value)
        case str() if kind.free:
            return written.get(at, value)
        case Target():
            return str(value)
        case float() | Decimal():
            return int(value) if value == int(value) else float(value)
        case _:
            return value


def _origins(examination: Examination) -> Mapping[Place, str]:
    """Where a value is from, unless it is a default."""
    lines = {place: f"line {line}" for place, line in examination.lines.items()}
    written = {
        place: f"{lines[place]}, {', '.join(f'${{{name}}}' for name in references(text))}"
        for place, text in examination.reading.written.items()
        if place in lines and text.isprintable()
    }
    return {**lines, **written, **examination.reading.by}


def _lines(value: object, at: Place, indent: str, origins: Mapping[Place, str]) -> Iterator[str]:
    """A mapping or list in block style. What is inside a list goes in flow style, on the line of its item."""
    assert isinstance(value, dict)
    for key, item in value.items():
        place = (*at, key)
        if isinstance(item, dict) and item:
            yield f"{indent}{_text(key)}:"
            yield from _lines(item, place, indent + "  ", origins)
        elif isinstance(item, list) and item:
            yield f"{indent}{_text(key)}:"
            for index, each in enumerate(item):
                yield f"{indent}  - {_flow(each)}{_comment((*place, index), origins)}"
        else:
            yield f"{indent}{_text(key)}: {_flow(item)}{_comment(place, origins)}"


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """Plain where every reader of YAML takes it for text, else quoted."""
    means_text = isinstance(scalar(value), str) and value.lower() not in TRUE | FALSE
    return value if means_text and _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def _comment(place: Place, origins: Mapping[Place, str]) -> str:
    """Where the value is from, or the section that it came with."""
    above = (place[:length] for length in range(len(place), 0, -1))
    return f"  # {next((origins[each] for each in above if each in origins), 'default')}"
