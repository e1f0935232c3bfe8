"""The environment fills references and overrides anything, by its path."""

from __future__ import annotations

import pytest

from llmfail.core.errors import SettingsError
from llmfail.core.model import Secret, Target

TEXT = """\
providers:
  anthropic: {api: anthropic, api_key: none}
  my-own.host: {api: openai, api_key: none}
models:
  anthropic/claude-sonnet-5-5: {context: 1}
features:
  gap_analysis: {primary: anthropic/claude-sonnet-5-5, fallbacks: [my-own.host/m]}
budgets: [{name: daily, limit: 1, per: day}]
templates: {cv: hello}
"""


def overridden(settings_of, **environ):
    return settings_of(TEXT, **{f"LLMFAIL_{name}": value for name, value in environ.items()})


OVERRIDES = {
    "a number": ("BREAKER__FAILURE_THRESHOLD", "3", lambda s: s.breaker.failure_threshold == 3),
    "a number in another style": ("BREAKER__FAILURE_RATE", "1e-1", lambda s: s.breaker.failure_rate == 0.1),
    "a top-level word": ("STORE", "memory", lambda s: s.store == "memory"),
    "a top-level name of two words": ("STORE_TIMEOUT", "5s", lambda s: s.store_timeout == 5),
    "a boolean": ("CACHE__ENABLED", "no", lambda s: not s.cache.enabled),
    "in a provider": (
        "PROVIDERS__ANTHROPIC__BREAKER__RECOVERY_TIMEOUT",
        "120",
        lambda s: s.providers["anthropic"].breaker.recovery_timeout == 120,
    ),
    "in lower case": ("providers__anthropic__timeout", "7", lambda s: s.providers["anthropic"].timeout == 7),
    "a name with - and .": (
        "PROVIDERS__MY_OWN_HOST__TIMEOUT",
        "7",
        lambda s: s.providers["my-own.host"].timeout == 7,
    ),
    "a name with /": (
        "MODELS__ANTHROPIC_CLAUDE_SONNET_5_5__CONTEXT",
        "9",
        lambda s: s.model_of(Target("anthropic", "claude-sonnet-5-5")).context == 9,
    ),
    "a key": (
        "PROVIDERS__ANTHROPIC__API_KEY",
        "00123",
        lambda s: s.providers["anthropic"].api_key == Secret("00123"),
    ),
    "no key": ("PROVIDERS__ANTHROPIC__API_KEY", "", lambda s: s.providers["anthropic"].api_key is None),
    "a whole list": (
        "FEATURES__GAP_ANALYSIS__FALLBACKS",
        "[anthropic/x, {target: anthropic/y, weight: 2}]",
        lambda s: (
            [str(each.target) for each in s.find_feature("gap_analysis").fallbacks]
            == ["anthropic/x", "anthropic/y"]
        ),
    ),
    "an item of a list": ("BUDGETS__0__LIMIT", "2.5", lambda s: str(s.budgets[0].limit) == "2.5"),
    "a whole section": (
        "CACHE",
        "{ttl: 5, enabled: off}",
        lambda s: s.cache.ttl == 5 and not s.cache.enabled,
    ),
    "text that looks like YAML": (
        "FEATURES__GAP_ANALYSIS__SYSTEM",
        "Answer: {yes} # or $no or ${X}",
        lambda s: s.find_feature("gap_analysis").system == "Answer: {yes} # or $no or ${X}",
    ),
    "a word": (
        "FEATURES__GAP_ANALYSIS__PRIORITY",
        "validation",
        lambda s: s.find_feature("gap_analysis").priority == "validation",
    ),
    "null": (
        "MODELS__ANTHROPIC_CLAUDE_SONNET_5_5__CONTEXT",
        "null",
        lambda s: s.model_of(s.list_targets()[0]).context is None,
    ),
    "a new key in a section that is not there": (
        "ALERTS__ERROR_RATE",
        "0.5",
        lambda s: s.alerts.error_rate == 0.5,
    ),
}


@pytest.mark.parametrize(("name", "value", "holds"), OVERRIDES.values(), ids=OVERRIDES)
def test_a_variable_overrides_its_path(settings_of, name, value, holds):
    assert holds(overridden(settings_of, **{name: value}))


BAD_OVERRIDES = {
    "unknown section": ("BRAKER__WINDOW", "1", "braker", "did you mean breaker?"),
    "unknown key": ("BREAKER__WINDOWS", "1", "breaker.windows", "did you mean window?"),
    "single unknown word": ("FOO", "1", "foo", "unknown key"),
    "unknown provider": (
        "PROVIDERS__NOBODY__TIMEOUT",
        "1",
        "providers.nobody",
        "known: anthropic, my_own_host",
    ),
    "below a number": ("BREAKER__WINDOW__X", "1", "breaker.window.x", "unknown key"),
    "list item that is not there": ("BUDGETS__7__LIMIT", "1", "budgets.7", "unknown key"),
    "value out of range": ("BREAKER__FAILURE_RATE", "7", "breaker.failure_rate", "from 0 to 1"),
    "broken list": ("BUDGETS", "[{", "budgets", "not valid YAML"),
    "text for a list": ("BUDGETS", "5", "budgets", "expected a list"),
}


@pytest.mark.parametrize(("name", "value", "place", "message"), BAD_OVERRIDES.values(), ids=BAD_OVERRIDES)
def test_an_override_that_cannot_be_is_an_error_that_names_the_variable(
    settings_of, name, value, place, message
):
    with pytest.raises(SettingsError) as caught:
        overridden(settings_of, **{name: value})
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (place, None)
    assert problem.file == f"environment variable LLMFAIL_{name}"
    assert message in problem.message


def test_two_names_that_are_written_alike_cannot_be_told_apart(settings_of):
    with pytest.raises(SettingsError, match="several keys are written like this"):
        settings_of(
            "providers: {a-b: {api: openai}, a_b: {api: openai}}", LLMFAIL_PROVIDERS__A_B__TIMEOUT="5"
        )


def test_a_name_is_found_although_another_is_its_beginning(settings_of):
    text = "features: {cv: {}, cv__fast: {}}"
    settings = settings_of(text, LLMFAIL_FEATURES__CV__FAST__TIMEOUT="5")
    assert settings.find_feature("cv__fast").timeout == 5
    assert settings.find_feature("cv").timeout is None


@pytest.mark.parametrize("name", ["LLMFAIL_CONFIG", "LLMFAIL_STATE_DIR", "LLMFAIL_VERSION"])
def test_reserved_names_are_no_overrides(settings_of, name):
    assert settings_of("version: 1", **{name: "x"}).version == 1


def test_a_section_and_a_key_inside_it_can_both_be_overridden(settings_of):
    given = {"LLMFAIL_BREAKER": "{failure_threshold: 3}", "LLMFAIL_BREAKER__WINDOW": "30s"}
    breaker = settings_of("version: 1", **given).breaker
    assert (breaker.failure_threshold, breaker.window) == (3, 30)


REFERENCES = {
    "${A}": "one",
    "x${A}y${B}z": "xoneytwoz",
    "${GONE:-default}": "default",
    "${BLANK:-default}": "default",
    "${BLANK}": "",
    "${GONE:-}": "",
    "${GONE:-a $b :- c}": "a $$b :- c".replace("$$", "$"),
    "$${A}": "${A}",
    "$$${A}": "$${A}",
    "$A stays": "$A stays",
    "$${A} and ${A}": "${A} and one",
}


@pytest.mark.parametrize(("text", "value"), REFERENCES.items())
def test_references_are_replaced(settings_of, text, value):
    settings = settings_of(f"features: {{x: {{degrade: [text: '{text}']}}}}", A="one", B="two", BLANK="")
    assert settings.find_feature("x").degrade[0].text == value


def test_a_reference_needs_no_quotes_inside_braces(settings_of):
    settings = settings_of(
        """\
        # ${COMMENT}
        providers:
          google: {api: gemini, api_version: v1beta, api_key: ${K}}
          vertex: {api: vertex, project: ${GONE:-}, location: global}
          other: {api: openai, base_url: "http://${HOST}:${PORT:-80}/v1", api_key: ${GONE:-}}
        features: {x: {system: 'a } b { ${K}'}}
        """,
        K="k",
        HOST="h",
    )
    assert settings.providers["google"].api_key == Secret("k")
    assert settings.providers["vertex"].project is None
    assert settings.providers["other"].base_url == "http://h:80/v1"
    assert settings.find_feature("x").system == "a } b { k"


def test_a_reference_gives_numbers_and_booleans_where_those_are_wanted(settings_of):
    text = "breaker: {failure_threshold: '${N}', window: '${W}s', enabled: '${E}'}\nstore: ${S:-memory}"
    settings = settings_of(text, N="4", W="9", E="off")
    breaker = settings.breaker
    assert (breaker.failure_threshold, breaker.window, breaker.enabled) == (4, 9, False)
    assert settings.store == "memory"


def test_what_a_variable_holds_is_never_shown(settings_of):
    with pytest.raises(SettingsError) as caught:
        settings_of(
            """\
            store: ${K}
            defaults: {timeout: "${K}", temperature: "x${K}"}
            providers: {p: {api: "${K}", base_url: "${K}", project: "${K}", location: "${K}"}}
            """,
            K="Hunter2!",
        )
    assert len(caught.value.problems) >= 6
    assert "Hunter2" not in str(caught.value)
