"""The lists as they lie on the disk, each read and decoded when somebody asks for its provider.

A directory of lists has a file per provider and ``index.json``, which dates them. A refreshed directory
counts instead of the one in the package while it is the newer one and whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TypeVar

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from llmfail.core.pricing.catalogue import (
    CatalogueModel,
    ModelFacts,
    PriceList,
    candidate_names,
)
from llmfail.core.vendors import PRICE_LISTS
from llmfail.file_owner import is_own

T = TypeVar("T")

PACKAGED_DIRECTORY = Path(__file__).parent.parent / "data" / "prices"
REFRESHED_DIRECTORY = "prices"
"""Where a refreshed directory of lists is, in the state directory."""
INDEX_FILE = "index.json"
DAMAGE_ERRORS = (OSError, MsgspecError, IndexError, re.error)


class CatalogueIndex(Struct, frozen=True):
    """What a directory of lists holds: the day of its prices, what it was made from, and its providers."""

    as_of: date
    sources: dict[str, str]
    providers: tuple[str, ...]


class CatalogueMatch(Struct, frozen=True):
    """A model in the list of a provider, which may be another than ``asked_provider``."""

    asked_provider: str
    provider: str
    entry: CatalogueModel
    as_of: date


class Catalogue:
    """``refreshed`` is a directory of lists that may be there; ``warn`` is called when it is damaged."""

    def __init__(
        self, refreshed: Path | None = None, warn: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._refreshed = refreshed
        self._warn = warn
        self._index: CatalogueIndex | None = None
        self._loaded_lists: dict[str, PriceList | None] = {}

    @property
    def index(self) -> CatalogueIndex:
        """Of the directory that counts."""
        return self._retry_with_packaged(self._read_index)

    @property
    def as_of(self) -> date:
        return self.index.as_of

    def find(self, provider: str, model: str) -> CatalogueMatch | None:
        """The model that a name means at a provider of the catalogue."""
        return self._retry_with_packaged(lambda: self._find(provider, model))

    def find_facts(self, provider: str, model: str) -> ModelFacts:
        """What is known of a name, else of the model that it means."""
        return self._retry_with_packaged(lambda: self._find_facts(provider, model))

    def _find_facts(self, provider: str, model: str) -> ModelFacts:
        found = self._find(provider, model)
        names = [*candidate_names(model.replace("@", "-"), provider), *([found.entry.id] if found else [])]
        known = (
            price_list.facts[name]
            for name in names
            for price_list in self._price_lists(provider)
            if name in price_list.facts
        )
        facts = next(known, ModelFacts())
        if facts.context is None and found is not None:
            return replace(facts, context=found.entry.context)
        return facts

    def _find(self, provider: str, model: str) -> CatalogueMatch | None:
        for name in candidate_names(model, provider):
            for price_list in self._price_lists(provider):
                place = price_list.find_index(name)
                if place is not None:
                    return CatalogueMatch(
                        provider,
                        price_list.provider,
                        _ENTRY_DECODER.decode(price_list.models[place]),
                        price_list.as_of,
                    )
        return None

    def _price_lists(self, provider: str) -> Iterator[PriceList]:
        """The listing of a provider, then of those whose models it serves too."""
        listing = self._load_price_list(provider)
        if listing is not None:
            yield listing
            yield from filter(None, map(self._load_price_list, listing.also))

    def _load_price_list(self, provider: str) -> PriceList | None:
        if provider not in PRICE_LISTS:
            return None
        if provider not in self._loaded_lists:
            refreshed = self._refreshed if provider in self._read_index().providers else None
            self._loaded_lists[provider] = read_price_list(refreshed or PACKAGED_DIRECTORY, provider)
        return self._loaded_lists[provider]

    def _read_index(self) -> CatalogueIndex:
        """``_refreshed`` is None when it does not count."""
        if self._index is None:
            packaged = _INDEX_DECODER.decode((PACKAGED_DIRECTORY / INDEX_FILE).read_bytes())
            refreshed = None if self._refreshed is None else _read_index_file(self._refreshed)
            if refreshed is None or refreshed.as_of <= packaged.as_of:
                self._refreshed, refreshed = None, packaged
            self._index = refreshed
        return self._index

    def _retry_with_packaged(self, lookup: Callable[[], T]) -> T:
        """Once something refreshed is found to be damaged, nothing of it counts any more."""
        try:
            return lookup()
        except DAMAGE_ERRORS as error:
            if self._refreshed is None:
                raise
            self._warn(
                f"the refreshed prices in {self._refreshed} are damaged, so those of the package count "
                f"({error}); `llmfail prices refresh` mends them"
            )
            self._refreshed, self._index = None, None
            self._loaded_lists.clear()
            return lookup()


def read_price_list(directory: Path, provider: str) -> PriceList:
    """Raises OSError, or MsgspecError for what is no listing."""
    return _PRICE_LIST_DECODER.decode((directory / f"{provider}.json").read_bytes())


def _read_index_file(directory: Path) -> CatalogueIndex | None:
    """None as well where another user has put it, or lets nobody look."""
    file = directory / INDEX_FILE
    try:
        return _INDEX_DECODER.decode(file.read_bytes()) if is_own(file.stat().st_uid) else None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


_INDEX_DECODER = Decoder(CatalogueIndex)
_PRICE_LIST_DECODER = Decoder(PriceList)
_ENTRY_DECODER = Decoder(CatalogueModel)
