"""What is valid and likely to be a mistake is a warning."""

from __future__ import annotations

import json
from datetime import date
from textwrap import dedent

import pytest

from llmfail.engine.planning.price_lookup import TargetPrices
from llmfail.prices import Catalogue
from llmfail.settings.advice.lint import lint
from llmfail.settings.advice.spelling import check_spelling
from llmfail.settings.reading.find import packaged_config_path
from llmfail.settings.reading.load import examine
from llmfail.settings.reading.plain_values import format_place

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
        settings = examination.result.settings
        found = lint(settings, today, TargetPrices(settings, Catalogue()))
        return {format_place(place): message for place, message in found}

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
        "primary: a/m, fallbacks: [o/m]",
        {"features.x.fallbacks": "no fallback takes the 1,000 tokens that the primary takes: o/m (500)"},
    ),
    "a smaller context beside one that is not known": ("primary: a/m, fallbacks: [g/m, o/m]", {}),
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


def test_a_key_with_which_no_program_can_ask_is_told(warnings):
    keys = "[{name: old, key: k, expires: 2026-11-19}, {name: new, key: k, expires: 2026-11-20}, "
    keys += "{name: no, key: '${N}'}]"
    found = warnings(f"{PROVIDERS}\nserve: {{keys: {keys}}}")
    assert {place: found[place] for place in found if place.startswith("serve")} == {
        "serve.keys[0]": "the key old has expired on 2026-11-19",
        "serve.keys[2]": "the key no lets nobody in: its variable is not set",
    }


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


NOT_MEANT = {
    "a reference without braces": ("api_key: $SOME_KEY", "api_key", "is written ${SOME_KEY}"),
    "a reference of LiteLLM": ("api_key: os.environ/SOME_KEY", "api_key", "is written ${SOME_KEY}"),
    "a reference of cmd": ("api_key: '%SOME_KEY%'", "api_key", "is written ${SOME_KEY}"),
    "the name of a variable": ("api_key: SOME_API_KEY", "api_key", "is written ${SOME_API_KEY}"),
    "a placeholder": ("api_key: your-key-here", "api_key", "stands for a key"),
    "quotation marks in a variable": ("api_key: '${K}'", "api_key", "the value of K has quotation marks"),
    "an operation": (
        "api_key: none, base_url: 'https://h/v1/chat/completions'",
        "base_url",
        "/chat/completions is added to it; write https://h/v1",
    ),
    "a version twice": (
        "api: anthropic, api_key: none, base_url: 'https://h/v1'",
        "base_url",
        "/v1 is added to it; write https://h",
    ),
    "a version of Gemini": (
        "api: gemini, api_key: none, base_url: 'https://h/v1beta'",
        "base_url",
        "/v1beta is added to it, as api_version says; write https://h",
    ),
}


@pytest.mark.parametrize(("entry", "field", "message"), NOT_MEANT.values(), ids=NOT_MEANT)
def test_i9_what_cannot_be_meant_is_told_with_its_right_spelling(home, entry, field, message):
    path = home / "named.yaml"
    api = "" if entry.startswith("api:") else "api: openai, "
    path.write_text(f"providers: {{p: {{{api}{entry}}}}}")
    settings = examine(path, {"K": '"sk-hunter2"'}, home).result.settings
    [(place, told)] = check_spelling(settings)
    assert place == ("providers", "p", field)
    assert message in told
    assert "hunter2" not in told


@pytest.mark.parametrize("key", ["sk-0123456789abcdef", "none", "ollama", "AIzaSyA-0", "gsk_x", "not-needed"])
def test_a_key_that_may_be_one_is_not_doubted(home, key):
    path = home / "named.yaml"
    path.write_text(f"providers: {{p: {{api: openai, api_key: {key}, base_url: 'https://h/v1'}}}}")
    assert list(check_spelling(examine(path, {}, home).result.settings)) == []


LADDERS = {
    "behind a text": (
        "[{text: no}, {template: t}, cached]",
        {1: "is never reached: `text` before it always answers"},
    ),
    "the queue behind a text": (
        "[{text: no}, queue]",
        {1: "is reached with --strict only: `text` before it always answers"},
    ),
    "behind the queue": (
        "[{template: t}, queue, cached, {text: no}]",
        {2: "is never reached: `queue` before it ends the list"},
    ),
    "behind both": ("[{text: no}, queue, cached]", {1: "is reached with --strict only"}),
    "the queue twice": ("[queue, queue]", {1: "is never reached"}),
    "a text at the end": ("[{template: t}, {text: no}]", {}),
    "the queue at the end": ("[{template: t}, queue]", {}),
    "what may have no answer": ("[{template: t}, {rules: r}, {simplify: {keep_chars: 5}}, cached]", {}),
    "nothing": ("[]", {}),
}


@pytest.fixture
def ladder(warnings):
    """The warnings about the steps of a feature, by their number."""

    def ladder(steps):
        found = warnings(
            f"""\
            providers:
              l: {{api: openai, api_key: none}}
              m: {{api: openai, base_url: "http://m.example", api_key: none}}
            templates: {{t: Sorry}}
            rules: {{r: {{a: b}}}}
            features: {{x: {{primary: l/m, fallbacks: [m/m], degrade: {steps}}}}}
            """
        )
        return {int(place.removesuffix("]").rpartition("[")[2]): said for place, said in found.items()}

    return ladder


@pytest.mark.parametrize(("steps", "expected"), LADDERS.values(), ids=LADDERS)
def test_steps_that_nobody_comes_to_are_told_once(ladder, steps, expected):
    found = ladder(steps)
    assert set(found) == set(expected)
    assert all(part in found[index] for index, part in expected.items())


@pytest.mark.parametrize(
    ("own", "common", "is_told"),
    [
        ("", "", False),
        ("cache: {enabled: false}", "", True),
        ("cache: {ttl: 5}", "cache: {enabled: false}", True),
        ("cache: {enabled: true}", "cache: {enabled: false}", False),
        ("", "cache: {enabled: true}", False),
    ],
)
def test_a_stored_answer_where_none_is_ever_stored_is_told(warnings, own, common, is_told):
    found = warnings(f"features: {{x: {{degrade: [queue, cached], {own}}}}}\n{common}\n")
    told = "nothing is ever stored here: the cache of this feature is off"
    assert (told in found.values()) == is_told


PROGRAMS = {
    "./there": None,
    "inner/there": None,
    "./none": "'./none' is not there (a program named by its path is relative to the configuration)",
    "there/none": "'there/none' is not there",
    "./plain": "'./plain' is not an executable file",
    "./inner": "'./inner' is not an executable file",
    "/bin/sh": None,
    "/none/such": "'/none/such' is not there",
    "none": None,
    f"./{'x' * 5000}": "is not there",
}


@pytest.mark.parametrize(("name", "part"), PROGRAMS.items(), ids=lambda value: str(value)[:20])
def test_a_program_that_could_not_be_run_is_told(ladder, home, monkeypatch, name, part):
    (home / "inner").mkdir()
    for path in ("there", "inner/there", "plain"):
        (home / path).write_text("#!/bin/sh\n")
    (home / "there").chmod(0o755)
    (home / "inner/there").chmod(0o755)
    monkeypatch.chdir("/")
    found = ladder(f"[{{command: [{json.dumps(name)}, ./argument]}}]")
    assert set(found) == (set() if part is None else {0})
    assert part is None or part in found[0]


def test_the_program_that_the_packaged_configuration_names_is_for_its_copies_to_have(home):
    def told(path):
        examination = examine(path, {}, home)
        settings = examination.result.settings
        found = lint(settings, TODAY, TargetPrices(settings, Catalogue()))
        return [message for _, message in found if "./search.sh" in message]

    copy = home / "copy.yaml"
    copy.write_text(packaged_config_path().read_text())
    assert told(packaged_config_path()) == []
    assert len(told(copy)) == 1
