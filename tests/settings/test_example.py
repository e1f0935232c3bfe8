"""The configuration that ships is valid, complete, current, and does what the contract's table says."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml

from llmfail.core.model import Target
from llmfail.engine.planning.price_lookup import TargetPrices
from llmfail.prices import Catalogue
from llmfail.settings import load
from llmfail.settings.advice.lint import lint
from llmfail.settings.advice.show import collect_effective_values
from llmfail.settings.reading.find import packaged_config_path
from llmfail.settings.reading.load import examine
from llmfail.settings.schema.config_schema import build_schema
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import (
    MappingShape,
    OptionalShape,
    StructShape,
    shape_of,
)

FEATURES = {
    # name: alias, priority, vendors in order, first step when all are down, timeout, max_tokens
    "vpr": ("vpr_generator", "strategic", "anthropic openai google", "cached", 60, 4096),
    "gap_analysis": (None, "strategic", "anthropic openai google", "simplify", 90, 8192),
    "cv_tailoring": (None, "template", "anthropic openai google", "template", 30, 2048),
    "cover_letter": (None, "template", "anthropic openai google", "template", 30, 2048),
    "interview_prep": (None, "strategic", "anthropic openai google", "cached", 60, 4096),
    "company_research": (None, "template", "anthropic openai google", "command", 20, 1024),
    "pii_detection": (None, "validation", "anthropic openai google", "rules", 15, 512),
    "fvs_validation": (None, None, "anthropic openai", "text", 45, 2048),
}


@pytest.fixture
def examination(home):
    return examine(packaged_config_path(), {}, home)


@pytest.fixture
def settings(home, state):
    return load(packaged_config_path(), {}, home, state)


def test_the_packaged_file_is_the_example():
    assert (
        packaged_config_path().read_text() == (Path(__file__).parents[2] / "llmfail.example.yaml").read_text()
    )


def test_i10_it_is_valid_without_any_key_and_warns_of_nothing(examination):
    assert examination.problems == ()
    settings = examination.result.settings
    assert lint(settings, date(2026, 11, 20), TargetPrices(settings, Catalogue())) == ()


@pytest.mark.parametrize(("name", "row"), FEATURES.items(), ids=FEATURES)
def test_its_features_are_those_of_the_contract(settings, name, row):
    alias, priority, vendors, step, timeout, max_tokens = row
    feature = settings.find_feature(name)
    assert feature.aliases == ((alias,) if alias else ())
    assert feature.priority == (priority or feature.priority)
    assert [link.target.provider for link in feature.chain] == vendors.split()
    assert step in str(feature.degrade[0]).lower().replace("fixed", "text")
    assert (feature.timeout, feature.max_tokens) == (timeout, max_tokens)


@pytest.mark.parametrize("name", FEATURES)
def test_every_target_of_a_feature_has_time_for_its_whole_timeout(settings, name):
    feature = settings.find_feature(name)
    assert settings.resolve_defaults(feature).deadline >= sum(
        settings.configured_timeout(feature, link.target) for link in feature.chain
    )


def test_any_one_key_is_enough_for_an_ask_without_a_feature(settings):
    chained = {link.target.provider for link in settings.find_feature("default").chain}
    assert chained == set(settings.providers) - {"local"}


def test_nothing_but_the_local_server_is_usable_without_a_key(settings):
    assert [
        name for name, provider in settings.providers.items() if provider.missing_credential_hint is None
    ] == ["local"]


def test_every_target_has_a_price_and_a_context_and_every_rated_one_a_quality(settings):
    prices = TargetPrices(settings, Catalogue())
    assert [target for target in settings.list_targets() if prices.find(target) is None] == []
    assert [target for target in settings.list_targets() if prices.facts(target).context is None] == []
    assert settings.model_of(Target("anthropic", "claude-sonnet-5-5")).quality


def test_it_validates_against_the_schema_for_editors():
    jsonschema.validate(yaml.safe_load(packaged_config_path().read_text()), build_schema())


def test_it_shows_every_key_that_there_is():
    text = packaged_config_path().read_text()
    assert [key for key in all_keys(shape_of(Settings)) if key not in text] == []


def all_keys(shape):
    if isinstance(shape, StructShape):
        for name, inner in shape.keys.items():
            yield name
            yield from all_keys(inner)
    if isinstance(shape, MappingShape):
        yield from all_keys(shape.item)
    if isinstance(shape, OptionalShape):
        yield from all_keys(shape.shape)


def test_every_default_that_it_shows_is_the_default(home, examination, tmp_path):
    empty = tmp_path / "empty.yaml"
    empty.write_text("version: 1")
    shown, defaults = (
        collect_effective_values(examination),
        collect_effective_values(examine(empty, {}, home)),
    )
    sections = set(shown) - {"providers", "models", "features", "templates", "rules"}
    assert {key: shown[key] for key in sections} == {key: defaults[key] for key in sections}
