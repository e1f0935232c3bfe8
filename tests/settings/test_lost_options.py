"""What a configuration says to models that have no word for it."""

import json
from datetime import date

from llmfail.engine.planning.price_lookup import TargetPrices
from llmfail.prices import Catalogue
from llmfail.settings import load
from llmfail.settings.advice.lint import lint


def test_an_option_that_a_target_of_the_chain_has_no_word_for_is_told(tmp_path):
    document = {
        "version": 1,
        "timezone": "UTC",
        "providers": {
            "openai": {"api": "openai", "api_key": "made-up-key-4711"},
            "anthropic": {"api": "anthropic", "api_key": "made-up-key-4712"},
        },
        "models": {"anthropic/claude-sonnet-5-5": {"options": {"verbosity": "low"}}},
        "features": {
            "a": {
                "primary": "openai/gpt-6.1-terra",
                "fallbacks": ["anthropic/claude-sonnet-5-5"],
                "options": {"seed": 1, "effort": "low"},
            }
        },
    }
    file = tmp_path / "llmfail.yaml"
    file.write_text(json.dumps(document))
    settings = load(file, {}, tmp_path, tmp_path)
    found = [
        (place, text)
        for place, text in lint(settings, date(2026, 11, 20), TargetPrices(settings, Catalogue()))
        if place[-1] == "options"
    ]
    assert found == [
        (("features", "a", "options"), "anthropic/claude-sonnet-5-5 has no word for seed: left out there"),
        (
            ("models", "anthropic/claude-sonnet-5-5", "options"),
            "anthropic/claude-sonnet-5-5 has no word for verbosity: left out there",
        ),
    ]
