"""A name means the same model here as in genai-prices."""

import re
from datetime import date

import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot

from llmfail.core.pricing.catalogue import (
    MatchRule,
    NameCondition,
    PriceList,
    candidate_names,
)
from llmfail.core.receipt import format_usd
from llmfail.core.vendors import PRICE_LISTS, vendor_of
from llmfail.prices import Catalogue
from llmfail.prices.catalogue_file import PACKAGED_DIRECTORY, read_price_list
from llmfail.prices.generate import split_alternatives

CATALOGUE = Catalogue()
LISTED = {provider.id: provider for provider in providers if provider.id in PRICE_LISTS}
ENDINGS = ("", "-20251211", "-2025-12-11", "@20250929", "-latest", "-preview", ":free", "-20251311", "x")


def texts_of(clause):
    """What the clauses of a model name."""
    for one in (clause for clauses in split_alternatives(clause) for clause in clauses):
        yield re.sub(r"\\d(\{\d\}|\+|\*)?|[\^$\\?()]", "7", one.text) if one.kind == "regex" else one.text


def theirs(provider, name):
    try:
        return get_snapshot().find_provider_model(name, LISTED[provider], None, None)[1].id
    except LookupError:
        return None


@pytest.mark.parametrize("provider", LISTED)
def test_every_name_that_is_listed_and_many_that_are_like_it_mean_the_same_model(provider):
    names = {text for model in LISTED[provider].models for text in (model.id, *texts_of(model.match))}
    if provider == "google":
        names |= {model.id for model in LISTED["anthropic"].models}
    for name in sorted(names):
        for spelt in (f"{name}{ending}" for ending in ENDINGS):
            found, expected = CATALOGUE.find(provider, spelt.upper()), theirs(provider, spelt)
            if found is not None and expected is not None:
                assert found.entry.id == expected, spelt
            elif found is not None:
                assert spelt.partition("/")[0] in {provider, "models"}, spelt


@pytest.mark.parametrize("provider", LISTED)
def test_every_listed_model_is_known_by_its_own_name(provider):
    names = {model.id: theirs(provider, model.id) for model in LISTED[provider].models}
    unknown = [
        name for name, expected in names.items() if expected and CATALOGUE.find(provider, name) is None
    ]
    assert unknown == []


@pytest.mark.parametrize(
    "target",
    [
        "openai/gpt-7",
        "openai/gpt-6-luna-pro",
        "openai/ft:gpt-6-luna:org",
        "anthropic/claude-sonnet-6",
        "anthropic/claude-opus-4-10",
        "anthropic/claude-opus-4-85",
        "anthropic/claude-haiku-4-5-max",
        "google/gemini-3.8-flash-lite",
        "google/gemini-3.8-flash-image",
        "google/gemini-3.7-flash-live",
        "google/gemini-2.5-pro-ultra",
        "x-ai/grok-5",
        "openrouter/openai/gpt-6.1-terra:nitro",
    ],
)
def test_a_model_that_nobody_has_listed_is_unknown_however_much_its_name_is_like_another(target):
    provider, _, name = target.partition("/")
    assert CATALOGUE.find(provider, name) is None


@pytest.mark.parametrize(
    ("target", "listed"),
    [
        ("anthropic/claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("anthropic/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("google/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("google/gemini-3.8-flash-001", "gemini-3.8-flash"),
        ("google/gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("anthropic/claude-3-5-haiku-latest", "claude-3-5-haiku-latest"),
        ("openai/gpt-5-nano-2025-08-07", "gpt-5-nano"),
        ("openai/gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("google/gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("mistral/magistral-small-latest", "magistral-small"),
    ],
)
def test_h2_a_version_of_a_model_is_that_model(target, listed):
    provider, _, name = target.partition("/")
    assert CATALOGUE.find(provider, name).entry.id == listed


@pytest.mark.parametrize("model", [one.id for one in LISTED["google"].models if one.id.startswith("claude")])
def test_h2_claude_on_vertex_is_priced_by_the_name_that_google_gives_it(model):
    expected = theirs("google", f"{model}@default")
    assert expected is None or CATALOGUE.find("google", f"{model}@default").entry.id == expected


@pytest.mark.parametrize("provider", LISTED)
def test_h2_a_condition_that_ends_within_a_version_means_all_versions(provider):
    for model in LISTED[provider].models:
        for text in texts_of(model.match):
            names = [f"{text}{rest}" for rest in ("2025-08-07", "latest") if text.endswith(("-", "@"))]
            for name in names:
                expected = theirs(provider, name)
                assert expected is None or CATALOGUE.find(provider, name).entry.id == expected, name


@pytest.mark.parametrize("provider", LISTED)
def test_h2_every_name_of_which_facts_are_known_is_known(provider):
    for name in read_price_list(PACKAGED_DIRECTORY, provider).facts:
        assert theirs(provider, name) is None or CATALOGUE.find(provider, name) is not None, name


WIRE = {
    # USD per million tokens: input, cached, written, output; from the vendors' pages as of 2026-11-20.
    "anthropic/claude-haiku-5-5": "0.1 0.01 0.125 0.5",
    "anthropic/claude-sonnet-5-5": "2 0.1 2.5 10",
    "anthropic/claude-opus-5-5": "4 0.2 5 20",
    "anthropic/claude-haiku-4-5": "1 0.1 1.25 5",
    "openai/gpt-6-luna": "0.1 0.01 0.125 0.5",
    "openai/gpt-6.1-terra": "1 0.05 1.25 5",
    "openai/gpt-6.1-sol": "2 0.1 2.5 10",
    "openai/gpt-5-nano": "0.05 0.005 - 0.4",
    "openai/gpt-4o-mini": "0.15 0.075 - 0.6",
    "google/gemini-2.5-flash-lite": "0.1 0.01 - 0.4",
    "google/gemini-3.5-flash-lite": "0.3 0.03 - 2.5",
    "groq/openai/gpt-oss-120b": "0.15 0.075 - 0.6",
    "x-ai/grok-4.7": "2 0.5 - 6",
}


@pytest.mark.parametrize(("target", "expected"), WIRE.items())
def test_prices_are_what_the_vendors_say(target, expected):
    provider, _, name = target.partition("/")
    listed = CATALOGUE.find(provider, name).entry.periods[-1]
    rates = (listed.input, listed.cached_input, listed.cache_write, listed.output)
    shown = (format_usd(rate.base * 10**6) if rate else "-" for rate in rates)
    assert " ".join(shown) == expected


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("gpt-5", "openai", ["gpt-5"]),
        ("GPT-5.2-20251211", "openai", ["gpt-5.2-20251211", "gpt-5.2-2025-12-11"]),
        ("m-20250230", "openai", ["m-20250230"]),
        ("openai/gpt-5", "openai", ["openai/gpt-5", "gpt-5"]),
        ("models/gemini-2.5-pro", "google", ["models/gemini-2.5-pro", "gemini-2.5-pro"]),
        ("openai/gpt-oss-120b", "groq", ["openai/gpt-oss-120b"]),
        ("models/", "google", ["models/"]),
        ("x" * 257, "openai", []),
    ],
)
def test_a_model_is_looked_up_under_its_name_its_date_written_out_and_without_the_vendor(
    model, provider, expected
):
    assert list(candidate_names(model, provider)) == expected


@pytest.mark.parametrize(
    ("name", "host", "expected"),
    [
        ("anything", "api.anthropic.com", "anthropic"),
        ("anthropic", "openrouter.ai", "openrouter"),
        ("v", "europe-west4-aiplatform.googleapis.com", "google"),
        ("v", "aiplatform.googleapis.com", "google"),
        ("t", "api.together.ai", "together"),
        ("openai", "127.0.0.1", "openai"),
        ("xai", "gateway.example", None),
        ("Gemini", "localhost", "google"),
        ("vertex", "", "google"),
        ("mine", "gateway.example", None),
        ("mine", "notapi.anthropic.com.example", None),
        ("mine", "xapi.anthropic.com", None),
    ],
)
def test_a_provider_is_known_by_its_host_and_else_by_its_name(name, host, expected):
    vendor = vendor_of(name, host)
    assert (vendor and vendor.price_list) == expected


def test_an_expression_is_tried_only_after_its_literal_beginning():
    clause = next(model.match.or_[1] for model in LISTED["openai"].models if model.id == "gpt-6.1-terra")
    [tests] = split_alternatives(clause)
    assert tests[0] == NameCondition("starts_with", "gpt-6.1-terra-")
    assert tests[1].kind == "regex"
    assert isinstance(MatchRule(0, tests), MatchRule)


def test_the_first_model_that_a_name_means_is_meant():
    def listing(*rules):
        return PriceList("p", date(2026, 11, 9), (), {"exact": 1}, rules, (), {})

    def rule(place, *beginnings):
        return MatchRule(place, tuple(NameCondition("starts_with", one) for one in beginnings))

    assert listing(rule(0, "exact")).find_index("exact") == 0
    assert listing(rule(0, "ex")).find_index("exact") is None
    assert listing(rule(2, "ex")).find_index("exact") == 1
    assert listing(rule(0, "ex", "no")).find_index("exact") == 1
    assert listing(rule(2, "other")).find_index("other") == 2
    assert listing(rule(2, "other"), rule(3, "other")).find_index("other") == 2
    assert listing().find_index("nothing") is None
