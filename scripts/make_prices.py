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

from llmfail.core.pricing.catalogue import PROVIDERS
from llmfail.prices.catalogue_file import PACKAGED, Index, read
from llmfail.prices.facts import ai21, facts_of
from llmfail.prices.generate import listings, newest
from llmfail.prices.write import write

ENDS = Path(__file__).parent / "retirements.json"


def main(table: str | None = None, version: str = "") -> None:
    as_of = newest(providers, datetime.now(UTC).date())
    sources = {"genai-prices": genai_prices.__version__}
    if table is None:
        kept = {name: read(PACKAGED, name) for name in PROVIDERS}
        facts = {name: listing.facts for name, listing in kept.items()}
        others = [kept["ai21"]]
    else:
        models = json.loads(Path(table).read_text(encoding="utf-8"))
        facts = facts_of(models, json.loads(ENDS.read_text(encoding="utf-8")))
        others = [ai21(models, facts["ai21"], as_of)]
        sources["litellm"] = version
    made = [*listings(providers, facts, as_of), *others]
    write(PACKAGED, Index(as_of, sources, tuple(sorted(one.provider for one in made))), made)


if __name__ == "__main__":
    main(*sys.argv[1:])
