"""A configuration that merely lay in the current directory gets no key until its user says so."""

import json

import pytest
from program import ANTHROPIC, KEYS, OPENAI, Program, build_config


@pytest.fixture
def llmfail(here):
    """The program without --config."""
    return Program(here, KEYS)


def lies_here(here, document):
    (here / "llmfail.yaml").write_text(json.dumps(document, indent=1))


@pytest.fixture
def cloned(simulator, here):
    """A configuration in the current directory that sends the keys to a host that is not their owner's."""
    document = build_config(simulator, ANTHROPIC)
    lies_here(here, document)
    return document


def is_refused(ended, simulator):
    assert (ended.code, ended.out) == (2, b"")
    assert "llmfail config trust" in ended.err
    assert "llmfail.yaml" in ended.err
    assert len(ended.lines) <= 2
    assert simulator.count_connections() == 0
    return True


def test_it_is_refused_before_any_connection(llmfail, simulator, cloned):
    ended = llmfail("ask", "Say hello")
    assert is_refused(ended, simulator)
    assert "_API_KEY" in ended.err


@pytest.mark.parametrize("command", [["probe"], ["plan", "Say hello"], ["status"], ["reset", "--all"]])
def test_every_command_refuses_it(llmfail, simulator, cloned, command):
    assert is_refused(llmfail(*command), simulator)


def test_after_trust_it_works(llmfail, simulator, cloned):
    trusted = llmfail("config", "trust")
    assert trusted.code == 0
    assert "ANTHROPIC_API_KEY" in trusted.err
    assert simulator.count_connections() == 0
    ended = llmfail("ask", "Say hello")
    assert (ended.code, ended.out) == (0, f"{ANTHROPIC} heard: Say hello\n".encode())


def test_i3_only_a_change_of_what_was_accepted_needs_trust_again(llmfail, simulator, here, cloned):
    llmfail("config", "trust")
    lies_here(here, cloned | {"features": cloned["features"] | {"x": {"degrade": [{"command": ["id"]}]}}})
    refused = llmfail("ask", "Say hello")
    assert is_refused(refused, simulator)
    assert "has changed since it was trusted: it would run a command" in refused.err
    lies_here(here, cloned | {"timezone": "UTC"})
    assert llmfail("ask", "Say hello").code == 0


def test_i3_what_init_wrote_may_be_edited(llmfail, here):
    assert llmfail("config", "init").code == 0
    file = here / "llmfail.yaml"
    file.write_text(file.read_text().replace("retries: 2", "retries: 1") + "\n# mine\n")
    assert llmfail("status").code == 0
    assert llmfail("plan", "hello").code in {0, 3, 6}


def test_trust_in_one_directory_is_none_in_another(llmfail, simulator, here, cloned):
    llmfail("config", "trust")
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    lies_here(elsewhere, cloned)
    assert is_refused(Program(elsewhere, KEYS)("ask", "Say hello"), simulator)


def test_a_file_that_somebody_named_is_trusted(llmfail, here, cloned):
    assert llmfail.before_that("--config", "llmfail.yaml")("ask", "Say hello").code == 0
    assert llmfail.with_environ(LLMFAIL_CONFIG=str(here / "llmfail.yaml"))("ask", "Say hello").code == 0


def test_check_tells_of_it_and_so_does_its_exit_code(llmfail, simulator, cloned):
    ended = llmfail("config", "check")
    assert ended.code == 2
    assert "llmfail config trust" in ended.err
    assert simulator.count_connections() == 0


def harmless(simulator):
    """No key of anybody goes anywhere."""
    document = build_config(simulator, OPENAI)
    for provider in document["providers"].values():
        provider["api_key"] = "none"
    return document


def test_a_configuration_that_asks_for_nothing_needs_no_trust(llmfail, simulator, here):
    lies_here(here, harmless(simulator))
    assert llmfail("ask", "Say hello").code == 0


def a_prompt_with_a_key(document, _url):
    document["features"]["default"]["system"] = "${ANTHROPIC_API_KEY}"


def an_address_with_a_key(document, url):
    document["providers"]["openai"]["base_url"] = f"{url}/${{ANTHROPIC_API_KEY}}"


def a_default_with_a_key(document, _url):
    document["providers"]["openai"]["api_key"] = "${NOT_SET:-x}${ANTHROPIC_API_KEY}"


def a_command(document, _url):
    document["features"]["default"]["degrade"] = [{"command": ["/bin/true"]}]


def a_file_elsewhere(document, _url):
    document["features"]["default"]["expect"] = {"schema": "../secret.json"}


@pytest.mark.parametrize(
    "spoil",
    [a_prompt_with_a_key, an_address_with_a_key, a_default_with_a_key, a_command, a_file_elsewhere],
    ids=lambda spoil: spoil.__name__,
)
def test_there_is_no_way_around(llmfail, simulator, here, spoil):
    (here.parent / "secret.json").write_text("{}")
    document = harmless(simulator)
    spoil(document, simulator.base_url("openai"))
    lies_here(here, document)
    assert is_refused(llmfail("ask", "Say hello"), simulator)
    assert llmfail("config", "trust").code == 0
    assert llmfail("config", "check").code == 0
