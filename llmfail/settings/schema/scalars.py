"""The kinds of scalar a configuration holds: how each is written, read, and described to an editor.

A kind is an annotation (``Annotated[float, …]``), so the Structs of ``types`` are the one source for the
reader, the overrides and the JSON Schema. Nothing here knows where a value stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Final

from llmfail.core.model import Target
from llmfail.settings.schema.quantity import (
    DOLLARS,
    LONGEST_DURATION_SECONDS,
    parse_alert_window,
    parse_dollars,
    parse_seconds,
    parse_size,
    require_number,
)

TRUE_WORDS: Final = frozenset({"true", "yes", "on"})
FALSE_WORDS: Final = frozenset({"false", "no", "off"})


class Scalar:
    """How one kind is read. ``parse`` raises ValueError; where its text starts with ``expected``, the reader
    adds what it got. ``schema`` is the kind's JSON Schema.

    A ``text`` kind takes what the environment holds as it stands, any other by its YAML type. A ``secret`` is
    never shown, a ``free`` text, which may hold anything, only as it was written. For an ``optional`` kind an
    unset variable means that there is none.
    """

    __slots__ = ("free", "optional", "parse", "schema", "secret", "text")

    def __init__(
        self,
        parse: Callable[[object], object],
        schema: Mapping[str, object],
        *,
        text: bool = False,
        secret: bool = False,
        free: bool = False,
        optional: bool = False,
    ) -> None:
        self.parse = parse
        self.schema = schema
        self.text = text
        self.secret = secret
        self.free = free
        self.optional = optional


class Shorthand:
    """Marks a Struct that may be written as the bare value of its first field."""


class Derived:
    """Marks a field that no file sets: it follows from the others."""


DERIVED: Final = Derived()
SHORTHAND: Final = Shorthand()


def real_number(low: float, high: float, *, expected: str | None = None) -> Scalar:
    """A number from ``low`` to ``high``."""
    says = expected or f"a number from {low:g} to {high:g}"

    def parse(value: object) -> float:
        number = require_number(value, says)
        if not low <= number <= high:
            raise ValueError(f"expected {says}")
        return float(number)

    return Scalar(parse, {"type": "number", "minimum": low, "maximum": high})


def whole_number(low: int, high: int = 1_000_000_000) -> Scalar:
    """A whole number; ``1e3`` and ``1000.0`` are whole too."""
    says = f"a whole number from {low} to {high}"

    def parse(value: object) -> int:
        number = require_number(value, says)
        if not low <= number <= high or number != int(number):
            raise ValueError(f"expected {says}")
        return int(number)

    return Scalar(parse, {"type": "integer", "minimum": low, "maximum": high})


def duration(*, zero: bool = False) -> Scalar:
    """Seconds, or a number with its unit."""
    parse = partial(parse_seconds, zero=zero)
    number = {"type": "number", "minimum": 0, "maximum": LONGEST_DURATION_SECONDS}
    text = {
        "type": "string",
        "pattern": r"^([0-9]*\.?[0-9]+ *[smhd]?|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$",
    }
    return Scalar(parse, {"anyOf": [number, text]})


def money(places: int, high: int) -> Scalar:
    """US dollars, exactly as written, with at most so many decimals."""
    says = f"an amount in USD from 0 to {high}, with at most {places} decimals"

    def parse(value: object) -> Decimal:
        dollars = parse_dollars(value)
        amount = Decimal(repr(require_number(value, says))) if dollars is None else dollars
        if not 0 <= amount <= high:
            raise ValueError(f"expected {says}")
        if amount != round(amount, places):
            raise ValueError(f"expected {says}")
        return amount

    number = {"type": "number", "minimum": 0, "maximum": high}
    return Scalar(parse, {"anyOf": [number, {"type": "string", "pattern": DOLLARS.pattern}]})


def _parse_boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in TRUE_WORDS | FALSE_WORDS:
        return value.lower() in TRUE_WORDS
    raise ValueError("expected true or false")


def parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text (a number in quotes)")  # noqa: TRY004
    return str(value)


def text_matching(pattern: str, expected: str) -> Scalar:
    """Text that is a full match of the pattern, which is compiled when a text is first held against it: most
    commands read few kinds.
    """

    def parse(value: object) -> str:
        text = parse_text(value)
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return Scalar(parse, {"type": "string", "pattern": f"^(?:{pattern})$"}, text=True)


HOST_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]"
_URL = re.compile(
    rf"(https?)://({HOST_PATTERN})(?::([0-9]{{1,5}}))?((?:/[A-Za-z0-9._~%:@!$&'()*+,;=-]*)*)",
    re.IGNORECASE | re.ASCII,
)


def split_url(text: str) -> tuple[str, str, str | None, str] | None:
    """Scheme, host (both in lower case), port and path of a plain http(s) URL; None for anything else. A path
    has the characters of RFC 3986, section 3.3.

    Conservative on purpose: whatever two parsers could read differently is no base URL.
    """
    found = _URL.fullmatch(text)
    if not found or (found[3] and not 0 < int(found[3]) < 65536):
        return None
    return found[1].lower(), found[2].lower(), found[3], found[4]


def _parse_url(value: object) -> str:
    text = parse_text(value).strip()
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("a URL without credentials is expected here; api_key is the place for a key")
    if "?" in text or "#" in text:
        raise ValueError("a URL without ? and # is expected here: paths are added to it")
    if split_url(text) is None:
        raise ValueError("expected http(s)://host[:port][/path]")
    return text.rstrip("/")


def _parse_store(value: object) -> str:
    text = parse_text(value)
    if text not in {"disk", "memory"}:
        from llmfail.core.store_url import parse_redis_url

        parse_redis_url(text)
    return text


def _parse_own_store(value: object) -> str:
    text = _parse_store(value)
    if text == "memory":
        raise ValueError("expected disk or redis://host:port/db")
    return text


def parse_target(value: object) -> Target:
    text = parse_text(value)
    try:
        return Target.parse(text)
    except ValueError:
        raise ValueError("expected a target, written provider/model") from None


def _parse_target_or_provider(value: object) -> Target | str:
    return parse_target(value) if isinstance(value, str) and "/" in value else parse_text(value)


def _parse_json_object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping, which is sent as JSON")  # noqa: TRY004
    return value


def parse_moment(value: object) -> float:
    """A date, or a date with a time, as epoch seconds; in UTC unless it names a zone. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("expected a time such as 2026-11-01 or 2026-11-01T10:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _parse_moment_text(value: object) -> str:
    parse_moment(value)
    return str(value)


def _parse_hedge_delay(value: object) -> float | str:
    if value == "p95":
        return "p95"
    try:
        return parse_seconds(value)
    except ValueError as error:
        raise ValueError(f"{error}, or p95") from None


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME_SCALAR = text_matching(_NAME, "a name of letters, digits, _ . and -")


def require_name(text: str) -> None:
    """Raises ValueError for what cannot be the name of anything in a configuration."""
    _NAME_SCALAR.parse(text)


Flag = Annotated[bool, Scalar(_parse_boolean, {"type": "boolean"})]
Text = Annotated[str, Scalar(parse_text, {"type": "string"}, text=True, free=True)]
Name = Annotated[str, _NAME_SCALAR]
Seconds = Annotated[float, duration()]
SecondsOrZero = Annotated[float, duration(zero=True)]
AlertWindow = Annotated[float, Scalar(parse_alert_window, duration().schema)]
Fraction = Annotated[float, real_number(0, 1)]
Quality = Annotated[float, real_number(0, 100)]
Weight = Annotated[float, real_number(0, 1_000_000)]
Temperature = Annotated[float, real_number(0, 2)]
BackoffFactor = Annotated[float, real_number(1, 100)]
Count = Annotated[int, whole_number(1)]
RetryCount = Annotated[int, whole_number(0, 100)]
Usd = Annotated[Decimal, money(9, 1_000_000_000)]
BudgetLimit = Annotated[Decimal, money(9, 1_000_000_000_000)]
UsdPerMillion = Annotated[Decimal, money(6, 1_000_000)]
Bytes = Annotated[int, Scalar(parse_size, {"type": ["integer", "string"]})]
Url = Annotated[
    str, Scalar(_parse_url, {"type": "string", "pattern": r"^(https?://|\$\{)[^?#]+$"}, text=True)
]
StoreUrl = Annotated[str, Scalar(_parse_store, {"type": "string"}, text=True, secret=True)]
OwnStoreUrl = Annotated[str, Scalar(_parse_own_store, {"type": "string"}, text=True, secret=True)]
TargetName = Annotated[Target, Scalar(parse_target, {"type": "string", "pattern": "/"}, text=True)]
TargetOrProvider = Annotated[Target | str, Scalar(_parse_target_or_provider, {"type": "string"}, text=True)]
Moment = Annotated[str, Scalar(_parse_moment_text, {"type": "string"}, text=True)]
HedgeDelay = Annotated[float | str, Scalar(_parse_hedge_delay, {"type": ["number", "string"]})]
TemplateName = Annotated[
    str, text_matching(rf"{_NAME}|@[^\0]+", "the name of a template, or @ and the name of a file")
]
HeaderName = Annotated[
    str,
    text_matching(
        r"(?!(?i:host|content-length|transfer-encoding|connection)$)[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}",
        "the name of a header",
    ),
]
JsonObject = Annotated[Mapping[str, object], Scalar(_parse_json_object, {"type": "object"})]
Penalty = Annotated[float, real_number(-2, 2)]
WholeNumber = Annotated[int, whole_number(0, 2**53)]
Alternatives = Annotated[int, whole_number(0, 20)]
UrlPart = Annotated[
    str,
    text_matching(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", "letters, digits, . _ : and -, at most 100 of them"),
]
Location = Annotated[
    str, text_matching(r"[a-z0-9]+(?:-[a-z0-9]+){0,5}", "a location such as global or us-east5")
]
