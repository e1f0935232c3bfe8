"""A small list as genai-prices publishes it."""

import json
from datetime import date

from msgspec import Raw
from msgspec.json import encode

from llmfail.core.pricing.catalogue import CatalogueModel, PriceList
from llmfail.core.pricing.price import PricePeriod, Rate
from llmfail.prices.catalogue_file import CatalogueIndex
from llmfail.prices.write import write_price_lists

SONNET = {
    "id": "claude-sonnet-5-5",
    "match": {"or": [{"equals": "claude-sonnet-5-5"}, {"starts_with": "claude-sonnet-5.5"}]},
    "prices": {"input_mtok": 7, "output_mtok": "8.5"},
}


def build_published_list(*models, provider="anthropic"):
    return [
        {
            "id": provider,
            "name": provider.title(),
            "api_pattern": rf"https://api\.{provider}\.com",
            "models": list(models) or [SONNET],
        }
    ]


def write_refreshed_list(directory, as_of, usd=7):
    """A refreshed directory with one model of Anthropic's."""
    listed = PricePeriod(input=Rate(usd * 10**6), output=Rate(0))
    entry = CatalogueModel(id="claude-sonnet-5-5", periods=(listed,))
    listing = PriceList("anthropic", as_of, (), {"claude-sonnet-5-5": 0}, (), (Raw(encode(entry)),), {})
    write_price_lists(directory, CatalogueIndex(as_of, {"test": "1"}, ("anthropic",)), [listing])


def read_json_files(directory):
    return {file.name: file.read_bytes() for file in directory.glob("*.json")}


def encode_document(document):
    return json.dumps(document).encode()


FUTURE = date(2027, 3, 1)
PAST = date(2025, 3, 1)
