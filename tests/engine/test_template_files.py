"""A template may be a file: beside the configuration, or where the caller says."""

import json

import pytest

from llmfail import Client, SettingsError, UsageError
from llmfail.simulator.faults import parse_faults


@pytest.fixture
def configure(tmp_path, simulator):
    def configure(template, **more):
        provider = {"api": "openai", "base_url": simulator.base_url("openai"), "api_key": "made-up-key-4711"}
        feature = {"primary": "openai/gpt", "template": template, "retries": 0, **more.pop("feature", {})}
        document = {**more, "version": 1, "store": "memory", "providers": {"openai": provider}}
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


def test_a_template_with_a_name_may_be_a_file_too(tmp_path, configure, simulator):
    (tmp_path / "vpr.md").write_text("Say $prompt.")
    with Client(configure(None, templates={"vpr": "@vpr.md"})) as client:
        client.ask("hello", template="vpr")
    assert simulator.requests[-1].prompt == "Say hello."


def test_and_answers_in_the_place_of_a_model(tmp_path, configure, simulator):
    (tmp_path / "sorry.md").write_text("Sorry, $name.")
    feature = {"degrade": [{"template": "sorry"}]}
    simulator.set_faults(parse_faults("openai=500"))
    with Client(configure(None, templates={"sorry": "@sorry.md"}, feature=feature)) as client:
        assert client.ask("hello", params={"name": "Ann"}).answer == "Sorry, Ann."


def test_its_file_has_to_be_there(configure):
    with pytest.raises(SettingsError, match=r"templates\.vpr: none\.md is no file"):
        Client(configure(None, templates={"vpr": "@none.md"}))
