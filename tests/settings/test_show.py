"""What is shown is what is in force, without secrets, and can be read back."""

from __future__ import annotations

from textwrap import dedent

import pytest
import yaml

from llmfail.settings.advice.show import collect_effective_values, format_yaml
from llmfail.settings.reading.find import packaged_config_path
from llmfail.settings.reading.load import examine

TEXT = """\
store: redis://me:hunter2@localhost/0
cache: {store: "rediss://me:hunter2@localhost/1"}
providers:
  p: {api: openai, api_key: "${K}"}
  q: {api: openai, api_key: hunter2, base_url: "http://${HOST}/v1"}
defaults: {timeout: 7s}
features:
  x: {primary: p/m, fallbacks: [q/m], system: "be ${SECRET}", degrade: [cached, text: "a: b #c"]}
"""
ENVIRON = {"K": "hunter2", "SECRET": "hunter2", "HOST": "h", "LLMFAIL_BREAKER__WINDOW": "9"}


@pytest.fixture
def examination(home):
    path = home / "named.yaml"
    path.write_text(dedent(TEXT))
    return examine(path, ENVIRON, home)


def test_no_secret_is_shown(examination):
    assert "hunter2" not in format_yaml(examination)
    assert "hunter2" not in str(collect_effective_values(examination))


def test_keys_are_masked_and_texts_that_use_the_environment_are_as_written(examination):
    shown = collect_effective_values(examination)
    assert shown["providers"]["p"]["api_key"] == "****"
    assert shown["providers"]["q"]["base_url"] == "http://h/v1"
    assert shown["store"] == "redis://****@localhost/0"
    assert shown["cache"]["store"] == "rediss://****@localhost/1"
    assert shown["features"]["x"]["system"] == "be ${SECRET}"


def test_defaults_and_overrides_are_filled_in(examination):
    shown = collect_effective_values(examination)
    assert shown["features"]["x"]["timeout"] == 7
    assert shown["features"]["x"]["retries"] == 1
    assert shown["breaker"]["window"] == 9
    assert shown["breaker"]["failure_threshold"] == 5
    assert shown["alerts"]["latency_p95"] == 30


def test_the_yaml_says_the_same_as_the_json(examination):
    assert yaml.safe_load(format_yaml(examination)) == collect_effective_values(examination)


def test_the_yaml_of_the_example_says_the_same_and_is_a_configuration_again(home):
    examination = examine(packaged_config_path(), {}, home)
    text = format_yaml(examination)
    assert yaml.safe_load(text) == collect_effective_values(examination)
    again = home / "again.yaml"
    again.write_text(text)
    assert examine(again, {}, home).problems == ()


WHERE = {
    "window: 9": "LLMFAIL_BREAKER__WINDOW",
    "failure_threshold: 5": "default",
    'api_key: "****"': "line 4, ${K}",
    "timeout: 7": "line 6",
}


@pytest.mark.parametrize(("value", "origin"), WHERE.items())
def test_each_line_says_where_its_value_is_from(examination, value, origin):
    line = next(line for line in format_yaml(examination).splitlines() if line.strip().startswith(value))
    assert line.endswith(f"# {origin}")


def test_i13_a_list_that_a_variable_replaced_is_from_the_variable(home):
    path = home / "named.yaml"
    path.write_text(
        "providers: {p: {api: openai}}\nfeatures:\n  x:\n    primary: p/m\n    fallbacks: [p/n]\n"
    )
    variable = "LLMFAIL_FEATURES__X__FALLBACKS"
    shown = format_yaml(examine(path, {variable: "[p/o, p/q]"}, home)).splitlines()
    assert [line for line in shown if variable in line] != []
    assert all(variable in line for line in shown if "p/o" in line or "p/q" in line)
    assert next(line for line in shown if "primary: p/m" in line).endswith("# line 4")
