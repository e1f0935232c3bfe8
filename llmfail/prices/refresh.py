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
    CatalogueModel,
    MatchRule,
    PriceList,
)
from llmfail.core.pricing.price import Rate
from llmfail.core.vendors import PRICE_LISTS
from llmfail.prices.catalogue_file import (
    PACKAGED_DIRECTORY,
    Catalogue,
    CatalogueIndex,
    read_price_list,
)
from llmfail.prices.generate import build_price_lists, find_newest_start_date
from llmfail.prices.write import write_price_lists

if TYPE_CHECKING:
    from genai_prices.types import Provider

INSTALL_COMMAND = "pip install 'llmfail[prices]'"
MAX_PICO_USD_PER_TOKEN = 10**12
"""Pico-dollars per token, a million dollars per million tokens: what is dearer is a mistake."""


class PriceSourceError(LlmfailError):
    """The source of prices cannot be reached, or has none."""

    exit_code = ExitCode.UNAVAILABLE


class RefreshResult(Struct, frozen=True):
    """What came of it. ``models`` have a price; ``kept_as_of`` is the day of a list that is as new, so that
    nothing was written.
    """

    index: CatalogueIndex
    models: int
    kept_as_of: date | None = None


def refresh(directory: Path, url: str | None, today: date) -> RefreshResult:
    """From the package's own source, or another one of that form. Raises UsageError without the package and
    for a directory that cannot be written, SourceError for a source without prices.
    """
    try:
        from genai_prices.update_prices import DEFAULT_UPDATE_URL, UpdatePrices
    except ImportError as error:
        raise _missing_package_error(error) from error
    source = url or DEFAULT_UPDATE_URL
    if not _is_http_url(source):
        raise UsageError("--url takes an http:// or https:// address")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of what a newer list has that this version of the package does not know
            snapshot = UpdatePrices(url=source).fetch()
        providers = [] if snapshot is None else snapshot.providers
        made = _build_checked_lists(providers, today)
    except Exception as error:  # foreign code on foreign data raises whatever it likes
        raise PriceSourceError(
            f"no prices from {_hide_url_secrets(source)}: {_describe_error(error)}; nothing has changed"
        ) from error
    return _write_if_newer(
        directory,
        CatalogueIndex(today, {"genai-prices": _hide_url_secrets(source)}, _list_providers(made)),
        made,
    )


def refresh_offline(directory: Path, today: date) -> RefreshResult:
    """From the data of the installed package."""
    try:
        from genai_prices import __version__
        from genai_prices.data import providers
    except ImportError as error:
        raise _missing_package_error(error) from error
    as_of = find_newest_start_date(providers, today)
    made = _build_checked_lists(providers, as_of)
    return _write_if_newer(
        directory, CatalogueIndex(as_of, {"genai-prices": __version__}, _list_providers(made)), made
    )


def _missing_package_error(error: ImportError) -> UsageError:
    return UsageError(f"prices refresh needs the package genai-prices ({error}): {INSTALL_COMMAND}")


def _build_checked_lists(providers: Iterable[Provider], as_of: date) -> list[PriceList]:
    """Raises ValueError for what cannot be true. What genai-prices does not know stays as it is here."""
    facts = {name: read_price_list(PACKAGED_DIRECTORY, name).facts for name in PRICE_LISTS}
    made = list(build_price_lists(providers, facts, as_of))
    if not _count_priced_models(made):
        raise ValueError("it lists no prices of a provider that llmfail knows")
    for listing in made:
        for rule in listing.rules:
            _check_rule(rule)
        for entry in _decode_entries(listing):
            _check_prices(f"{listing.provider}/{entry.id}", entry)
    return made


def _check_rule(rule: MatchRule) -> None:
    """An expression that repeats what repeats may take for ever on a name."""
    for clause in rule.clauses:
        if clause.kind == "regex" and re.search(r"\)[*+{]", clause.text):
            raise ValueError(f"the expression {clause.text!r} is not one to be trusted")


def _check_prices(name: str, entry: CatalogueModel) -> None:
    for listed in (*entry.periods, *entry.variants):
        for rate in listed.rates.values():
            prices = (rate.base, *(price for _, price in rate.steps)) if isinstance(rate, Rate) else (rate,)
            if not all(0 <= price <= MAX_PICO_USD_PER_TOKEN for price in prices):
                raise ValueError(f"a price of {name} cannot be true")


def _write_if_newer(
    directory: Path, index: CatalogueIndex, price_lists: Sequence[PriceList]
) -> RefreshResult:
    """Written, unless what counts already is as new."""
    current = Catalogue(directory).as_of
    packaged = Catalogue().as_of
    if index.as_of < current or index.as_of <= packaged:
        return RefreshResult(index, _count_priced_models(price_lists), current)
    try:
        write_price_lists(directory, index, price_lists)
    except OSError as error:
        raise UsageError(f"cannot write {directory}: {error.strerror}; nothing has changed") from error
    return RefreshResult(index, _count_priced_models(price_lists))


def _list_providers(price_lists: Iterable[PriceList]) -> tuple[str, ...]:
    return tuple(sorted(listing.provider for listing in price_lists))


def _count_priced_models(price_lists: Iterable[PriceList]) -> int:
    return sum(bool(entry.periods) for listing in price_lists for entry in _decode_entries(listing))


def _decode_entries(price_list: PriceList) -> Iterable[CatalogueModel]:
    return map(_ENTRY_DECODER.decode, price_list.models)


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _hide_url_secrets(url: str) -> str:
    """Without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _describe_error(error: Exception) -> str:
    """One line; an HTTP status says more than the words around it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"it answered {status}"
    lines = str(error).splitlines() or [""]
    return (lines[0] or type(error).__name__)[:200]


_ENTRY_DECODER = Decoder(CatalogueModel)
