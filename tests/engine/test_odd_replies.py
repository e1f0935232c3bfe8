"""Replies that say something else than they seem to, or say it in an odd way."""

import pytest
from scripted_engine import ScriptedEngine, ScriptedReply, answer, chunk, error

from llmfail.core.model import Reply
from llmfail.core.receipt import SkipReason

CONTEXTS = (
    "models: {a/one: {context: 1000}, a/two: {context: 1000}, b/one: {context: 1000}, c/one: {context: 9}}\n"
)


@pytest.fixture
def stage(tmp_path):
    def make(script, **more):
        return ScriptedEngine(tmp_path, script, **more)

    return make


def test_a_413_says_nothing_of_the_context_of_other_models(stage):
    played = stage({"a": [error(413, message="too large")], "b": [answer()], "c": [answer()]}, more=CONTEXTS)
    receipt = played.ask()
    assert (receipt.answer, str(receipt.target)) == ("hello", "b/one")
    assert SkipReason.TOO_SMALL not in [entry.outcome for entry in receipt.trail]


def test_an_overflow_goes_to_larger_models_only(stage):
    overflow = error(400, "context_length_exceeded", "maximum context length is 1000 tokens")
    played = stage({"a": [overflow], "b": [answer()], "c": [answer()]}, more=CONTEXTS)
    assert [entry.outcome for entry in played.ask().trail][1:] == [SkipReason.TOO_SMALL] * 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("word", "said"),
    [("model_context_window_exceeded", "context was full"), ("length", "max_tokens (2000)")],
)
def test_a_cut_answer_says_what_cut_it(stage, word, said, stream):
    whole = answer(finish_reason=word)
    reply = ScriptedReply(chunk("hello"), chunk(finish=word)) if stream else whole
    [warning] = stage({"a": [reply]}).ask(stream=stream).warnings
    assert said in warning


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_where_an_answer_was_asked_for_is_called_one(stage, stream):
    page = b"<!DOCTYPE html>\n<html><body>Sign in to the Wi-Fi</body></html>\n"
    reply = ScriptedReply(page) if stream else Reply(200, {}, page)
    receipt = stage({"a": [reply], "b": [answer()]}).ask(stream=stream)
    assert "an HTML page instead of JSON" in receipt.trail[0].note


def test_h1_a_reply_that_is_longer_than_any_answer_is_none(stage):
    whole = answer("x" * (17 << 20))
    receipt = stage({"a": [whole], "b": [answer()]}).ask()
    assert (receipt.answer, receipt.trail[0].note) == ("hello", "the reply is longer than 16 MiB")


def test_h1_of_a_long_error_the_beginning_is_read(stage):
    page = Reply(503, {}, b"<html>" + b"x" * (17 << 20))
    receipt = stage({"a": [page], "b": [answer()]}).ask()
    assert (receipt.answer, receipt.trail[0].outcome) == ("hello", "server_error")
