"""An answer at the door is the one that the engine would give, or there is none at the door."""

import pytest
from scripted_engine import ScriptedEngine, answer

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import Expectation
from llmfail.engine.fast_cache_hit import find_cached_receipt
from llmfail.engine.ports.execution import run_sync

FEATURES = {
    "listed": "",
    "by cost": ", order: cost",
    "in turn": ", order: round_robin",
    "a system prompt": ", system: be brief",
    "without fresh answers": ", cache: {ttl: 0}",
    "without any": ", cache: {enabled: false}",
    "expecting": ", expect: {regex: hel+o}",
    "expecting something else": ", expect: {regex: nothing}",
}
ASKS = {
    "plain": {},
    "another target": {"targets": (Target("b", "one"),)},
    "two targets": {"targets": (Target("c", "one"), Target("b", "one"))},
    "an alias of nothing": {"feature": "default"},
    "other options": {"max_tokens": 7, "temperature": 0.1, "stop": ("END",)},
    "refreshed": {"cache": "refresh"},
    "not stored": {"cache": "off"},
    "expecting": {"expect": Expectation(patterns=("hello",))},
    "expecting something else": {"expect": Expectation(json=True)},
    "for a user": {"user": "ann", "ref": 7},
}


NOBODY = Ask(to_messages("hi"), targets=(Target("a", "one"), Target("nobody", "x")))


@pytest.fixture
def stage(tmp_path):
    def stage(feature="", **options):
        script = {host: [answer()] for host in "abc"}
        return ScriptedEngine(tmp_path, script, feature=feature, cached=True, **options)

    return stage


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("options", ASKS.values(), ids=ASKS)
def test_the_door_never_says_what_the_engine_would_not(stage, feature, options):
    play = stage(feature)
    ask = Ask(to_messages("hi"), **options)
    run_sync(play.engine.ask(ask))
    found = run_sync(find_cached_receipt(play.settings, play.ports, ask))
    known = run_sync(play.engine.ask(ask))
    if found is not None:
        for field in (
            "answer",
            "source",
            "tier",
            "target",
            "response_model",
            "finish_reason",
            "cost_pico_usd",
            "ref",
        ):
            assert getattr(found, field) == getattr(known, field)
        assert (found.feature, found.trail, found.looked) == (known.feature, known.trail, known.looked)


def test_a_plain_ask_is_answered_at_the_door(stage):
    """So that the test above is not one of nothing."""
    play = stage()
    play.ask()
    assert run_sync(find_cached_receipt(play.settings, play.ports, Ask(to_messages("hi")))).source == "cache"
    assert len(play.calls) == 1


def test_what_is_wrong_is_said_at_the_door_too(stage):
    play = stage()
    for ask in (
        Ask(to_messages("")),
        Ask(to_messages("hi"), feature="no"),
        Ask(to_messages("hi"), template="no"),
        NOBODY,
    ):
        with pytest.raises(UsageError) as there:
            run_sync(play.engine.ask(ask))
        with pytest.raises(UsageError) as here:
            run_sync(find_cached_receipt(play.settings, play.ports, ask))
        assert str(here.value) == str(there.value)


def test_a_hit_at_the_door_is_counted_and_logged(stage):
    play = stage()
    play.ask()
    run_sync(find_cached_receipt(play.settings, play.ports, Ask(to_messages("hi"))))
    texts = {key: row.text for key, row in play.store._rows.items()}
    routing = next(text for key, text in texts.items() if key.startswith("routing/"))
    assert '"hits":1,"misses":1' in routing
    assert '"source":"cache"' in texts["log/1"]
