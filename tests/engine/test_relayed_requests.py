"""A program's own request through a chain: passed on where a target speaks its dialect, translated elsewhere,
and in either case counted, held in budgets and cached as any ask.
"""

import json

import pytest
from scripted_engine import ScriptedEngine, ScriptedReply, answer, chunk, error, streamed_answer

from llmfail.core.answer_piece import AnswerBegun, OriginalRequest, RelayedBytes, TextPiece
from llmfail.core.errors import ExitCode
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.ports.execution import run_sync

BODY = b'{"odd":{"a": 1.0},"messages":[{"role":"user","content":"hi"}],"max_tokens":100}'
KEY = "key-of-a-0123"
ERROR_EVENT = b'data: {"error": {"message": "it broke", "type": "server_error"}}\n\n'


@pytest.fixture
def stage(tmp_path):
    def make(script, **more):
        return ScriptedEngine(tmp_path, script, **more)

    return make


def serve(scripted, *, stream=False, body=BODY, dialect="chat", headers=None, **options):
    """The pieces, and what was served."""
    pieces = []

    async def show(piece):
        pieces.append(piece)

    ask = Ask(to_messages("hi"), **{"max_tokens": 100, **options})
    original = OriginalRequest(dialect, body, headers or {})
    served = run_sync(scripted.engine.serve(ask, original, show if stream else None))
    return pieces, served


def sent_to(scripted):
    return [(host, body.get("odd"), body["model"]) for host, _, body in scripted.calls]


def test_a_whole_reply_comes_back_as_it_was(stage):
    reply = answer("hello")
    _, served = serve(scripted := stage({"a": [reply]}))
    assert sent_to(scripted) == [("a", {"a": 1.0}, "one")]
    assert (served.relayed.status, served.relayed.body) == (200, reply.body)
    assert (served.receipt.answer, served.receipt.usage.output_tokens) == ("hello", 5)


def test_a_stream_comes_back_byte_by_byte(stage):
    live = streamed_answer("Hel", "lo")
    live.script = (b": alive\n\n", *live.script)
    pieces, served = serve(stage({"a": [live]}), stream=True)
    begun, *relayed = pieces
    assert begun == AnswerBegun(served.receipt.target, "m", is_relayed=True)
    usage = chunk(finish="stop", usage={"prompt_tokens": 10, "completion_tokens": 5})
    assert b"".join(one.data for one in relayed) == b"".join((b": alive\n\n", *live.script[1:]))
    assert usage in relayed[-2].data + relayed[-1].data
    assert (served.receipt.answer, served.receipt.usage.output_tokens) == ("Hello", 5)
    assert served.relayed is None


def test_what_might_have_become_a_thought_is_passed_on_once_where_the_end_mark_never_comes(stage):
    said = (chunk("<thi"), chunk(finish="stop"))
    pieces, served = serve(stage({"a": [ScriptedReply(*said, 99.0)]}), stream=True)
    assert b"".join(one.data for one in pieces[1:]) == b"".join(said)
    assert served.receipt.answer == "<thi"


def test_a_target_of_another_dialect_gets_a_translation(stage):
    scripted = stage({"a": [error(500)], "b": [streamed_answer("yes")]})
    pieces, served = serve(scripted, stream=True, dialect="anthropic")
    assert sent_to(scripted) == [("a", None, "one"), ("a", None, "two"), ("b", None, "one")]
    begun = AnswerBegun(served.receipt.target, "m", is_relayed=False, tier=2, attempts=3)
    assert pieces == [begun, TextPiece("yes")]
    assert served.relayed is None


def test_before_the_first_event_another_target_takes_over_with_the_same_request(stage):
    scripted = stage({"a": [ScriptedReply(b": alive\n\n", ERROR_EVENT)], "b": [streamed_answer("yes")]})
    pieces, served = serve(scripted, stream=True)
    assert [one[1] for one in sent_to(scripted)] == [{"a": 1.0}] * 3
    assert [str(one.target) for one in pieces if isinstance(one, AnswerBegun)] == ["b/one"]
    assert b"alive" not in b"".join(one.data for one in pieces if isinstance(one, RelayedBytes))
    assert served.receipt.ok


@pytest.mark.parametrize("said", [chunk(), chunk("Hel")], ids=["role alone", "text"])
@pytest.mark.parametrize("end", [ERROR_EVENT, b"", b"data: {oops\n\n"], ids=["error", "cut", "malformed"])
def test_behind_it_none_does_and_the_error_is_not_passed_on(stage, said, end):
    scripted = stage({"a": [ScriptedReply(said, end)], "b": [streamed_answer("no")]})
    pieces, served = serve(scripted, stream=True)
    assert b"".join(one.data for one in pieces[1:]) == said
    assert served.receipt.exit_code == ExitCode.INCOMPLETE
    assert served.receipt.partial is not None
    assert scripted.hosts() == "a"


def test_what_is_no_stream_is_passed_on_whole(stage):
    pieces, served = serve(stage({"a": [answer("whole")]}), stream=True)
    assert pieces == []
    assert served.receipt.answer == "whole"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_comes_back_as_it_was_once_nobody_else_can_help(stage, stream):
    refusal = error(400, "invalid_request_error", "messages.1: Invalid `signature` in `thinking` block")
    scripted = stage({host: [refusal] for host in "abc"})
    _, served = serve(scripted, stream=stream)
    assert served.receipt.exit_code == ExitCode.REQUEST_REFUSED
    assert (served.relayed.status, served.relayed.body) == (400, refusal.body)


def test_any_other_failure_does_not(stage):
    _, served = serve(stage({host: [error(500)] for host in "abc"}))
    assert served.receipt.exit_code == ExitCode.UNAVAILABLE
    assert served.relayed is None


@pytest.mark.parametrize("stream", [False, True])
def test_the_key_does_not_come_back(stage, stream):
    texts = ("it is key-of", "-a-0123 fine")
    script = streamed_answer(*texts) if stream else answer("".join(texts))
    pieces, served = serve(stage({"a": [script]}), stream=stream)
    shown = b"".join(one.data for one in pieces[1:]) if stream else served.relayed.body
    assert b"[key]" in shown
    assert not any(part in shown for part in (KEY.encode(), b"-0123", b"key-of"))


def test_a_prompt_of_the_feature_cannot_be_passed_on(stage):
    scripted = stage({"a": [answer()]}, feature=", system: Be kind.")
    _, served = serve(scripted)
    assert sent_to(scripted) == [("a", None, "one")]
    assert served.relayed is None
    templated = stage({"a": [answer()]}, feature=", template: t", more="templates: {t: 'Say {prompt}'}")
    serve(templated)
    assert sent_to(templated) == [("a", None, "one")]
    own = stage({"a": [answer()]}, feature=", system: Be kind.")
    serve(own, system="Be short.")
    assert sent_to(own) == [("a", {"a": 1.0}, "one")]


def test_stored_answers_belong_to_all_that_was_asked(stage):
    scripted = stage({"a": [answer("one"), answer("two"), answer("three")]}, cached=True)
    first, again = serve(scripted)[1], serve(scripted)[1]
    assert (again.receipt.source, again.receipt.answer, again.relayed) == ("cache", "one", None)
    other = serve(scripted, body=BODY.replace(b"1.0", b"2.0"))[1]
    beta = serve(scripted, headers={"openai-beta": "x"})[1]
    assert [one.receipt.answer for one in (first, other, beta)] == ["one", "two", "three"]


def test_a_plain_request_shares_stored_answers_with_any_ask(stage):
    scripted = stage({"a": [answer("one"), answer("two")]}, cached=True)
    asked = scripted.ask(max_tokens=100)
    body = b'{"messages":[{"role":"user","content":"hi"}],"model":"x","max_tokens":100,"user":"u"}'
    served = serve(scripted, body=body)[1]
    assert (asked.answer, served.receipt.answer, served.receipt.source) == ("one", "one", "cache")


def test_a_parameter_that_was_refused_is_left_out_of_the_original_too(stage):
    refusal = error(400, "unsupported_parameter", "no temperature", param="temperature")
    scripted = stage({"a": [refusal, answer("yes")]})
    body = json.dumps({**json.loads(BODY), "temperature": 1}).encode()
    _, served = serve(scripted, body=body, temperature=1.0)
    assert served.receipt.answer == "yes"
    assert ["temperature" in one for _, _, one in scripted.calls] == [True, False]


def test_budgets_hold_and_count_it_as_any_ask(stage):
    more = "models: {a/one: {price: {input: 1, output: 10}}}\nbudgets: [{name: all, limit: 1, per: day}]\n"
    scripted = stage({"a": [answer("x"), streamed_answer("x"), answer("x")]}, more=more)
    costs = [serve(scripted, stream=one)[1].receipt.cost_pico_usd for one in (False, True)]
    assert costs == [scripted.ask(max_tokens=100).cost_pico_usd] * 2
