"""What is written is what is meant."""

from __future__ import annotations

from decimal import Decimal

import pytest

from llmfail.core.model import Secret, Target
from llmfail.settings.schema.degrade_steps import Cached, CommandStep, Queue, RulesStep, ShortenStep
from llmfail.settings.schema.provider_types import CredentialSource
from llmfail.settings.schema.quantity import parse_seconds
from llmfail.settings.schema.scalars import split_url
from llmfail.settings.schema.types import Fallback

DURATIONS = {"30": 30, "1.5": 1.5, "30s": 30, "10m": 600, "2h": 7200, "7d": 604800, "0.5h": 1800, "1e2": 100}
PARTS = {"1m30s": 90, "2h05m": 7500, "1d12h": 129_600, "1h1s": 3601}
BOOLEANS = {"true": True, "True": True, "yes": True, "on": True, "no": False, "off": False, "FALSE": False}
COUNTS = {"3": 3, "3.0": 3, "1e3": 1000, "0x10": 16, "0o17": 15, "007": 7, "+4": 4}
MONEY = {"50.00": "50", "0.1": "0.1", "1e3": "1000", "0.000000001": "0.000000001", "0": "0"}
SIZES = {"500MB": 500_000_000, "2GiB": 2 * 1024**3, "10": 10, "1.5 kB": 1500, "100b": 100}
STAYS_TEXT = ["yes", "1:30", "2026-11-20", "0b1", "1_000", ".", "0x", "1.2.3", "nan", "inf"]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_durations_are_seconds_or_have_a_unit(settings_of, text, seconds):
    assert settings_of(f"defaults: {{timeout: {text}}}").defaults.timeout == seconds


@pytest.mark.parametrize(("text", "value"), BOOLEANS.items())
def test_booleans_are_written_as_people_write_them(settings_of, text, value):
    assert settings_of(f"cache: {{enabled: {text}}}").cache.enabled is value


@pytest.mark.parametrize(("text", "value"), COUNTS.items())
def test_whole_numbers_may_be_written_in_any_way_that_is_whole(settings_of, text, value):
    assert settings_of(f"breaker: {{failure_threshold: {text}}}").breaker.failure_threshold == value


@pytest.mark.parametrize(("text", "usd"), MONEY.items())
def test_money_is_exactly_what_is_written(settings_of, text, usd):
    settings = settings_of(f"budgets: [{{name: a, limit: {text}, per: day}}]")
    assert settings.budgets[0].limit == Decimal(usd)


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_sizes_have_units(settings_of, text, size):
    assert settings_of(f"cache: {{max_size: {text}}}").cache.max_size == size


@pytest.mark.parametrize("text", STAYS_TEXT)
def test_text_that_old_yaml_takes_for_something_else_stays_text(settings_of, text):
    assert settings_of(f"templates: {{t: {text}}}").templates["t"] == text


def test_a_name_may_look_like_a_number_or_a_boolean(settings_of):
    settings = settings_of("features: {1: {aliases: [yes]}, on: {}, null: {}}")
    assert list(settings.features) == ["1", "on", "null"]
    assert settings.find_feature("yes").name == "1"


def test_a_section_with_every_line_commented_out_is_empty(settings_of):
    settings = settings_of("providers:\nfeatures:\n  vpr:\nbudgets:\ncache:\n")
    assert settings.providers == {}
    assert settings.budgets == ()
    assert settings.cache.enabled
    assert settings.find_feature("vpr").chain == ()


def test_anchors_and_merge_keys_work_and_what_is_written_out_wins(settings_of):
    settings = settings_of(
        """\
        providers:
          a: &base {api: openai, api_key: none, timeout: 5, breaker: {window: 7}}
          b: {<<: *base, timeout: 6}
          c: {timeout: 8, <<: [{api: gemini}, *base]}
        """
    )
    assert (settings.providers["b"].timeout, settings.providers["b"].breaker.window) == (6, 7)
    assert (settings.providers["c"].api, settings.providers["c"].timeout) == ("gemini", 8)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(home, state):
    from llmfail.settings import load

    (home / "named.yaml").write_bytes("﻿version: 1\r\ncache:\r\n  ttl: 5\r\n".encode())
    assert load(home / "named.yaml", {}, home, state).cache.ttl == 5


def test_fallbacks_are_short_or_long(settings_of):
    settings = settings_of(
        """\
        providers: {a: {api: openai}, b: {api: openai}}
        features: {x: {primary: a/m, fallbacks: [b/org/m:free, {target: a/n, note: long, weight: 10}]}}
        """
    )
    assert settings.find_feature("x").fallbacks == (
        Fallback(target=Target("b", "org/m:free")),
        Fallback(target=Target("a", "n"), note="long", weight=10.0),
    )


def test_every_kind_of_degrade_step_is_read_in_its_order(settings_of):
    settings = settings_of(
        """\
        templates: {sorry: Sorry}
        rules: {pii: {mail: '@'}}
        features:
          x:
            degrade:
              - cached
              - simplify: {keep_chars: 10, prefix: "Briefly.\\n"}
              - template: sorry
              - rules: pii
                on_none: clean
              - {command: [./search.sh, -q], timeout: 3s}
              - text: '{"flag": true}'
              - queue
        """
    )
    cached, simplify, template, rules, command, text, queue = settings.find_feature("x").degrade
    assert isinstance(cached, Cached)
    assert isinstance(simplify, ShortenStep)
    assert simplify.simplify.prefix == "Briefly.\n"
    assert template.template == "sorry"
    assert rules == RulesStep(rules="pii", on_none="clean")
    assert command == CommandStep(command=("./search.sh", "-q"), timeout=3.0)
    assert text.text == '{"flag": true}'
    assert isinstance(queue, Queue)


CREDENTIALS = {
    "{api: openai, api_key: '${K}'}": (CredentialSource.KEY, Secret("k-123"), "K", None),
    "{api: openai, api_key: ' literal\n '}": (CredentialSource.KEY, Secret("literal"), None, None),
    "{api: openai, api_key: '${GONE}'}": (CredentialSource.KEY, None, "GONE", "set GONE"),
    "{api: openai, api_key: '${BLANK}'}": (CredentialSource.KEY, None, "BLANK", "set BLANK"),
    "{api: openai, api_key: '${GONE:-x}'}": (CredentialSource.KEY, Secret("x"), "GONE", None),
    "{api: openai}": (CredentialSource.KEY, None, None, "set api_key of provider p"),
    "{api: openai, api_key: none}": (CredentialSource.NONE, None, None, None),
    "{api: vertex, project: me}": (CredentialSource.GOOGLE, None, None, None),
    "{api: vertex}": (
        CredentialSource.GOOGLE,
        None,
        None,
        "set project of provider p (GOOGLE_CLOUD_PROJECT)",
    ),
    "{api: vertex, project: '${GONE:-}'}": (
        CredentialSource.GOOGLE,
        None,
        None,
        "set project of provider p (GOOGLE_CLOUD_PROJECT)",
    ),
    "{api: vertex, token: '${K}', project: me}": (CredentialSource.KEY, None, "K", None),
    "{api: vertex, token: '${GONE}', project: me}": (CredentialSource.KEY, None, "GONE", "set GONE"),
}


@pytest.mark.parametrize(("entry", "expected"), CREDENTIALS.items(), ids=CREDENTIALS)
def test_a_provider_knows_its_key_and_what_it_lacks(settings_of, entry, expected):
    provider = settings_of(f"providers: {{p: {entry}}}", K=" k-123\n", BLANK="  ").providers["p"]
    found = (provider.credential, provider.api_key, provider.key_variable, provider.missing_credential_hint)
    assert found == expected
    assert provider.needs_key == (provider.credential is CredentialSource.KEY)


def test_a_token_is_a_key_of_vertex(settings_of):
    text = "providers: {p: {api: vertex, project: me, token: '${T}'}}"
    provider = settings_of(text, T="ya29.x").providers["p"]
    assert provider.token == Secret("ya29.x")
    assert provider.missing_credential_hint is None
    assert settings_of(text).providers["p"].missing_credential_hint == "set T"


@pytest.mark.parametrize(("text", "seconds"), PARTS.items(), ids=PARTS)
def test_i16_a_duration_may_have_several_parts_the_larger_first(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["30s1m", "1m30", "1m1m", "1.5m30s", "1m 30s", "m30s", "0m0s"])
def test_i16_other_parts_are_no_duration(text):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_seconds(text)


def test_i16_money_may_have_its_sign_as_on_the_command_line(settings_of):
    [budget] = settings_of('budgets: [{name: a, limit: "$2.50", per: day}]').budgets
    assert budget.limit == Decimal("2.50")


@pytest.mark.parametrize("character", "!$&'()*+,;=")
def test_i14_a_base_url_may_have_every_character_of_a_path(character):
    assert split_url(f"https://h/a{character}b/v1") == ("https", "h", None, f"/a{character}b/v1")


def test_base_urls_have_defaults_and_lose_their_last_slash(settings_of):
    settings = settings_of(
        """\
        providers:
          a: {api: anthropic}
          o: {api: openai}
          g: {api: gemini}
          v: {api: vertex}
          l: {api: openai, base_url: "http://[::1]:8080/v1/"}
        """
    )
    assert [provider.base_url for provider in settings.providers.values()] == [
        "https://api.anthropic.com",
        "https://api.openai.com/v1",
        "https://generativelanguage.googleapis.com",
        None,
        "http://[::1]:8080/v1",
    ]
    assert settings.providers["v"].location == "global"


def test_provider_fallbacks_are_providers_or_targets(settings_of):
    settings = settings_of("providers: {a: {api: openai, fallbacks: [b, b/m]}, b: {api: openai}}")
    assert settings.providers["a"].fallbacks == ("b", Target("b", "m"))


def test_no_representation_of_settings_shows_a_key(settings_of):
    settings = settings_of("providers: {p: {api: openai, api_key: '${K}'}}", K="hunter2")
    assert "hunter2" not in repr(settings)
    assert settings.providers["p"].api_key == Secret("hunter2")
