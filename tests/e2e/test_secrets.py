"""A key appears nowhere, whatever a provider echoes."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from key_echo_provider import KEY_REPLIES, KeyEchoProvider
from program import Program

PLAIN = "sk-proj-e2e0123456789ABCDEFghijklmnopQRSTUV"
AWKWARD = "sk+e2e/0123=456%89\"AB<CD>&ef\\gh'ij{kl}|QRSTUV"
"""Every way of quoting writes it differently."""
APIS = ("anthropic", "openai", "gemini")


def forms(key):
    """How a key may be written down; lower case, because some texts are folded."""
    encoded = (base64.b64encode(b"x" * skip + key.encode())[(4 if skip else 0) : -4] for skip in range(3))
    quoted = [
        json.dumps(key)[1:-1],
        json.dumps(json.dumps(key))[3:-3],
        json.dumps(key).replace("/", "\\/")[1:-1],
    ]
    return {
        form.lower()
        for form in (
            key,
            *quoted,
            repr(key)[1:-1],
            quote(key),
            quote(key, safe=""),
            quote_plus(key),
            html.escape(key),
            key.encode().hex(),
            *(part.decode() for part in encoded),
        )
    }


def is_nowhere(key, *texts):
    for text in texts:
        shown = (text if isinstance(text, str) else text.decode("utf-8", "replace")).lower()
        for form in forms(key):
            assert form not in shown, shown[max(0, shown.index(form) - 300) : shown.index(form) + 100]
    return True


def every_byte(directory):
    """The content and the names of all files, SQLite's and whatever else."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files, "nothing was kept, so there is nothing to look at"
    return [path.read_bytes() for path in files] + [str(path) for path in files]


@pytest.fixture
def echo():
    with KeyEchoProvider() as echo:
        yield echo


def providers(echo, manners, api_key):
    """One provider for each manner in each wire format."""
    return {
        f"{api}-{manner}": {"api": api, "base_url": echo.url(manner, api), "api_key": api_key}
        for manner in manners
        for api in APIS
    }


def configured(tmp_path, here, document, key):
    path = tmp_path / "llmfail.yaml"
    path.write_text(json.dumps(document))
    return Program(here, {"SOME_KEY": key}, ("--config", path, "-vv"))


def chain(echo, manners, api_key="${SOME_KEY}"):
    """A feature that goes through them all."""
    made = providers(echo, manners, api_key)
    primary, *fallbacks = (f"{name}/model" for name in made)
    feature = {"primary": primary, "fallbacks": fallbacks, "on_refusal": "next"}
    return {
        "version": 1,
        "defaults": {"retries": 0},
        "providers": made,
        "features": {"default": feature},
    }


EXIT_CODES = {"answer": 0, "model": 0, "finish": 3, "message_400": 5}
"""Of what is an answer, ends with a word that no list knows, or is refused; all others fail."""
FAILED = tuple(manner for manner in KEY_REPLIES if manner not in EXIT_CODES)
SAID_PLAINLY = tuple(manner for manner in FAILED if not manner.startswith("as_"))


@pytest.mark.parametrize("manner", FAILED)
def test_a_failure_that_repeats_it_does_not_pass_it_on(tmp_path, here, state, echo, manner):
    key = AWKWARD
    llmfail = configured(tmp_path, here, chain(echo, [manner]), key)
    ended = llmfail.ask()
    assert echo.keys == [key] * len(APIS)
    assert echo.redirected == 0
    assert [action for _, action, _ in ended.trail] == ["called"] * len(APIS)
    assert is_nowhere(key, ended.out, ended.err, *every_byte(state))


@pytest.mark.parametrize("manner", EXIT_CODES)
@pytest.mark.parametrize("api", APIS)
def test_an_answer_that_repeats_it_does_not_pass_it_on(tmp_path, here, state, echo, manner, api):
    key = AWKWARD
    llmfail = configured(tmp_path, here, chain(echo, [manner]), key)
    ended = llmfail.ask("-m", f"{api}-{manner}/model", "--no-fallback")
    assert echo.keys == [key]
    assert ended.code == EXIT_CODES[manner]
    assert is_nowhere(key, ended.out, ended.err, *every_byte(state))


@pytest.mark.parametrize("api_key", ["${SOME_KEY}", PLAIN], ids=["in the environment", "in the file"])
def test_no_report_shows_it_and_nothing_keeps_it(tmp_path, here, state, echo, api_key):
    key = PLAIN
    document = chain(echo, SAID_PLAINLY, api_key) | {"privacy": {"log_prompts": True}}
    llmfail = configured(tmp_path, here, document, key)
    ended = llmfail("ask", "Say hello")
    assert ended.code == 3
    assert len(echo.keys) == len(SAID_PLAINLY) * len(APIS)
    commands = (
        ["status"],
        ["status", "--json"],
        ["status", "--check"],
        ["log"],
        ["log", "0"],
        ["log", "--json"],
        ["plan", "Say hello"],
        ["plan", "Say hello", "--json"],
        ["config", "show"],
        ["config", "show", "--json"],
        ["config", "check"],
        ["config", "check", "--json"],
        ["reset", "--all"],
        ["trip", "openai-html"],
        ["ask", "Say hello", "-o", "answer.txt"],
    )
    for command in commands:
        ended = llmfail(*command)
        assert "Traceback" not in ended.err
        assert is_nowhere(key, ended.out, ended.err)
    assert is_nowhere(key, *every_byte(state))


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nproviders:\n  openai: {api: openai, api_key: [KEY]}\n",
        "version: 1\nproviders:\n  openai: {api: openai, api_key: {k: KEY}}\n",
        "version: 1\nproviders:\n  openai: {api: opnai, api_key: KEY, extra: KEY}\n",
        "version: 1\nproviders:\n  openai: {api: openai, apikey: KEY}\n",
        "version: 1\nproviders:\n  openai: {api: openai, api_key: 'KEY\n",
        "version: 1\nproviders:\n  openai: {api: openai, base_url: 'https://user:KEY@host/v1', api_key: x}\n",
        "version: 1\nstore: redis://:KEY@localhost:6379/0\n",
        "version: 1\nproviders:\n  openai: {api: openai, api_key: 'a KEY\\n'}\n",
    ],
)
@pytest.mark.parametrize("command", [["ask", "Say hello"], ["config", "check"], ["config", "show"]])
def test_a_mistake_beside_it_in_the_configuration_does_not_show_it(tmp_path, here, text, command):
    key = PLAIN
    path = tmp_path / "llmfail.yaml"
    path.write_text(text.replace("KEY", key))
    ended = Program(here, {}, ("--config", path, "-vv"))(*command)
    assert is_nowhere(key, ended.out, ended.err)


def test_a_key_that_cannot_be_sent_is_not_shown_either(tmp_path, here, state, echo):
    """A line break in a variable, as `export KEY=$(cat file)` leaves none but a copy may."""
    key = f"{PLAIN}\n{PLAIN}"
    ended = configured(tmp_path, here, chain(echo, ["answer"]), key)("ask", "Say hello")
    assert ended.code in {2, 3, 6}
    assert is_nowhere(PLAIN, ended.out, ended.err)
    assert echo.keys == []
