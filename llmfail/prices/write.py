"""Lists -> a directory. Whoever reads it meanwhile finds every file whole, the old one or the new."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from msgspec.json import encode

from llmfail.core.pricing.catalogue import Listing
from llmfail.prices.catalogue_file import INDEX, Index


def write(directory: Path, index: Index, listings: Iterable[Listing]) -> None:
    """Raises OSError, before which nothing of what was there has changed."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".new-", dir=directory))
    try:
        for listing in listings:
            (stage / f"{listing.provider}.json").write_bytes(_text(listing))
        (stage / INDEX).write_bytes(encode(index) + b"\n")
        for file in sorted(stage.iterdir(), key=lambda file: file.name == INDEX):
            file.replace(directory / file.name)
    finally:
        shutil.rmtree(stage)


def _text(listing: Listing) -> bytes:
    """A line per model, so that a change of one is a change of one line."""
    names = ("provider", "as_of", "also", "names", "facts")
    head = [encode(name) + b":" + encode(getattr(listing, name)) for name in names]
    rules = b'"rules":[\n' + b",\n".join(map(encode, listing.rules)) + b"\n]"
    models = b'"models":[\n' + b",\n".join(map(bytes, listing.models)) + b"\n]"
    return b"{" + b",\n".join([*head, rules, models]) + b"}\n"
