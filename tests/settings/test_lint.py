"""What is valid and likely to be a mistake is a warning."""

from __future__ import annotations

from datetime import date
from textwrap import dedent

import pytest

from llmfail.engine.prices import Prices
from llmfail.prices import Catalogue
from llmfail.settings.lint import NOT_YET, lint
from llmfail.settings.load import examine
from llmfail.settings.plain import dotted

TODAY = date(2026, 11, 20)
PRICE = "price: {input: 1, output: 2}"
PROVIDERS = """\
providers:
  a: {api: anthropic, api_key: "${A}"}
  o: {api: openai, api_key: "${O}"}
  o2: {api: openai, base_url: "https://other.example/v1", api_key: "${O}"}
  g: {api: gemini, api_key: "${G}"}
  v: {api: vertex, project: p}
  l: {api: openai, base_url: "http://localhost:1/v1", api_key: none}
  l2: {api: openai, base_url: "http://localhost:2/v1", api_key: none}
models:
  a/m: {context: 1000, price: {input: 1, output: 2}}
  a/n: {price: {input: 1, output: 2}}
  o/m: {context: 500, price: {input: 1, output: 2}}
  o/n: {context: 950, price: {input: 1, output: 2}}
  o2/m: {price: {input: 1, output: 2}}
  g/m: {price: {input: 1, output: 2}}
  v/m: {price: {input: 1, output: 2}}
"""


@pytest.fixture
def warnings(home):
    def warnings(text, today=TODAY):
        path = home / "named.yaml"
        path.write_text(dedent(text))
        examination = examine(path, {}, home)
        assert examination.problems == ()
        settings = examination.reading.settings
        found = lint(settings, examination.tree, today, Prices(settings, Catalogue()))
        return {dotted(place): message for place, message in found}

    return warnings


CHAINS = {
    "a good chain": ("primary: a/m, fallbacks: [o/n, g/m]", {}),
    "the same provider twice": (
        "primary: a/m, fallbacks: [g/m, a/n]",
        {"features.x.fallbacks[1]": "a/n uses the same credential as a/m"},
    ),
    "the same variable at two providers": (
        "primary: a/m, fallbacks: [o/n, o2/m]",
        {"features.x.fallbacks[1]": "o2/m uses the same credential as o/n"},
    ),
    "one vendor under two names": (
        "primary: g/m, fallbacks: [v/m]",
        {"features.x.fallbacks": "every target is at Google"},
    ),
    "one host": ("primary: a/m, fallbacks: [a/n]", {"features.x.fallbacks": "at api.anthropic.com"}),
    "a smaller context": (
        "primary: a/m, fallbacks: [g/m, o/m]",
        {"features.x.fallbacks": "smaller context than the 1,000 tokens of what precedes: o/m (500)"},
    ),
    "a context that is smaller by a trifle": ("primary: a/m, fallbacks: [o/n]", {}),
    "a larger context": ("primary: o/m, fallbacks: [a/m]", {}),
    "no fallback": ("primary: a/m", {"features.x.primary": "a/m has no fallback"}),
    "no price": ("primary: a/m, fallbacks: [o/q]", {"features.x.fallbacks[0]": "o/q has no price"}),
    "no price of a local model": ("primary: a/m, fallbacks: [l/q]", {}),
    "no credential twice": ("primary: l/x, fallbacks: [a/m, l2/x]", {}),
}


@pytest.mark.parametrize(("chain", "expected"), CHAINS.values(), ids=CHAINS)
def test_chains_are_looked_at(warnings, chain, expected):
    found = warnings(PROVIDERS + f"features: {{x: {{{chain}}}}}\n")
    assert set(found) == set(expected)
    assert all(part in found[place] for place, part in expected.items())


ENDS = {
    ("o/gpt-5", TODAY): "retires on 2026-12-11",
    ("o/gpt-5", date(2026, 12, 11)): "was retired on 2026-12-11",
    ("o/gpt-5", date(2026, 9, 12)): "retires on 2026-12-11",
    ("o/gpt-5", date(2026, 9, 11)): None,
    ("a/claude-sonnet-4-5-20250929", TODAY): "retires on 2026-11-30",
    ("o/openai/gpt-4o", TODAY): "retires on 2027-01-14",
    ("v/claude-sonnet-4@20250514", TODAY): "was retired on 2026-06-15",
    ("g/gemini-2.0-flash", TODAY): "is retired",
    ("g/gemini-2.5-pro", TODAY): "gemini-3.8-flash answers instead",
    ("o/gpt-5.4-nano", TODAY): None,
    ("o/gpt-6-luna", TODAY): None,
}


@pytest.mark.parametrize(("asked", "part"), ENDS.items(), ids=str)
def test_retired_models_are_named_and_those_that_soon_are(warnings, asked, part):
    target, today = asked
    found = warnings(f"{PROVIDERS}  {target}: {{{PRICE}}}\n", today).get(f"models.{target}")
    assert found is None if part is None else part in found


def test_a_key_that_goes_to_another_than_its_owner_is_told(warnings):
    found = warnings("providers: {groq: {api: openai, api_key: '${GROQ_API_KEY}'}}")
    assert found["providers.groq.base_url"] == (
        "GROQ_API_KEY goes to api.openai.com; its owner is api.groq.com"
    )


NOBODY = {
    "no provider": ("providers: {}", "providers"),
    "nothing": ("version: 1", "providers"),
    "a provider and no feature": ("providers: {l: {api: openai, api_key: none}}", "features"),
    "a feature without a target": (
        "providers: {l: {api: openai, api_key: none}}\nfeatures: {x: {}}",
        "features",
    ),
    "a feature that can choose": (
        "providers: {l: {api: openai, api_key: none}}\nfeatures: {x: {}}\nmodels: {l/m: {}}",
        None,
    ),
    "a feature with a target": (
        "providers: {l: {api: openai, api_key: none}}\nfeatures: {x: {primary: l/m}}",
        None,
    ),
}


@pytest.mark.parametrize(("text", "place"), NOBODY.values(), ids=NOBODY)
def test_a_configuration_with_which_nothing_can_answer_is_told(warnings, text, place):
    found = {at for at, message in warnings(text).items() if "nothing can answer" in message}
    assert found == ({place} if place else set())


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("store: redis://localhost:6379/0", {}),
        ("store: disk", {"LLMFAIL_STORE": "redis://localhost:6379/0"}),
    ],
)
def test_a_store_that_is_not_there_yet_is_valid_and_told_wherever_it_is_named(home, text, environ):
    path = home / "named.yaml"
    path.write_text(text)
    examination = examine(path, environ, home)
    assert examination.problems == ()
    settings = examination.reading.settings
    found = dict(lint(settings, examination.tree, TODAY, Prices(settings, Catalogue())))
    assert "redis is not supported by this version yet" in found["store",]


def test_what_is_not_used_yet_is_one_line_that_names_only_what_the_file_has(warnings):
    found = warnings(
        """\
        providers: {l: {api: openai, api_key: none, limits: {requests_per_minute: 5}}}
        features: {x: {primary: l/m, degrade: [cached], fallbacks: []}}
        budgets: []
        cache: {ttl: 5}
        """
    )
    assert found[""] == ("valid, but not used by this version yet: cache, features.*.degrade")


def test_what_is_not_used_yet_exists(warnings):
    assert len(set(NOT_YET)) == len(NOT_YET)
