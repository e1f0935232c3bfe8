"""What the options of an ask say: texts of the command line to values, the files that they name read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, cast

from llmfail.cli.arguments.global_options import parse_seconds
from llmfail.cli.arguments.prompt import require_utf8
from llmfail.cli.io.files import MEBIBYTE, read_bytes
from llmfail.client.options import MAX_COST_USD
from llmfail.core.errors import UsageError
from llmfail.core.model import Attachment
from llmfail.core.request.ask_options import (
    DURATION_KINDS,
    LINE_OPTIONS,
    AskOption,
    OptionKind,
    Options,
    collect_options,
)

MAX_ATTACHMENT_BYTES = 20 * MEBIBYTE
"""Bytes; the providers take no larger requests."""
MAX_TEMPERATURE = 2.0
"""As in the configuration."""
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def read_options(typed: Mapping[str, Any]) -> Options:
    """The options of an ask among what was typed, by the names of the table. Raises UsageError."""
    try:
        return cast("Options", collect_options(typed, _convert, by_flag=True))
    except ValueError as error:
        raise UsageError(str(error)) from None


def parse_durations(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a batch line, which may write a duration as a text too. Raises UsageError."""
    texts = {
        option.name: _convert_as(option.name, option, options[option.name])
        for option in LINE_OPTIONS
        if option.kind in DURATION_KINDS and isinstance(options.get(option.name), str)
    }
    return {**options, **texts}


def parse_dollars(option: str, text: str) -> Decimal:
    """An amount of money. Raises UsageError."""
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if amount.is_finite() and 0 <= amount <= MAX_COST_USD:
        return amount
    raise UsageError(f"{option} is an amount of 0 to {MAX_COST_USD:,} US dollars such as 0.05, got {text!r}")


def _convert(option: AskOption, value: Any) -> object:  # noqa: ANN401 - as its kind is typed
    return _convert_as(option.long_flag, option, value)


def _convert_as(name: str, option: AskOption, value: Any) -> object:  # noqa: ANN401 - as its kind is typed
    """An error calls the option by this name."""
    convert = _CONVERTERS.get(option.kind)
    return value if convert is None else convert(name, value)


def _require_texts(option: str, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(require_utf8(option, text) for text in texts)


def _parse_pairs(option: str, written: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in _require_texts(option, written):
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} is written NAME=VALUE, got {one!r}")
        if name in pairs:
            raise UsageError(f"{option} {name} is given twice")
        pairs[name] = value
    return pairs


def _read_schema(_option: str, name: str) -> dict[str, Any]:
    from llmfail.settings.reading.schema_files import load_schema

    return load_schema(Path(name), read_bytes)


def _read_attachments(_option: str, names: Sequence[str]) -> list[Attachment]:
    return [_read_attachment(Path(name)) for name in names]


def _read_attachment(path: Path) -> Attachment:
    name = require_utf8("the name of an attachment", path.name)
    data = read_bytes(path, MAX_ATTACHMENT_BYTES)
    return Attachment(name, IMAGE_TYPES.get(path.suffix.lower(), "text/plain"), data)


def _check_temperature(option: str, value: float) -> float:
    if 0 <= value <= MAX_TEMPERATURE:
        return value
    raise UsageError(f"{option} is a number from 0 to {MAX_TEMPERATURE:g}, got {value:g}")


def _parse_wait(option: str, text: str) -> float | None:
    return parse_seconds(option, text, allow_zero=True)


def _parse_hedge_delay(option: str, text: str) -> float | Literal["p95"] | None:
    try:
        return "p95" if text == "p95" else parse_seconds(option, text)
    except UsageError as error:
        raise UsageError(f"{error}; or p95") from None


_CONVERTERS: Mapping[OptionKind, Callable[[str, Any], object]] = {
    "text": require_utf8,
    "texts": _require_texts,
    "pairs": _parse_pairs,
    "schema_file": _read_schema,
    "attached_files": _read_attachments,
    "number": _check_temperature,
    "duration": parse_seconds,
    "duration_or_zero": _parse_wait,
    "hedge_delay": _parse_hedge_delay,
    "dollars": parse_dollars,
}
"""By kind; what is missing is taken as it is."""
