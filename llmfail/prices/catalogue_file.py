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
    PROVIDERS,
    Entry,
    Facts,
    Listing,
    spellings,
)

T = TypeVar("T")

PACKAGED = Path(__file__).parent.parent / "data" / "prices"
REFRESHED = "prices"
"""Where a refreshed directory of lists is, in the state directory."""
INDEX = "index.json"
DAMAGE = (OSError, MsgspecError, IndexError, re.error)


class Index(Struct, frozen=True):
    """What a directory of lists holds: the day of its prices, what it was made from, and its providers."""

    as_of: date
    sources: dict[str, str]
    providers: tuple[str, ...]


class Found(Struct, frozen=True):
    """A model in the list of a provider, which may be another than the one that was ``asked``."""

    asked: str
    provider: str
    entry: Entry
    as_of: date


class Catalogue:
    """``refreshed`` is a directory of lists that may be there; ``warn`` hears when it is damaged."""

    def __init__(
        self, refreshed: Path | None = None, warn: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._refreshed = refreshed
        self._warn = warn
        self._index: Index | None = None
        self._listings: dict[str, Listing | None] = {}

    @property
    def index(self) -> Index:
        """Of the directory that counts."""
        return self._undamaged(self._read_index)

    @property
    def as_of(self) -> date:
        return self.index.as_of

    def find(self, provider: str, model: str) -> Found | None:
        """The model that a name means at a provider of the catalogue."""
        return self._undamaged(lambda: self._find(provider, model))

    def facts(self, provider: str, model: str) -> Facts:
        """What is known of a name, else of the model that it means."""
        return self._undamaged(lambda: self._facts(provider, model))

    def _facts(self, provider: str, model: str) -> Facts:
        found = self._find(provider, model)
        names = [*spellings(model.replace("@", "-"), provider), *([found.entry.id] if found else [])]
        known = (
            shelf.facts[name] for name in names for shelf in self._shelves(provider) if name in shelf.facts
        )
        facts = next(known, Facts())
        if facts.context is None and found is not None:
            return replace(facts, context=found.entry.context)
        return facts

    def _find(self, provider: str, model: str) -> Found | None:
        for name in spellings(model, provider):
            for shelf in self._shelves(provider):
                place = shelf.place(name)
                if place is not None:
                    return Found(provider, shelf.provider, _ENTRY.decode(shelf.models[place]), shelf.as_of)
        return None

    def _shelves(self, provider: str) -> Iterator[Listing]:
        """The listing of a provider, then of those whose models it serves too."""
        listing = self._listing(provider)
        if listing is not None:
            yield listing
            yield from filter(None, map(self._listing, listing.also))

    def _listing(self, provider: str) -> Listing | None:
        if provider not in PROVIDERS:
            return None
        if provider not in self._listings:
            refreshed = self._refreshed if provider in self._read_index().providers else None
            self._listings[provider] = read(refreshed or PACKAGED, provider)
        return self._listings[provider]

    def _read_index(self) -> Index:
        """``_refreshed`` is None when it does not count."""
        if self._index is None:
            packaged = _INDEX.decode((PACKAGED / INDEX).read_bytes())
            refreshed = None if self._refreshed is None else _index_of(self._refreshed)
            if refreshed is None or refreshed.as_of <= packaged.as_of:
                self._refreshed, refreshed = None, packaged
            self._index = refreshed
        return self._index

    def _undamaged(self, look: Callable[[], T]) -> T:
        """Once something refreshed is found to be damaged, nothing of it counts any more."""
        try:
            return look()
        except DAMAGE as error:
            if self._refreshed is None:
                raise
            self._warn(
                f"the refreshed prices in {self._refreshed} are damaged, so those of the package count "
                f"({error}); `llmfail prices refresh` mends them"
            )
            self._refreshed, self._index = None, None
            self._listings.clear()
            return look()


def read(directory: Path, provider: str) -> Listing:
    """Raises OSError, or MsgspecError for what is no listing."""
    return _LISTING.decode((directory / f"{provider}.json").read_bytes())


def _index_of(directory: Path) -> Index | None:
    try:
        return _INDEX.decode((directory / INDEX).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


_INDEX = Decoder(Index)
_LISTING = Decoder(Listing)
_ENTRY = Decoder(Entry)
