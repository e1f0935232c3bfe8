"""What becomes of the records of version 0.1, which were kept by name."""

import pytest

from llmfail.core.model import Address
from llmfail.core.records import state_keys
from llmfail.core.records.migration import move_records
from llmfail.core.records.record import NameSet, Write, dump, load_or_default

OPENAI = Address("openai", "https://api.openai.com/v1")
ROUTER = Address("openai", "https://openrouter.ai/api/v1")
PROVIDERS = {"openai": OPENAI, "router": ROUTER}
ROW = Write("text", 1.0)


def at(provider, model):
    return Address(provider.api, provider.base_url, model)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("circuit/openai/gpt", state_keys.circuit_key(at(OPENAI, "gpt"))),
        ("circuit/router/meta/llama", state_keys.circuit_key(at(ROUTER, "meta/llama"))),
        ("quirks/openai/gpt", state_keys.dropped_parameters_key(at(OPENAI, "gpt"))),
        ("tokens/openai/gpt", state_keys.calibration_key(at(OPENAI, "gpt"))),
        ("tally/router/meta/llama/472222", state_keys.call_counters_key(at(ROUTER, "meta/llama"), 472222)),
        ("hold/openai", state_keys.provider_override_key(OPENAI)),
        ("credential/openai/0123456789abcdef", state_keys.credential_key(OPENAI, "0123456789abcdef")),
        ("routing/472222", state_keys.ask_counters_key("c", 472222)),
        ("dimensions/search/embed-3", state_keys.dimensions_key("c", "search", "embed-3")),
        ("rate/openai/requests", None),
        ("rate/openai/gpt/tokens", None),
        ("turn/default", None),
        ("hedge/default", None),
        ("circuit/gone/gpt", None),
        ("tally/gone/gpt/472222", None),
    ],
)
def test_d2_a_record_by_name_is_moved_to_what_the_name_means(old, new):
    writes = dict(move_records({old: ROW}, PROVIDERS, "c"))
    assert writes == {old: None} | ({} if new is None else {new: ROW})


@pytest.mark.parametrize("key", ["budget/daily/2026-12-01", "log", "log/7", "usage/2026-12-01", "done/x"])
def test_d2_what_is_kept_by_name_or_for_all_stays(key):
    assert move_records({key: ROW}, PROVIDERS, "c") == {}


def test_d2_the_known_targets_go_to_their_providers():
    known = Write(dump(NameSet(frozenset({"openai/gpt", "router/meta/llama", "gone/x", "damaged"}))))
    writes = move_records({"targets": known}, PROVIDERS, "c")
    assert writes["targets"] is None
    names = {
        provider: load_or_default(
            writes[state_keys.known_targets_key(PROVIDERS[provider])].text, NameSet
        ).names
        for provider in PROVIDERS
    }
    assert names == {"openai": {"openai/gpt"}, "router": {"router/meta/llama"}}


def test_d2_what_was_written_since_then_is_newer_than_what_is_moved():
    newer = state_keys.circuit_key(at(OPENAI, "gpt"))
    assert move_records({"circuit/openai/gpt": ROW, newer: Write("newer")}, PROVIDERS, "c") == {
        "circuit/openai/gpt": None
    }


@pytest.mark.parametrize(
    "key",
    [
        state_keys.circuit_key(at(OPENAI, "gpt")),
        state_keys.circuit_key(at(OPENAI, "gpt"), "namespace"),
        state_keys.call_counters_key(at(OPENAI, "gpt"), 1),
        state_keys.credential_key(OPENAI, "0123456789abcdef"),
        state_keys.rate_limit_key(OPENAI, "0123456789abcdef", "tokens", "namespace"),
        state_keys.provider_override_key(OPENAI),
        state_keys.known_targets_key(OPENAI),
        state_keys.turn_key("c", "default"),
        state_keys.hedge_key("c", "default"),
        state_keys.dimensions_key("c", "search", "m"),
        state_keys.ask_counters_key("c", 1),
        state_keys.budget_key("daily", "2026-12-01", None, "namespace"),
        state_keys.bucket_index_key("daily", "2026-12-01"),
    ],
)
def test_d2_a_key_of_today_is_never_taken_for_an_old_one(key):
    assert move_records({key: ROW}, PROVIDERS, "c") == {}
