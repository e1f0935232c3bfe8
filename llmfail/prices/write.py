"""Lists -> a directory. Whoever reads it meanwhile finds every file whole, the old one or the new."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from msgspec.json import encode

from llmfail.core.pricing.catalogue import PriceList
from llmfail.prices.catalogue_file import INDEX_FILE, CatalogueIndex


def write_price_lists(directory: Path, index: CatalogueIndex, price_lists: Iterable[PriceList]) -> None:
    """Raises OSError, before which nothing of what was there has changed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".new-", dir=directory))
    try:
        for listing in price_lists:
            (stage / f"{listing.provider}.json").write_bytes(_encode_price_list(listing))
        (stage / INDEX_FILE).write_bytes(encode(index) + b"\n")
        for file in sorted(stage.iterdir(), key=lambda file: file.name == INDEX_FILE):
            file.replace(directory / file.name)
    finally:
        shutil.rmtree(stage)


def _encode_price_list(price_list: PriceList) -> bytes:
    """A line per model, so that a change of one is a change of one line."""
    names = ("provider", "as_of", "also", "names", "facts")
    head = [encode(name) + b":" + encode(getattr(price_list, name)) for name in names]
    rules = b'"rules":[\n' + b",\n".join(map(encode, price_list.rules)) + b"\n]"
    models = b'"models":[\n' + b",\n".join(map(bytes, price_list.models)) + b"\n]"
    return b"{" + b",\n".join([*head, rules, models]) + b"}\n"
