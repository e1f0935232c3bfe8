"""Texts that are embedded several in a call."""

import asyncio

from scripted_engine import ScriptedEngine, embedding_reply

from llmfail.core.errors import UsageError
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.bulk.text_arrays import TextArrays


def test_a_text_whose_feature_is_not_configured_fails_alone(tmp_path):
    stage = ScriptedEngine(tmp_path, {"a": [embedding_reply(2)]})
    asks = [
        Ask(to_messages("hi"), fallback=False),
        Ask(to_messages("hi"), feature="nowhere"),
        Ask(to_messages("hi"), fallback=False),
    ]

    async def embed_all():
        arrays = TextArrays(stage.engine, 2)
        found = (arrays.embed(ask, RepeatRules(0.0)) for ask in asks)
        return await asyncio.wait_for(asyncio.gather(*found, return_exceptions=True), 20)

    first, unknown, last = asyncio.run(embed_all())
    assert isinstance(unknown, UsageError)
    assert (first.ok, last.ok, len(stage.calls)) == (True, True, 1)
