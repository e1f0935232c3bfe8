"""Programs may name any model of a provider: what is worked out for it is not kept for ever."""

import pytest

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.planning.price_lookup import MAX_KNOWN
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.prices import Catalogue
from llmfail.settings import load

CONFIG = """\
version: 1
providers: {openai: {api: openai, api_key: k}}
features: {default: {primary: openai/gpt-6.1-terra}}
"""


@pytest.fixture
def routes(tmp_path):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG)
    return TargetRoutes(load(file, {}, tmp_path, tmp_path), Catalogue())


def test_routes_chains_and_prices_of_invented_models_are_forgotten(routes):
    first = routes[Target("openai", "gpt-6.1-terra")]
    for number in range(MAX_KNOWN + 5):
        target = Target("openai", f"invented-{number}")
        feature = routes.resolve(Ask(messages=to_messages("hi"), targets=(target,)))
        assert routes.candidates_of(feature.written, feature.chain)[0].target == target
    assert len(routes) <= MAX_KNOWN
    assert routes[Target("openai", "gpt-6.1-terra")] == first


def test_a_provider_that_is_not_configured_is_known_by_no_name(routes):
    with pytest.raises(UsageError, match="nosuch"):
        routes[Target("nosuch", "x")]
