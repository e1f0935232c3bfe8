"""What is wrong with a configuration is said in one line each: file, line, path, what was wanted."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import SettingsError
from llmfail.settings import load

PROVIDERS = "providers: {openai: {api: openai, api_key: none}, google: {api: gemini, api_key: none}}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

# id: (text after PROVIDERS, so that the first line of it is line 2; line; path; part of the message)
MALFORMED: dict[str, tuple[str, int, str, str]] = {
    "misspelt section": ("provider: {}", 2, "provider", "did you mean providers?"),
    "misspelt key": ("breaker: {failure_treshold: 3}", 2, "breaker.failure_treshold", "failure_threshold?"),
    "key in capitals": ("cache: {TTL: 3}", 2, "cache.TTL", "did you mean ttl?"),
    "key of nothing like it": ("privacy: {zzz: 1}", 2, "privacy.zzz", "known: log_prompts"),
    "key on a later line": ("breaker:\n  window: 5\n  windw: 6", 4, "breaker.windw", "did you mean window?"),
    "text for a number": ("defaults: {max_tokens: many}", 2, "defaults.max_tokens", "got 'many'"),
    "quoted number": ("defaults: {max_tokens: '5'}", 2, "defaults.max_tokens", "got '5'"),
    "boolean for a number": ("defaults: {max_tokens: true}", 2, "defaults.max_tokens", "got true"),
    "nothing for a number": ("defaults: {max_tokens: }", 2, "defaults.max_tokens", "got nothing"),
    "half a token": ("defaults: {max_tokens: 1.5}", 2, "defaults.max_tokens", "whole number"),
    "no tokens": ("defaults: {max_tokens: 0}", 2, "defaults.max_tokens", "from 1"),
    "infinitely many tokens": ("defaults: {max_tokens: .inf}", 2, "defaults.max_tokens", "got inf"),
    "a number of 4,400 digits": (
        f"defaults: {{retries: {'9' * 4400}}}",
        2,
        "defaults.retries",
        "whole number",
    ),
    "negative retries": ("defaults: {retries: -1}", 2, "defaults.retries", "from 0"),
    "zero threshold": ("breaker: {failure_threshold: 0}", 2, "breaker.failure_threshold", "from 1"),
    "rate above one": ("breaker: {failure_rate: 50}", 2, "breaker.failure_rate", "from 0 to 1"),
    "rate that is no number": ("breaker: {failure_rate: .nan}", 2, "breaker.failure_rate", "got nan"),
    "back-off that shrinks": ("breaker: {backoff: 0.5}", 2, "breaker.backoff", "from 1"),
    "unit nobody knows": ("defaults: {timeout: 5w}", 2, "defaults.timeout", "30s, 10m, 2h or 7d"),
    "negative duration": ("defaults: {timeout: -5s}", 2, "defaults.timeout", "above 0"),
    "no duration": ("defaults: {deadline: 0}", 2, "defaults.deadline", "above 0"),
    "infinite duration": ("defaults: {deadline: .inf}", 2, "defaults.deadline", "got inf"),
    "duration of ages": ("defaults: {deadline: 99999999d}", 2, "defaults.deadline", "at most 3650d"),
    "wait of ages": ("breaker: {recovery_timeout: 9999d}", 2, "breaker.recovery_timeout", "at most 3650d"),
    "list for a duration": ("defaults: {deadline: [1]}", 2, "defaults.deadline", "got a list"),
    "text for a boolean": ("cache: {enabled: maybe}", 2, "cache.enabled", "true or false"),
    "number for a boolean": ("cache: {enabled: 1}", 2, "cache.enabled", "true or false"),
    "number for a text": ("features: {x: {system: 5}}", 2, "features.x.system", "in quotes"),
    "size without sense": ("cache: {max_size: big}", 2, "cache.max_size", "500MB"),
    "size of everything": ("cache: {max_size: 9999TB}", 2, "cache.max_size", "to 1000TB, got '9999TB'"),
    "negative money": ("budgets: [{name: a, limit: -1, per: day}]", 2, "budgets[0].limit", "USD"),
    "money as text": ("budgets: [{name: a, limit: $5.-, per: day}]", 2, "budgets[0].limit", "got '$5.-'"),
    "price finer than can be counted": (
        "models: {openai/x: {price: {input: 0.0000001, output: 1}}}",
        2,
        "models.openai/x.price.input",
        "6 decimals",
    ),
    "mapping for a list": ("budgets: {a: 1}", 2, "budgets", "expected a list, got a mapping"),
    "text for a list": ("features: {x: {aliases: y}}", 2, "features.x.aliases", "expected a list"),
    "list for a mapping": ("features: [a, b]", 2, "features", "expected a mapping, got a list"),
    "word nobody knows": ("on_store_error: explode", 2, "on_store_error", "refuse or allow, got 'explode'"),
    "version of the future": ("version: 2", 2, "version", "expected 1, got 2"),
    "store nobody knows": ("store: mysql://x", 2, "store", "redis://host:port/db"),
    "answers in memory": ("cache: {store: memory}", 2, "cache.store", "expected disk or redis://host:port"),
    "queue nobody knows": ("queue: {store: mysql://x}", 2, "queue.store", "redis://host:port/db"),
    "provider without api": ("<<: {}\nmodels:\n  nobody/x: {}", 4, "models.nobody/x", "unknown provider"),
    "target without model": ("features: {x: {primary: openai}}", 2, "features.x.primary", "provider/model"),
    "target of a provider nobody has": (
        "features: {x: {primary: opnai/gpt}}",
        2,
        "features.x.primary",
        "did you mean openai?",
    ),
    "fallback of a provider nobody has": (
        "features:\n  x:\n    primary: openai/a\n    fallbacks:\n      - google/b\n      - mistral/c",
        7,
        "features.x.fallbacks[1]",
        "unknown provider; known: openai, google",
    ),
    "fallback that is the primary": (
        "features: {x: {primary: openai/a, fallbacks: [openai/a]}}",
        2,
        "features.x.fallbacks[0]",
        "is the primary itself",
    ),
    "fallback twice": (
        "features: {x: {primary: openai/a, fallbacks: [openai/b, {target: openai/b}]}}",
        2,
        "features.x.fallbacks[1]",
        "is listed twice",
    ),
    "fallbacks without primary": (
        "features: {x: {fallbacks: [openai/a]}}",
        2,
        "features.x.fallbacks",
        "there is no primary",
    ),
    "fallback without target": (
        "features: {x: {primary: openai/a, fallbacks: [{note: hi}]}}",
        2,
        "features.x.fallbacks[0]",
        "target is missing",
    ),
    "order nobody knows": ("features: {x: {order: random}}", 2, "features.x.order", "round_robin"),
    "priority nobody knows": ("features: {x: {priority: high}}", 2, "features.x.priority", "strategic"),
    "alias that is a feature": (
        "features: {x: {aliases: [y]}, y: {}}",
        2,
        "features.x.aliases[0]",
        "already",
    ),
    "alias of two": ("features: {x: {aliases: [z]}, y: {aliases: [z]}}", 2, "features.y.aliases[0]", "of x"),
    "feature with a slash": ("features: {a/b: {}}", 2, "features.a/b", "a name of letters"),
    "template nobody has": ("features: {x: {template: t}}", 2, "features.x.template", "unknown template"),
    "step nobody knows": ("features: {x: {degrade: [cashed]}}", 2, "features.x.degrade[0]", "cached?"),
    "step with a template nobody has": (
        "templates: {sorry: hi}\nfeatures: {x: {degrade: [template: sory]}}",
        3,
        "features.x.degrade[0]",
        "did you mean sorry?",
    ),
    "step with rules nobody has": (
        "features: {x: {degrade: [rules: pii]}}",
        2,
        "features.x.degrade[0]",
        "'pii': unknown set of rules",
    ),
    "step with two meanings": (
        "features: {x: {degrade: [{text: a, command: [b]}]}}",
        2,
        "features.x.degrade[0].text",
        "unknown key",
    ),
    "command of nothing": (
        "features: {x: {degrade: [command: []]}}",
        2,
        "features.x.degrade[0]",
        "begins with the name of a program",
    ),
    "command without a name": (
        "features: {x: {degrade: [{command: ['', a]}]}}",
        2,
        "features.x.degrade[0]",
        "begins with the name of a program",
    ),
    "argument with a NUL": (
        'features: {x: {degrade: [{command: [cat, "a\\0b"]}]}}',
        2,
        "features.x.degrade[0]",
        "NUL character",
    ),
    "step that is a list": ("features: {x: {degrade: [[cached]]}}", 2, "features.x.degrade[0]", "a step"),
    "command as one text": (
        "features: {x: {degrade: [command: rm -rf]}}",
        2,
        "features.x.degrade[0].command",
        "expected a list",
    ),
    "expression that does not compile": (
        "rules: {pii: {mail: '(a'}}",
        2,
        "rules.pii.mail",
        "regular expression",
    ),
    "expression with an error of two lines": (
        'rules: {pii: {mail: "(?\\n"}}',
        2,
        "rules.pii.mail",
        "unknown extension ?",
    ),
    "expectation that does not compile": (
        "features: {x: {expect: {regex: '[z-a]'}}}",
        2,
        "features.x.expect.regex",
        "regular expression",
    ),
    "schema that is not there": (
        "features: {x: {expect: {schema: no.json}}}",
        2,
        "features.x.expect.schema",
        "is not there",
    ),
    "schema that is not JSON": (
        "features: {x: {expect: {schema: named.yaml}}}",
        2,
        "features.x.expect.schema",
        "is not JSON",
    ),
    "schema that is no file": (
        "features: {x: {expect: {schema: /dev/zero}}}",
        2,
        "features.x.expect.schema",
        "'/dev/zero' is not a regular file",
    ),
    "schema that is a directory": (
        "features: {x: {expect: {schema: .}}}",
        2,
        "features.x.expect.schema",
        "not",
    ),
    "template with a price": ("templates: {t: only $5}", 2, "templates.t", "write $$"),
    "budgets of one name": (
        "budgets:\n  - {name: a, limit: 1, per: day}\n  - {name: a, limit: 2, per: week}",
        3,
        "budgets[0].name",
        "2 budgets are called 'a'",
    ),
    "budget without limit": ("budgets: [{name: a, per: day}]", 2, "budgets[0]", "limit is missing"),
    "period nobody knows": ("budgets: [{name: a, limit: 1, per: hour}]", 2, "budgets[0].per", "day or week"),
    "time zone nobody knows": ("timezone: Mars/Olympus", 2, "timezone", "time zone"),
    "time zone that is a file": ("timezone: ../../etc/passwd", 2, "timezone", "time zone"),
    "hedge that is neither": ("features: {x: {hedge: p99}}", 2, "features.x.hedge", "p95"),
    "too hot": ("defaults: {temperature: 3}", 2, "defaults.temperature", "from 0 to 2"),
    "variable that is not set": ("store: ${NOWHERE}", 2, "store", "NOWHERE"),
    "reference without its end": ("templates: {t: 'a ${B c'}", 2, "templates.t", "${NAME}"),
    "reference to no name": ("templates: {t: 'a ${b-c}'}", 2, "templates.t", "write $${"),
    "key twice": ("cache: {ttl: 1}\nqueue: {}\ncache: {ttl: 2}", 4, "cache", "already set on line 2"),
    "key twice inside": ("cache:\n  ttl: 1\n  ttl: 2", 4, "cache.ttl", "already set on line 3"),
    "key that is a list": ("cache:\n  [a, b]: 1", 3, "cache.?", "a key is plain text"),
    "merge of a text": ("cache:\n  <<: nope", 2, "cache", "merges mappings only"),
    "tag": ("store: !!python/object:os.system disk", 2, "store", "is not supported"),
    "tag on text": ("templates: {t: !Sub hello}", 2, "templates.t", "is not supported"),
    "escape sequence in a key": ('"\\e[2Jcache": 1', 2, "'\\x1b[2Jcache'", "unknown key"),
}

PROVIDER: dict[str, tuple[str, str, str]] = {
    "no api": ("{api_key: none}", "providers.p", "api is missing"),
    "api nobody speaks": ("{api: cohere}", "providers.p.api", "anthropic or openai"),
    "api that is a list": ("{api: [openai]}", "providers.p.api", "got a list"),
    "nothing": ("", "providers.p", "api is missing"),
    "just a key": ("sk-abcdef", "providers.p", "expected a mapping, got a single value"),
    "URL without scheme": ("{api: openai, base_url: api.openai.com}", "providers.p.base_url", "http(s)://"),
    "URL of a file": ("{api: openai, base_url: 'file:///etc/passwd'}", "providers.p.base_url", "http(s)://"),
    "URL without host": ("{api: openai, base_url: 'https:///v1'}", "providers.p.base_url", "http(s)://"),
    "URL with a port beyond": (
        "{api: openai, base_url: 'http://a:70000'}",
        "providers.p.base_url",
        "http(s)",
    ),
    "URL with a backslash": (
        "{api: openai, base_url: 'https://a\\b.example'}",
        "providers.p.base_url",
        "http(s)://",
    ),
    "URL with a space": ("{api: openai, base_url: 'https://a b'}", "providers.p.base_url", "http(s)://"),
    "URL with credentials": (
        "{api: openai, base_url: 'https://me:hunter2@a.example'}",
        "providers.p.base_url",
        "without credentials",
    ),
    "URL with a query": (
        "{api: openai, base_url: 'https://a/?key=hunter2'}",
        "providers.p.base_url",
        "without ?",
    ),
    "URL with a fragment": (
        "{api: openai, base_url: 'https://a/#x'}",
        "providers.p.base_url",
        "without ? and #",
    ),
    "key with a line break": ('{api: openai, api_key: "hun\\nter2"}', "providers.p.api_key", "visible ASCII"),
    "key with an umlaut": ("{api: openai, api_key: hunter2ü}", "providers.p.api_key", "visible ASCII"),
    "key that is a number": ("{api: openai, api_key: 12345}", "providers.p.api_key", "quotes"),
    "key that is a list": ("{api: openai, api_key: [hunter2]}", "providers.p.api_key", "quotes"),
    "location with a path": ("{api: vertex, location: a/../b}", "providers.p.location", "us-east5"),
    "location with a host": ("{api: vertex, location: evil.example}", "providers.p.location", "us-east5"),
    "project with a path": ("{api: vertex, project: a/b}", "providers.p.project", "letters"),
    "version with a path": ("{api: gemini, api_version: ../v1}", "providers.p.api_version", "letters"),
    "version with a line": ('{api: gemini, api_version: "v1\\r\\nx"}', "providers.p.api_version", "letters"),
    "project elsewhere": ("{api: openai, project: p}", "providers.p.project", "vertex only"),
    "token and key": ("{api: vertex, token: a, api_key: b}", "providers.p.api_key", "takes `token`"),
    "key of Vertex": ("{api: vertex, api_key: b}", "providers.p.api_key", "a key is not supported"),
    "its own fallback": ("{api: openai, fallbacks: [p]}", "providers.p.fallbacks[0]", "its own"),
    "unknown fallback": ("{api: openai, fallbacks: [q]}", "providers.p.fallbacks[0]", "unknown provider"),
    "unknown target": ("{api: openai, fallbacks: [q/x]}", "providers.p.fallbacks[0]", "unknown provider"),
    "no requests": ("{api: openai, limits: {requests_per_minute: 0}}", "providers.p.limits", "from 1"),
}


@pytest.mark.parametrize(("text", "line", "place", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_mistake_is_named_with_its_line_and_path(settings_of, text, line, place, message):
    with pytest.raises(SettingsError) as caught:
        settings_of(PROVIDERS + text)
    problems = caught.value.problems
    found = next((each for each in problems if each.path == place), None)
    assert found, [str(each) for each in problems]
    assert found.line == line
    assert message in found.message
    assert found.file
    assert found.file.endswith("named.yaml")
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == len(problems), "one line for each"


@pytest.mark.parametrize(("entry", "place", "message"), PROVIDER.values(), ids=PROVIDER)
def test_a_mistake_in_a_provider_is_named_and_no_secret_is_shown(settings_of, entry, place, message):
    with pytest.raises(SettingsError) as caught:
        settings_of(f"version: 1\nproviders:\n  p: {entry}\n")
    (found,) = caught.value.problems
    assert found.path.startswith(place)
    assert found.line == 3
    assert message in found.message
    assert "hunter2" not in str(found)
    assert "sk-abcdef" not in str(found)


def test_there_are_enough_cases():
    assert len(MALFORMED) + len(PROVIDER) >= 100


def test_a_provider_cannot_have_the_name_of_everything(settings_of):
    with pytest.raises(SettingsError, match=r"providers\.all: a provider cannot be called all"):
        settings_of("providers: {all: {api: openai}}")


def test_all_mistakes_are_found_at_once_in_the_order_of_the_file(settings_of):
    text = """\
        version: 1
        providers:
          openai: {api: openai, api_kee: x}
        features:
          vpr:
            primary: anthropic/x
            timeout: soon
          other: {template: none}
        breaker: {window: 0}
        """
    with pytest.raises(SettingsError) as caught:
        settings_of(text)
    assert [(each.line, each.path) for each in caught.value.problems] == [
        (3, "providers.openai.api_kee"),
        (6, "features.vpr.primary"),
        (7, "features.vpr.timeout"),
        (8, "features.other.template"),
        (9, "breaker.window"),
    ]


def test_a_broken_provider_does_not_make_every_chain_through_it_wrong_too(settings_of):
    text = """\
        providers: {openai: {api: opnai}}
        features: {x: {primary: openai/gpt}}
        """
    with pytest.raises(SettingsError) as caught:
        settings_of(text)
    assert [each.path for each in caught.value.problems] == ["providers.openai.api"]


UNREADABLE = {
    "nothing": (b"", "is empty"),
    "comments only": (b"# nothing\n\n# here\n", "is empty"),
    "one word": (b"hello", "expected a mapping, got a single value"),
    "a list": (b"- a\n- b\n", "expected a mapping, got a list"),
    "several documents": (b"version: 1\n---\nversion: 1\n", "several documents"),
    "Latin-1": (b"templates: {t: caf\xe9}", "is not UTF-8 text (byte 18)"),
    "UTF-16": ("version: 1".encode("utf-16"), "is not UTF-8"),
    "a null byte": (b"version: 1\x00", "is not valid YAML"),
    "a binary": (bytes(range(1, 128)), "is not valid YAML"),
    "an open bracket": (b"version: 1\ncache: {ttl: 1\nqueue: [\n", "is not valid YAML"),
    "a tab": (b"cache:\n\tttl: 1\n", "is not valid YAML"),
    "an alias of nothing": (b"cache: *x\n", "is not valid YAML"),
    "an alias of itself": (b"cache: &a {ttl: *a}\n", "nested more than 40 levels"),
    "a merge of itself": (b"cache: &a {<<: *a}\n", "nested more than 40 levels"),
    "a bomb of aliases": (BOMB.encode(), "aliases"),
    "a bomb of merges": (
        b"m0: &m0 {}\n"
        + b"".join(
            b"m%d: &m%d {<<: [%s]}\n" % (n, n, b", ".join([b"*m%d" % (n - 1)] * 9)) for n in range(1, 20)
        ),
        "aliases",
    ),
    "deep nesting": (b"[" * 50_000, "nested more than 40 levels"),
    "deep mappings": (b"{a: " * 50_000, "nested more than 40 levels"),
    "many values": (b"[" + b"a, " * 30_000 + b"]", "more than 20,000 values"),
    "deep but closed nesting": (b"a: " + b"[" * 500 + b"]" * 500, "nested more than 40 levels"),
    "a file of another kind": (b"version: 1\n" + b"# filler\n" * 200_000, "larger than 1,000,000 bytes"),
}


@pytest.mark.parametrize(("data", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_one_clear_line(home, state, data, message):
    path = home / "named.yaml"
    path.write_bytes(data)
    with pytest.raises(SettingsError) as caught:
        load(path, {}, home, state)
    (problem,) = caught.value.problems
    assert str(path) in str(problem)
    assert message in str(problem)
    assert len(str(caught.value).splitlines()) == 1


def test_a_syntax_error_names_its_line(home, state):
    path = home / "named.yaml"
    path.write_text("version: 1\ncache: {}\nqueue: ]\n")
    with pytest.raises(SettingsError, match=r"named\.yaml:3: \(top level\): is not valid YAML"):
        load(path, {}, home, state)


def test_a_directory_a_missing_file_and_a_loop_are_said_to_be_that(home, state):
    (home / "loop.yaml").symlink_to("loop.yaml")
    for name, message in {
        ".": "directory",
        "gone.yaml": "config init",
        "loop.yaml": "symbolic links",
    }.items():
        with pytest.raises(SettingsError, match=message):
            load(Path(name), {}, home, state)


def test_a_pipe_that_nobody_named_is_not_waited_for(home, state):
    os.mkfifo(home / "llmfail.yaml")
    with pytest.raises(SettingsError, match="is not a regular file"):
        load(None, {}, home, state)


def test_a_file_that_may_not_be_read_is_said_to_be_that(home, state):
    path = home / "named.yaml"
    path.write_text("version: 1")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(SettingsError, match="permission denied"):
        load(path, {}, home, state)


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_list_of_problems(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(SettingsError):
        load(path, {}, path.parent, path.parent / "none")


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("openai/x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = st.sampled_from(
    [
        "defaults",
        "providers",
        "models",
        "breaker",
        "features",
        "templates",
        "rules",
        "budgets",
        "cache",
        "store",
    ]
)
NESTED = st.dictionaries(
    SECTIONS, TREES | st.dictionaries(st.sampled_from(["openai", "x"]), TREES), max_size=4
)


@given(NESTED)
def test_any_tree_is_a_configuration_or_a_list_of_problems(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(json.dumps(tree).replace("NaN", ".nan").replace("Infinity", ".inf"), encoding="utf-8")
    with suppress(SettingsError):
        load(path, {}, path.parent, path.parent / "none")
