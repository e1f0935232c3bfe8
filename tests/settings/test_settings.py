"""What holds for a feature or a target, when several places have a say."""

from __future__ import annotations

import pytest

from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.settings import UnknownName
from llmfail.settings.schema.types import Defaults

TEXT = """\
defaults: {timeout: 10, retries: 2}
breaker: {failure_threshold: 7, window: 30}
providers:
  slow: {api: openai, api_key: none, timeout: 40, breaker: {window: 31, backoff: 3}}
  plain: {api: openai, api_key: none}
models:
  slow/known: {timeout: 50, breaker: {backoff: 4}, price: {input: 1.5, output: 2}}
  plain/x: {}
features:
  quick: {timeout: 5, max_tokens: 9, aliases: [fast], primary: plain/y, fallbacks: [slow/known]}
  usual: {}
"""
SLOW, KNOWN, PLAIN = Target("slow", "any"), Target("slow", "known"), Target("plain", "x")
TIMEOUTS = {
    ("usual", PLAIN): 10,
    ("quick", PLAIN): 5,
    ("quick", SLOW): 40,
    ("usual", SLOW): 40,
    ("quick", KNOWN): 50,
}


@pytest.fixture
def settings(settings_of):
    return settings_of(TEXT)


@pytest.mark.parametrize(("asked", "seconds"), TIMEOUTS.items(), ids=str)
def test_the_nearest_timeout_counts(settings, asked, seconds):
    feature, target = asked
    assert settings.configured_timeout(settings.find_feature(feature), target) == seconds


def test_breaker_rules_are_overridden_key_by_key(settings):
    assert settings.breaker_rules_of(PLAIN) == BreakerRules(failure_threshold=7, window=30)
    assert settings.breaker_rules_of(SLOW) == BreakerRules(failure_threshold=7, window=31, backoff=3)
    assert settings.breaker_rules_of(KNOWN) == BreakerRules(failure_threshold=7, window=31, backoff=4)


def test_a_file_that_says_nothing_has_the_rules_of_the_breaker(settings_of):
    settings = settings_of("providers: {p: {api: openai}}")
    assert settings.breaker_rules_of(Target("p", "m")) == BreakerRules()
    assert settings.defaults == Defaults()


def test_features_have_their_own_numbers_or_the_defaults(settings):
    assert settings.resolve_defaults(settings.find_feature("quick")) == Defaults(
        timeout=5, retries=2, max_tokens=9
    )
    assert settings.resolve_defaults(settings.find_feature("usual")) == Defaults(timeout=10, retries=2)


def test_a_feature_is_found_by_its_alias(settings):
    assert settings.find_feature("fast").name == "quick"


def test_there_is_always_a_default_feature(settings, settings_of):
    assert settings.find_feature("default").chain == ()
    assert list(settings_of("version: 1").features) == ["default"]


def test_an_unknown_feature_is_a_usage_error_that_names_the_nearest_and_all(settings):
    with pytest.raises(
        UnknownName, match=r"'qick'; did you mean quick\? \(configured: quick, usual\)"
    ) as caught:
        settings.find_feature("qick")
    assert isinstance(caught.value, UsageError)


def test_an_unknown_provider_is_a_usage_error(settings):
    with pytest.raises(UnknownName, match="no provider 'nobody'"):
        settings.provider_of(Target("nobody", "m"))


def test_all_targets_are_those_of_models_then_those_of_features(settings):
    assert list(map(str, settings.list_targets())) == ["slow/known", "plain/x", "plain/y"]


def test_a_price_is_known_or_not(settings):
    assert str(settings.price_of(KNOWN).input) == "1.5"
    assert settings.price_of(PLAIN) is None
    assert settings.price_of(SLOW) is None
