"""A template may be a file: beside the configuration, or where the caller says."""

import json

import pytest

from llmfail import Client, SettingsError, UsageError


@pytest.fixture
def configure(tmp_path, simulator):
    def configure(template):
        provider = {"api": "openai", "base_url": simulator.base_url("openai"), "api_key": "made-up-key-4711"}
        feature = {"primary": "openai/gpt", "template": template}
        document = {"version": 1, "store": "memory", "providers": {"openai": provider}}
        file = tmp_path / "llmfail.yaml"
        file.write_text(json.dumps({**document, "features": {"default": feature}}))
        return file

    return configure


def test_a_feature_has_a_template_in_a_file_beside_its_configuration(tmp_path, configure, simulator):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "vpr.md").write_text("Say $prompt to $name.")
    with Client(configure("@prompts/vpr.md")) as client:
        client.ask("hello", params={"name": "Ann"})
    assert simulator.requests[-1].prompt == "Say hello to Ann."


def test_a_file_that_is_not_there_is_a_mistake_of_the_configuration(configure):
    with pytest.raises(SettingsError, match=r"prompts/none\.md is no file"):
        Client(configure("@prompts/none.md"))


def test_a_caller_names_a_file_of_the_current_directory(tmp_path, configure, simulator, monkeypatch):
    (tmp_path / "own.md").write_text("Well: $prompt")
    monkeypatch.chdir(tmp_path)
    with Client(configure(None)) as client:
        client.ask("hello", template="@own.md")
        assert simulator.requests[-1].prompt == "Well: hello"
        with pytest.raises(UsageError, match="cannot read the template"):
            client.ask("hello", template="@none.md")
