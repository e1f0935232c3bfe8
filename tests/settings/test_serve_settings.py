"""The section ``serve``: what it may say, and which keys are kept out of sight."""

import pytest

from llmfail.core.errors import SettingsError
from llmfail.core.model import Target
from llmfail.settings import load

BASE = "providers: {openai: {api: openai}}\nfeatures: {a: {aliases: [b], primary: openai/m}}\n"


@pytest.fixture
def read(home, state):
    def read(serve, **environ):
        file = home / "named.yaml"
        file.write_text(BASE + serve)
        return load(file, environ, home, state).serve

    return read


def test_it_is_read_and_its_names_hold(read):
    serve = read(
        "serve: {listen: '[::1]:0', models: {'x-*': b, y: openai/m}, unknown_model: b, max_body: 1MB, keys: "
        "[{name: one, key: '${K}', features: [b], limits: {requests_per_minute: 3}, expires: '2027-01-02'}]}",
        K="its-key",
    )
    assert serve.models == {"x-*": "b", "y": Target("openai", "m")}
    assert (serve.max_body, serve.keys[0].key.reveal(), serve.keys[0].limits.requests_per_minute) == (
        1_000_000,
        "its-key",
        3,
    )
    day = serve.keys[0].expires
    assert not serve.keys[0].has_expired(day)
    assert serve.keys[0].has_expired(day.replace(day=3))


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        ("listen: 4000", "expected text"),
        ("listen: nowhere", "expected HOST:PORT"),
        ("listen: 'unix:here.sock'", "or unix:/run/llmfail.sock"),
        ("models: {x: c}", "unknown feature"),
        ("models: {x: nobody/m}", "unknown provider"),
        ("unknown_model: c", "unknown feature"),
        ("keys: [{name: a}]", "a key has `key` or `sha256`, and not both"),
        (f"keys: [{{name: a, key: x, sha256: '{'0' * 64}'}}]", "and not both"),
        ("keys: [{name: a, sha256: short}]", "the SHA-256 of a key"),
        ("keys: [{name: a, key: x}, {name: a, key: y}]", "2 keys are called 'a'"),
        ("keys: [{name: a, key: x, features: [c]}]", "unknown feature"),
        ("keys: [{name: a, key: x, expires: soon}]", "expected a day such as"),
        ("origins: ['*']", "expected an origin"),
        ("hosts: ['a b']", "expected the name of a host"),
    ],
)
def test_what_cannot_be_meant_is_told(read, serve, said):
    with pytest.raises(SettingsError) as caught:
        read(f"serve: {{{serve}}}")
    assert said in str(caught.value)


def test_a_key_whose_variable_is_not_set_is_none(read):
    assert (
        read("serve: {keys: [{name: a, key: '${NOT_SET}'}], admin_token: '${NOR_THIS:-}'}").keys[0].key
        is None
    )


def test_the_variable_of_the_admin_token_overrides_nothing(read):
    serve = read("serve: {admin_token: '${LLMFAIL_ADMIN_TOKEN:-}'}", LLMFAIL_ADMIN_TOKEN="secret-token")
    assert serve.admin_token.reveal() == "secret-token"


@pytest.mark.parametrize("serve", ["keys: [{name: a, key: in-the-file}]", "admin_token: in-the-file"])
def test_a_key_in_the_file_is_written_nowhere_else(read, state, serve):
    read(f"serve: {{{serve}}}")
    assert not [file for file in state.rglob("*.json") if "in-the-file" in file.read_text()]


def test_a_key_may_come_from_a_file_of_its_own(read, home):
    secret = home / "app.key"
    secret.write_text("from-a-file\n")
    secret.chmod(0o600)
    assert read("serve: {keys: [{name: a, key: {file: app.key}}]}").keys[0].key.reveal() == "from-a-file"
