"""A newer catalogue from genai-prices: fetched, made into listings, checked, written; or nothing happened.

The package is an extra and takes 200 ms to import, so it is here and nowhere else.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import Decoder

from llmfail.core.errors import ExitCode, LlmfailError, UsageError
from llmfail.core.pricing.catalogue import (
    PROVIDERS,
    Entry,
    Listing,
    Rule,
)
from llmfail.core.pricing.price import Rate
from llmfail.prices.catalogue_file import (
    PACKAGED,
    Catalogue,
    Index,
    read,
)
from llmfail.prices.generate import listings, newest
from llmfail.prices.write import write

if TYPE_CHECKING:
    from genai_prices.types import Provider

INSTALL = "pip install 'llmfail[prices]'"
DEAREST = 10**12
"""Pico-dollars per token, a million dollars per million tokens: what is dearer is a mistake."""


class SourceError(LlmfailError):
    """The source of prices cannot be reached, or has none."""

    exit_code = ExitCode.UNAVAILABLE


class Refreshed(Struct, frozen=True):
    """What came of it. ``models`` have a price; ``kept`` is the day of a list that is as new, so that nothing
    was written.
    """

    index: Index
    models: int
    kept: date | None = None


def refresh(directory: Path, url: str | None, today: date) -> Refreshed:
    """From the package's own source, or another one of that form. Raises UsageError without the package and
    for a directory that cannot be written, SourceError for a source without prices.
    """
    try:
        from genai_prices.update_prices import DEFAULT_UPDATE_URL, UpdatePrices
    except ImportError as error:
        raise _missing(error) from error
    source = url or DEFAULT_UPDATE_URL
    if not _is_address(source):
        raise UsageError("--url takes an http:// or https:// address")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of what a newer list has that this version of the package does not know
            snapshot = UpdatePrices(url=source).fetch()
        providers = [] if snapshot is None else snapshot.providers
        made = _made(providers, today)
    except Exception as error:  # foreign code on foreign data raises whatever it likes
        raise SourceError(f"no prices from {_shown(source)}: {_why(error)}; nothing has changed") from error
    return _kept(directory, Index(today, {"genai-prices": _shown(source)}, _names(made)), made)


def refresh_offline(directory: Path, today: date) -> Refreshed:
    """From the data of the installed package."""
    try:
        from genai_prices import __version__
        from genai_prices.data import providers
    except ImportError as error:
        raise _missing(error) from error
    as_of = newest(providers, today)
    made = _made(providers, as_of)
    return _kept(directory, Index(as_of, {"genai-prices": __version__}, _names(made)), made)


def _missing(error: ImportError) -> UsageError:
    return UsageError(f"prices refresh needs the package genai-prices ({error}): {INSTALL}")


def _made(providers: Iterable[Provider], as_of: date) -> list[Listing]:
    """Raises ValueError for what cannot be true. What genai-prices does not know stays as it is here."""
    facts = {name: read(PACKAGED, name).facts for name in PROVIDERS}
    made = list(listings(providers, facts, as_of))
    if not _priced(made):
        raise ValueError("it lists no prices of a provider that llmfail knows")
    for listing in made:
        for rule in listing.rules:
            _check_rule(rule)
        for entry in _entries(listing):
            _check(f"{listing.provider}/{entry.id}", entry)
    return made


def _check_rule(rule: Rule) -> None:
    """An expression that repeats what repeats may take for ever on a name."""
    for clause in rule.clauses:
        if clause.kind == "regex" and re.search(r"\)[*+{]", clause.text):
            raise ValueError(f"the expression {clause.text!r} is not one to be trusted")


def _check(name: str, entry: Entry) -> None:
    for listed in (*entry.periods, *entry.variants):
        for rate in listed.rates.values():
            prices = (rate.base, *(price for _, price in rate.steps)) if isinstance(rate, Rate) else (rate,)
            if not all(0 <= price <= DEAREST for price in prices):
                raise ValueError(f"a price of {name} cannot be true")


def _kept(directory: Path, index: Index, made: Sequence[Listing]) -> Refreshed:
    """Written, unless what counts already is as new."""
    current = Catalogue(directory).as_of
    packaged = Catalogue().as_of
    if index.as_of < current or index.as_of <= packaged:
        return Refreshed(index, _priced(made), current)
    try:
        write(directory, index, made)
    except OSError as error:
        raise UsageError(f"cannot write {directory}: {error.strerror}; nothing has changed") from error
    return Refreshed(index, _priced(made))


def _names(made: Iterable[Listing]) -> tuple[str, ...]:
    return tuple(sorted(listing.provider for listing in made))


def _priced(made: Iterable[Listing]) -> int:
    return sum(bool(entry.periods) for listing in made for entry in _entries(listing))


def _entries(listing: Listing) -> Iterable[Entry]:
    return map(_ENTRY.decode, listing.models)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _shown(url: str) -> str:
    """Without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _why(error: Exception) -> str:
    """One line; an HTTP status says more than the words around it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"it answered {status}"
    lines = str(error).splitlines() or [""]
    return (lines[0] or type(error).__name__)[:200]


_ENTRY = Decoder(Entry)
