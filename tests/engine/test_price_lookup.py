"""The configuration over the catalogue, key by key; and the price of whoever answered."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from llmfail.core.model import Target
from llmfail.engine.planning.price_lookup import TargetPrices
from llmfail.prices import Catalogue
from llmfail.settings import load

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
CONFIG = """\
providers:
  anthropic: {{api: anthropic, api_key: k}}
  openai: {{api: openai, api_key: k}}
  google: {{api: gemini, api_key: k}}
  mine: {{api: openai, base_url: "https://api.openai.com/v1", api_key: k}}
  xai: {{api: openai, base_url: "http://127.0.0.1:2/v1", api_key: k}}
  deepseek: {{api: openai, base_url: "http://127.0.0.1:1/v1", api_key: none}}
  elsewhere: {{api: openai, base_url: "https://gateway.example/v1", api_key: k}}
  global: {{api: vertex, project: p}}
  europe: {{api: vertex, project: p, location: europe-west1}}
models: {{{models}}}
"""


@pytest.fixture
def prices(tmp_path):
    def prices(models=""):
        file = tmp_path / "llmfail.yaml"
        file.write_text(CONFIG.format(models=models))
        return TargetPrices(load(file, {}, tmp_path, tmp_path), Catalogue())

    return prices


def shown(price, moment=NOW, variant=None):
    """USD per million tokens: input, output, cached, written, written for an hour."""
    if price is None:
        return None
    rates = price.at(moment, variant)
    parts = (rates.input, rates.output, rates.cached_input, rates.cache_write, rates.cache_write_1h)
    return " ".join("-" if one is None else f"{(Decimal(one.base) / 10**6).normalize():f}" for one in parts)


OVER = {
    "nothing configured": ("", "2 10 0.1 2.5 4", "catalogue", "2026-11-09"),
    "all of it": (
        "{input: 3, output: 15, cached_input: 1, cache_write: 4, cache_write_1h: 5}",
        "3 15 1 4 5",
        "config",
        None,
    ),
    "input alone": ("{input: 3}", "3 10 - - -", "config", "2026-11-09"),
    "output alone": ("{output: 15}", "2 15 0.1 2.5 4", "config", "2026-11-09"),
    "input and output": ("{input: 3, output: 15}", "3 15 - - -", "config", None),
    "cached reads alone": ("{cached_input: 1}", "2 10 1 2.5 4", "catalogue", "2026-11-09"),
    "for nothing": ("{input: 0, output: 0}", "0 0 - - -", "config", None),
    "an empty price": ("{}", "2 10 0.1 2.5 4", "catalogue", "2026-11-09"),
}


@pytest.mark.parametrize(("price", "expected", "source", "as_of"), OVER.values(), ids=OVER)
def test_a_configured_key_replaces_that_of_the_catalogue(prices, price, expected, source, as_of):
    written = f"anthropic/claude-sonnet-5-5: {{price: {price}}}" if price else ""
    found = prices(written).find(Target("anthropic", "claude-sonnet-5-5"))
    assert shown(found) == expected
    assert (found.source, found.as_of) == (source, as_of)


def test_a_configured_key_counts_at_every_moment_and_for_every_variant(prices):
    price = prices("google/gemini-4-argon: {price: {output: 7}}").find(Target("google", "gemini-4-argon"))
    later = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert shown(price) == "2 7 0.1 - -"
    assert shown(price, later) == "4 7 0.2 - -"
    assert shown(price, later, "batch") == "2 7 0.1 - -"


UNKNOWN = {
    "a model that nobody lists": ("openai/nonesuch", ""),
    "a provider that nobody knows": ("elsewhere/gpt-5", ""),
    "a model that is paid by the minute": ("openai/whisper-1", ""),
    "a server that wants no key": ("deepseek/deepseek-v4-pro", ""),
    "input without output": ("elsewhere/m", "elsewhere/m: {price: {input: 1}}"),
    "output without input": ("elsewhere/m", "elsewhere/m: {price: {output: 1, cached_input: 1}}"),
}


@pytest.mark.parametrize(("target", "models"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_nobody_knows_is_unknown_and_never_free(prices, target, models):
    assert prices(models).find(Target.parse(target)) is None


def test_a_server_that_wants_no_key_costs_what_the_configuration_says(prices):
    known = prices("deepseek/deepseek-v4-pro: {price: {input: 0, output: 0}}")
    assert shown(known.find(Target("deepseek", "deepseek-v4-pro"))) == "0 0 - - -"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("mine/gpt-6.1-terra", "1 5 0.05 1.25 -"),
        ("xai/grok-4.7", "2 6 0.5 - -"),
        ("global/gemini-3.8-flash", "0.75 3.75 0.075 - -"),
        ("openrouter/openai/gpt-6.1-terra", "1 5 0.05 1.25 -"),
    ],
)
def test_a_provider_is_known_by_its_host_or_by_its_name_even_when_it_is_not_configured(
    prices, target, expected
):
    assert shown(prices().find(Target.parse(target))) == expected


@pytest.mark.parametrize(
    ("model", "at_home", "elsewhere"),
    [
        ("claude-sonnet-4-5@20250929", "3 15", "3.3 16.5"),
        ("claude-opus-5-5", "4 20", "4.4 22"),
        ("claude-haiku-4-5@20251001", "1 5", "1.1 5.5"),
        ("claude-opus-4-1@20250805", "15 75", "15 75"),
        ("claude-3-5-haiku@20241022", "0.8 4", "0.8 4"),
        ("gemini-3.8-flash", "0.75 3.75", "0.75 3.75"),
    ],
)
def test_a_claude_costs_a_tenth_more_on_vertex_outside_the_global_endpoint(prices, model, at_home, elsewhere):
    known = prices()
    assert shown(known.find(Target("global", model))).startswith(f"{at_home} ")
    assert shown(known.find(Target("europe", model))).startswith(f"{elsewhere} ")


def test_variants_are_those_of_the_provider_itself(prices):
    anthropic, vertex = (Target(name, "claude-sonnet-5") for name in ("anthropic", "global"))
    known = prices()
    assert shown(known.find(vertex)) == shown(known.find(anthropic))
    assert shown(known.find(anthropic), NOW, "batch").startswith("1 5 ")
    assert shown(known.find(vertex), NOW, "batch") == shown(known.find(vertex))


ANSWERED = {
    "nobody says": (None, "google/gemini-2.5-pro", "", "1.25 10"),
    "the same": ("gemini-2.5-pro", "google/gemini-2.5-pro", "", "1.25 10"),
    "a successor": ("gemini-3.8-flash", "google/gemini-2.5-pro", "", "0.75 3.75"),
    "a dated name of the same": ("gpt-6.1-terra-2026-10-01", "openai/gpt-6.1-terra", "", "1 5"),
    "a dated name of one that is configured": (
        "gpt-6.1-terra-2026-10-01",
        "openai/gpt-6.1-terra",
        "openai/gpt-6.1-terra: {price: {input: 7, output: 8}}",
        "7 8",
    ),
    "a successor of one that is configured": (
        "gemini-3.8-flash",
        "google/gemini-2.5-pro",
        "google/gemini-2.5-pro: {price: {input: 7, output: 8}}",
        "0.75 3.75",
    ),
    "a successor that is configured": (
        "gemini-3.8-flash",
        "google/gemini-2.5-pro",
        "google/gemini-3.8-flash: {price: {input: 7, output: 8}}",
        "7 8",
    ),
    "one that nobody knows": ("nonesuch", "openai/gpt-6.1-terra", "", "1 5"),
    "one that is known, asked for by a name of ours with a price of ours": (
        "gpt-6.1-terra",
        "openai/our-deployment",
        "openai/our-deployment: {price: {input: 7, output: 8}}",
        "7 8",
    ),
    "one that is known, asked for by a name that nobody knows": (
        "gpt-6.1-terra",
        "openai/our-deployment",
        "",
        "1 5",
    ),
    "a name without end": ("x" * 100_000, "openai/gpt-6.1-terra", "", "1 5"),
}


@pytest.mark.parametrize(("model", "asked", "models", "expected"), ANSWERED.values(), ids=ANSWERED)
def test_the_price_is_that_of_the_model_that_answered(prices, model, asked, models, expected):
    found = prices(models).find_billed(Target.parse(asked), model)
    assert shown(found).startswith(expected)


@pytest.mark.parametrize(
    ("target", "context", "max_output", "retires"),
    [
        ("openai/gpt-6.1-terra", 922_000, 128_000, None),
        ("openai/gpt-5", 272_000, 128_000, date(2026, 12, 11)),
        ("openai/gpt-5-2025-08-07", 272_000, 128_000, date(2026, 12, 11)),
        ("global/claude-sonnet-4-5@20250929", 200_000, 64_000, date(2026, 11, 30)),
        ("google/gemini-2.5-pro", 1_048_576, 65_536, date(2026, 12, 1)),
        ("openai/nonesuch", None, None, None),
        ("deepseek/deepseek-chat", None, None, None),
    ],
)
def test_the_catalogue_knows_what_a_model_takes_and_when_it_ends(
    prices, target, context, max_output, retires
):
    facts = prices().facts(Target.parse(target))
    assert (facts.context, facts.max_output, facts.retires) == (context, max_output, retires)


def test_the_catalogue_is_dated(prices):
    assert prices().as_of == "2026-11-09"
