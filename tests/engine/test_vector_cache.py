"""A text that a target has embedded is not sent to it again, whatever array it comes in."""

import asyncio
import json

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, error

from llmfail.core.cache.cache_key import digest_of, digest_of_text
from llmfail.core.cache.vector_record import load_vector_if_fresh, pack_vector
from llmfail.core.conversation import Message
from llmfail.core.model import Reply, Request, Target
from llmfail.core.records.record import dump
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.bulk.text_arrays import TextArrays
from llmfail.engine.bulk.text_list import embed_texts
from llmfail.engine.ports.execution import run_sync

A = Target("a", "one")
PRICE = "models: {a/one: {price: {input: 3, output: 0}}}"
RULES = RepeatRules(0.0, ())


def vector_of(text):
    return (len(text) / 3, 1e-300, -0.1)


class EmbeddingEngine(ScriptedEngine):
    """Each host embeds what it gets, unless it has a script."""

    numbers = 3
    sizes = False
    """Whether it gives as many numbers as are asked for."""

    async def _send(self, call, timeout):
        body = json.loads(call.body)
        texts, numbers = body["input"], body.get("dimensions", 3) if self.sizes else self.numbers
        host = call.url.split("/")[2].partition(".")[0]
        data = [{"index": n, "embedding": vector_of(text)[:numbers]} for n, text in enumerate(texts)]
        reply = {"model": "m", "data": data, "usage": {"prompt_tokens": len(texts)}}
        self.script.setdefault(host, [None])
        said = await super()._send(call, timeout)
        return said or Reply(200, {}, json.dumps(reply).encode())

    @property
    def sent(self):
        return [body["input"] for _, _, body in self.calls]


@pytest.fixture
def make(tmp_path):
    def make(*, cached=True, **options):
        return EmbeddingEngine(tmp_path, options.pop("script", {}), cached=cached, **options)

    return make


def ask_of(*texts, **options):
    return Ask(tuple(Message("user", text) for text in texts), **({"targets": (A,)} | options))


def embed(play, *texts, **options):
    return run_sync(embed_texts(play.engine, ask_of(*texts, **options)))


def embed_lines(play, *asks):
    async def run():
        arrays = TextArrays(play.engine, 4)
        return await asyncio.gather(*(arrays.embed(ask, RULES) for ask in asks))

    return asyncio.run(run())


def test_g3_a_vector_comes_back_exactly_and_costs_nothing(make):
    play = make(more=PRICE)
    first, second = embed(play, "hi"), embed(play, "hi")
    assert (first.source, second.source, second.tier, second.cost_pico_usd) == ("model", "cache", 0, 0)
    assert second.embedding.vectors == first.embedding.vectors == (vector_of("hi"),)
    assert (second.trail, second.response_model, second.request) == ((), "m", first.request)
    assert play.sent == [["hi"]]


def test_g3_only_what_is_not_stored_is_sent_and_each_text_once(make):
    play = make(more=PRICE)
    embed(play, "b")
    receipt = embed(play, "ccc", "b", "aa", "ccc", "b")
    assert receipt.embedding.vectors == tuple(map(vector_of, ("ccc", "b", "aa", "ccc", "b")))
    assert play.sent == [["b"], ["ccc", "aa"]]
    assert (receipt.source, receipt.usage.input_tokens) == ("model", 2)
    assert receipt.cost_pico_usd == 2 * 3 * 10**6
    assert embed(play, "aa", "aa").source == "cache"


def test_g3_more_texts_than_a_target_takes_are_several_calls(make):
    play = make(more=PRICE)
    texts = [f"text {number}" for number in range(2100)]
    receipt = embed(play, *texts)
    assert list(map(len, play.sent)) == [2048, 52]
    assert receipt.embedding.vectors == tuple(map(vector_of, texts))
    assert receipt.cost_pico_usd == 2100 * 3 * 10**6
    assert len(receipt.trail) == 2


def test_g3_what_was_paid_for_before_a_call_failed_is_stored(make):
    play = make(script={"a": [None, error(500), None]}, more=PRICE)
    texts = [f"text {number}" for number in range(2100)]
    failed = embed(play, *texts)
    assert (failed.ok, failed.embedding, len(failed.trail)) == (False, None, 2)
    assert embed(play, *texts).ok
    assert list(map(len, play.sent)) == [2048, 52, 52]


@pytest.mark.parametrize("cache", ["off", "refresh"])
def test_g3_neither_no_cache_nor_refresh_use_what_is_stored(make, cache):
    play = make()
    embed(play, "hi")
    assert embed(play, "hi", cache=cache).source == "model"
    assert embed_lines(play, ask_of("hi", cache=cache))[0].source == "model"
    assert len(play.sent) == 3


def test_g3_no_cache_stores_nothing_and_refresh_does(make):
    play = make()
    embed(play, "hi", cache="off")
    embed(play, "hi", cache="refresh")
    assert (embed(play, "hi").source, len(play.sent)) == ("cache", 2)


def test_g3_a_configuration_that_stores_no_answers_stores_no_vectors(make):
    play = make(cached=False)
    embed(play, "hi")
    assert embed(play, "hi").source == "model"
    assert not play.answers._rows


def test_g3_a_stored_vector_expires(make):
    play = make()
    embed(play, "hi")
    play.now += play.settings.cache.ttl + 1
    assert embed(play, "hi").source == "model"


def test_g3_a_vector_serves_only_as_its_targets_and_as_asked(make, tmp_path):
    play = make()
    embed(play, "hi")
    embed(play, "hi", targets=(Target("b", "one"),))
    embed(play, "hi", targets=(Target("a", "two"),))
    assert play.hosts() == "aba"
    short = make(more="models: {a/one: {body: {dimensions: 2}}}")
    short.answers._rows.update(play.answers._rows)
    assert embed(short, "hi").source == "model"


def test_g3_a_fallback_that_has_the_text_is_not_called(make):
    play = make(script={"a": [error(503)]})
    embed(play, "hi", targets=(Target("b", "one"),))
    receipt = embed(play, "hi", targets=(A, Target("b", "one")))
    assert (receipt.source, receipt.tier, play.hosts()) == ("cache", 2, "ba")


def test_g3_what_a_model_gave_before_it_changed_does_not_mix_with_what_it_gives_now(make):
    play = make()
    embed(play, "one", "two")
    play.numbers = 2
    receipt = embed(play, "one", "three")
    assert receipt.embedding.vectors == (vector_of("one")[:2], vector_of("three")[:2])
    assert embed(play, "two").embedding.dimensions == 2


def test_g3_lines_are_looked_up_each_on_its_own(make):
    play = make(more=PRICE)
    embed(play, "one")
    found = embed_lines(play, *(replace(ask_of(text), ref=text) for text in ("zero", "one", "two")))
    assert [one.ref for one in found] == ["zero", "one", "two"]
    assert [one.embedding.vectors[0] for one in found] == list(map(vector_of, ("zero", "one", "two")))
    assert [one.source for one in found] == ["model", "cache", "model"]
    assert [one.cost_pico_usd for one in found] == [3428571, 0, 2571429]
    assert play.sent == [["one"], ["zero", "two"]]


def test_g3_equal_lines_under_way_are_sent_once(make):
    play = make(more=PRICE)
    found = embed_lines(play, *(ask_of("one" if number % 2 else "two") for number in range(100)))
    assert sorted(play.sent[0]) == ["one", "two"]
    assert len(play.sent) == 1
    assert sum(one.cost_pico_usd for one in found) == 2 * 3 * 10**6
    assert [one.source for one in found] == ["model"] * 2 + ["cache"] * 98
    assert len({one.id for one in found}) == 100
    assert [one.embedding.vectors[0] for one in found[:2]] == [vector_of("two"), vector_of("one")]


def test_g3_equal_lines_share_a_failure(make):
    play = make(script={"a": [error(400)]})
    found = embed_lines(play, *[ask_of("one")] * 3)
    assert [one.ok for one in found] == [False] * 3
    assert [(one.source, len(one.trail)) for one in found] == [("none", 1), ("none", 0), ("none", 0)]
    assert len(play.sent) == 1


def test_g3_a_line_that_may_not_pay_fails_alone(make):
    play = make(more=PRICE)
    found = embed_lines(play, ask_of("one", max_cost=0), ask_of("one"), ask_of("one"))
    assert [one.ok for one in found] == [False, True, True]


def test_g3_equal_texts_of_two_features_are_two(make):
    play = make()
    embed_lines(play, ask_of("one"), ask_of("one", targets=(Target("b", "one"),)))
    assert sorted(play.hosts()) == ["a", "b"]


def test_g3_the_key_of_a_text_is_that_of_no_question():
    assert digest_of_text("hi") != digest_of(Request(to_messages("hi")))


@pytest.mark.parametrize("flaw", ["text", '{"v":1}', '{"v":1,"numbers":"AAA=","target":"a/one","at":1.0}'])
def test_g3_a_damaged_vector_is_none(flaw):
    assert load_vector_if_fresh(flaw, 10, 2.0) is None
    whole = dump(pack_vector((0.1, 2.0), A, 1.0, None))
    assert load_vector_if_fresh(whole, 10, 2.0).vector == (0.1, 2.0)
    assert load_vector_if_fresh(whole, 10, 0.5) is None


def test_vectors_of_a_length_that_was_asked_for_are_apart_from_all_others(make):
    play = make()
    play.sizes = True
    lengths = [len(embed(play, "hi", dimensions=one).embedding.vectors[0]) for one in (None, 2, 1, 2, None)]
    assert lengths == [3, 2, 1, 2, 3]
    assert len(play.sent) == 3


def test_a_vector_of_another_length_than_was_asked_for_is_no_answer(make):
    play = make(cached=False)
    receipt = embed(play, "hi", dimensions=2)
    assert (receipt.error.kind, receipt.trail[-1].outcome) == ("unavailable", "rejected_answer")
    assert "3 dimensions where 2 were asked for" in receipt.error.message
