"""What the options of an ask say: texts of the command line to values, the files that they name read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from llmfail.cli.arguments.global_options import parse_seconds
from llmfail.cli.arguments.prompt import read_attached_input, require_utf8
from llmfail.client.option_checks import MAX_COST_USD, MAX_TEMPERATURE
from llmfail.core.errors import UsageError
from llmfail.core.request.ask_options import (
    AskOption,
    OptionKind,
    Options,
    collect_options,
)

if TYPE_CHECKING:
    from llmfail.core.conversation import Attachment


ATTACHED_INPUT = "-"


def read_options(typed: Mapping[str, Any]) -> Options:
    """The options of an ask among what was typed, by the names of the table. Raises UsageError."""
    try:
        return cast("Options", collect_options(typed, _convert, by_flag=True))
    except ValueError as error:
        raise UsageError(str(error)) from None


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
    convert = _CONVERTERS.get(option.kind)
    return value if convert is None else convert(option.long_flag, value)


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
    from llmfail.client.attachment_files import read_bytes
    from llmfail.settings.reading.schema_files import load_schema

    return load_schema(Path(name), read_bytes)


def _read_attached_input(option: str, names: Sequence[str]) -> tuple[str | Attachment, ...]:
    """Files and URLs by their names; ``-`` is standard input, which is read here."""
    if names.count(ATTACHED_INPUT) > 1:
        raise UsageError(f"{option} - is given twice")
    return tuple(_attach_input() if name == ATTACHED_INPUT else name for name in names)


def _attach_input() -> Attachment:
    from llmfail.core.conversation import Attachment
    from llmfail.core.request.media_type import find_media_type

    data = read_attached_input()
    return Attachment("standard input", find_media_type("-", data), data)


def _read_json(option: str, name: str) -> object:
    from llmfail.cli.io.json_files import read_json_file

    return read_json_file(option, Path(name))


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
    "attached_files": _read_attached_input,
    "number": _check_temperature,
    "duration": parse_seconds,
    "duration_or_zero": _parse_wait,
    "hedge_delay": _parse_hedge_delay,
    "dollars": parse_dollars,
    "generation_options": _parse_pairs,
    "tools_file": _read_json,
}
"""By kind; what is missing is taken as it is."""
