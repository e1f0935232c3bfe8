"""Make llmfail/data/prices from the installed genai-prices, and from litellm's table where one is given.

    python scripts/make_prices.py [model_prices_and_context_window_backup.json VERSION]

Without litellm's table the facts and AI21's list stay as they are.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import genai_prices
from genai_prices.data import providers

from llmfail.core.vendors import PRICE_LISTS
from llmfail.prices.catalogue_file import PACKAGED_DIRECTORY, CatalogueIndex, read_price_list
from llmfail.prices.facts import build_ai21_price_list, facts_of
from llmfail.prices.generate import build_price_lists, find_newest_start_date
from llmfail.prices.write import write_price_lists

ENDS = Path(__file__).parent / "retirements.json"


def main(table: str | None = None, version: str = "") -> None:
    as_of = find_newest_start_date(providers, datetime.now(UTC).date())
    sources = {"genai-prices": genai_prices.__version__}
    if table is None:
        kept = {name: read_price_list(PACKAGED_DIRECTORY, name) for name in PRICE_LISTS}
        facts = {name: listing.facts for name, listing in kept.items()}
        others = [kept["ai21"]]
    else:
        models = json.loads(Path(table).read_text(encoding="utf-8"))
        facts = facts_of(models, json.loads(ENDS.read_text(encoding="utf-8")))
        others = [build_ai21_price_list(models, facts["ai21"], as_of)]
        sources["litellm"] = version
    made = [*build_price_lists(providers, facts, as_of), *others]
    write_price_lists(
        PACKAGED_DIRECTORY, CatalogueIndex(as_of, sources, tuple(sorted(one.provider for one in made))), made
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
