"""To what the records of the store belong."""

import pytest
from msgspec.structs import replace

from llmfail.core.model import Address
from llmfail.core.records.state_keys import budget_key, circuit_key, digest_of, rate_limit_key

ADDRESS = Address("openai", "https://api.openai.com/v1", "gpt", "project", "global")


@pytest.mark.parametrize(
    "change",
    [
        {"api": "anthropic"},
        {"base_url": "https://api.openai.com/v2"},
        {"base_url": "http://api.openai.com/v1"},
        {"base_url": "https://api.openai.com:8443/v1"},
        {"model": "gpt-2"},
        {"model": "GPT"},
        {"project": None},
        {"location": "eu"},
        {"project": "projectglobal", "location": ""},
    ],
)
def test_d2_another_address_is_another_record(change):
    assert digest_of(replace(ADDRESS, **change)) != digest_of(ADDRESS)


@pytest.mark.parametrize(
    "base_url",
    ["https://API.openai.com/v1", "HTTPS://api.openai.com:443/v1", "https://api.openai.com/v1/"],
)
def test_d2_one_address_is_one_record_however_it_is_written(base_url):
    assert digest_of(replace(ADDRESS, base_url=base_url)) == digest_of(ADDRESS)


def test_d2_a_namespace_keeps_records_apart():
    assert circuit_key(ADDRESS, "n") != circuit_key(ADDRESS)
    assert rate_limit_key(ADDRESS, "i", "tokens", "n") != rate_limit_key(ADDRESS, "i", "tokens")
    assert len({budget_key("daily", "p", None, one) for one in ("", "n", "m")}) == 3
