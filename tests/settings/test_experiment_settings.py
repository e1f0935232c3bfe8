"""What an experiment may say."""

import pytest

from llmfail.core.errors import UsageError
from llmfail.settings import load

BASE = """version: 1
providers:
  a: {api: openai, base_url: "http://a.invalid/v1", api_key: none}
  b: {api: openai, base_url: "http://b.invalid/v1", api_key: none}
features:
  default: {primary: a/one, fallbacks: [b/one]}
experiments:
"""
GOOD = "  - {name: x, feature: default, arms: [a/one, {target: b/one, weight: 0.25}], until: 2026-12-01}\n"


@pytest.fixture
def read(tmp_path):
    def read(experiments):
        file = tmp_path / "llmfail.yaml"
        file.write_text(BASE + experiments)
        return load(file, {}, tmp_path, tmp_path)

    return read


def test_an_experiment_runs_until_its_end_and_the_next_follows(read):
    settings = read(GOOD + "  - {name: y, feature: default, arms: [a/one, b/one]}\n")
    end = 1796083200  # 2026-12-01 in UTC
    assert settings.find_experiment("default", end - 1).name == "x"
    assert settings.find_experiment("default", end).name == "y"
    assert settings.find_experiment("other", end) is None
    assert list(settings.experiments[0].weights.values()) == [1.0, 0.25]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("  - {name: x, feature: default, arms: [a/one]}", "at least two arms"),
        ("  - {name: x, feature: default, arms: [a/one, {target: b/one, weight: 0}]}", "at least two arms"),
        ("  - {name: x, feature: default, arms: [a/one, a/one, b/one]}", "listed twice"),
        ("  - {name: x, feature: defalt, arms: [a/one, b/one]}", "did you mean default"),
        ("  - {name: x, feature: default, arms: [a/one, c/one]}", "unknown provider"),
        ("  - {name: x, feature: default, arms: [a/one, b/one], until: tomorrow}", "expected a time such as"),
        ("  - {name: x, feature: default, arms: [a/one, b/one], sticky: host}", "user or session or none"),
        (GOOD + GOOD, "2 experiments are called 'x'"),
        (
            "  - {name: x, feature: default, arms: [a/one, b/one]}\n" + GOOD.replace("x", "y"),
            "never begins",
        ),
    ],
)
def test_a_mistake_is_told(read, written, said):
    with pytest.raises(UsageError, match=said):
        read(written)
