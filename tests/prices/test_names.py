"""A name means the same model here as in genai-prices."""

import re
from datetime import date

import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot

from llmfail.core.catalogue import PROVIDERS, Clause, Listing, Rule, listed_as, spellings
from llmfail.prices import Catalogue
from llmfail.prices.generate import alternatives

CATALOGUE = Catalogue()
LISTED = {provider.id: provider for provider in providers if provider.id in PROVIDERS}
ENDINGS = ("", "-20251211", "-2025-12-11", "@20250929", "-latest", "-preview", ":free", "-20251311", "x")


def texts_of(clause):
    """What the clauses of a model name."""
    for one in (clause for clauses in alternatives(clause) for clause in clauses):
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
            if expected is not None or found is None:
                assert (found and found.entry.id) == expected, spelt
            else:
                assert spelt.partition("/")[0] in {provider, "models"}, spelt


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
    assert list(spellings(model, provider)) == expected


@pytest.mark.parametrize(
    ("name", "host", "expected"),
    [
        ("anything", "api.anthropic.com", "anthropic"),
        ("anthropic", "openrouter.ai", "openrouter"),
        ("v", "europe-west4-aiplatform.googleapis.com", "google"),
        ("v", "aiplatform.googleapis.com", "google"),
        ("t", "api.together.ai", "together"),
        ("openai", "127.0.0.1", "openai"),
        ("xai", "gateway.example", "x-ai"),
        ("Gemini", "gateway.example", "google"),
        ("vertex", "", "google"),
        ("mine", "gateway.example", None),
        ("mine", "notapi.anthropic.com.example", None),
        ("mine", "xapi.anthropic.com", None),
    ],
)
def test_a_provider_is_known_by_its_host_and_else_by_its_name(name, host, expected):
    assert listed_as(name, host) == expected


def test_an_expression_is_tried_only_after_its_literal_beginning():
    clause = next(model.match.or_[1] for model in LISTED["openai"].models if model.id == "gpt-6.1-terra")
    [tests] = alternatives(clause)
    assert tests[0] == Clause("starts_with", "gpt-6.1-terra-")
    assert tests[1].kind == "regex"
    assert isinstance(Rule(0, tests), Rule)


def test_the_first_model_that_a_name_means_is_meant():
    def listing(*rules):
        return Listing("p", date(2026, 11, 9), (), {"exact": 1}, rules, (), {})

    def rule(place, *beginnings):
        return Rule(place, tuple(Clause("starts_with", one) for one in beginnings))

    assert listing(rule(0, "ex")).place("exact") == 0
    assert listing(rule(2, "ex")).place("exact") == 1
    assert listing(rule(0, "ex", "no")).place("exact") == 1
    assert listing(rule(2, "other")).place("other") == 2
    assert listing(rule(2, "other"), rule(3, "other")).place("other") == 2
    assert listing().place("nothing") is None
