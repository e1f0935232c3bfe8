"""An answer for a program that takes it in pieces: from the first sign of life one target answers, and until
then another may take over without a word.
"""

import pytest
from scripted_engine import (
    DONE,
    ScriptedEngine,
    ScriptedReply,
    answer,
    chunk,
    error,
    streamed_answer,
    wire_error,
)

from llmfail.core.answer_piece import AnswerBegun, CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import Tool
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target
from llmfail.core.redaction import MASK
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.ports.execution import run_sync

A = Target.parse("a/one")
KEY = "key-of-a-0123"
THOUGHT = chunk(delta={"reasoning_content": "hm"})
CALL = chunk(delta={"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{"}}]})
BLANK = chunk("  ")
ERROR_EVENT = b'data: {"error": {"message": "it broke", "type": "server_error"}}\n\n'


@pytest.fixture
def stage(tmp_path):
    def make(script, **more):
        return ScriptedEngine(tmp_path, script, **more)

    return make


def serve(scripted, **options):
    """The pieces, and the receipt."""
    pieces = []

    async def show(piece):
        pieces.append(piece)

    ask = Ask(to_messages("hi"), **options)
    served = run_sync(scripted.engine.serve(ask, None, show))
    assert served.relayed is None
    return pieces, served.receipt


def test_all_of_an_answer_is_shown_in_its_order(stage):
    live = ScriptedReply(THOUGHT, chunk("Hel"), chunk("lo"), CALL, chunk(finish="tool_calls"), DONE)
    pieces, receipt = serve(stage({"a": [live]}), tools=(Tool("look"),))
    begun, thought, signed, *said = pieces
    assert begun == AnswerBegun(A, "m", is_relayed=False)
    assert (thought, signed.text) == (ThoughtPiece("hm"), "")
    assert signed.signature.vendor
    assert said == [TextPiece("Hel"), TextPiece("lo"), CallBegun(0, "c1", "look"), CallArguments(0, "{")]
    assert receipt.finish_reason == "tool_calls"


@pytest.mark.parametrize("sign", [THOUGHT, CALL, BLANK, chunk("x")], ids=["thought", "call", "blank", "text"])
@pytest.mark.parametrize("end", [ERROR_EVENT, wire_error("cut"), b"", b"data: {oops\n\n"])
def test_behind_a_sign_of_life_no_other_target_answers(stage, sign, end):
    scripted = stage({"a": [ScriptedReply(sign, end)], "b": [streamed_answer("no")]})
    pieces, receipt = serve(scripted, tools=(Tool("look"),))
    assert isinstance(pieces[0], AnswerBegun)
    assert scripted.hosts() == "a"
    assert receipt.exit_code == ExitCode.INCOMPLETE
    assert receipt.partial is not None
    assert receipt.usage.estimated


@pytest.mark.parametrize("end", [ERROR_EVENT, wire_error("cut"), b"", b"data: {oops\n\n", error(500)])
def test_before_it_another_target_takes_over_in_silence(stage, end):
    broken = end if hasattr(end, "status") else ScriptedReply(b": alive\n\n", chunk(), end)
    pieces, receipt = serve(stage({"a": [broken], "b": [streamed_answer("yes")]}))
    assert [one.target.provider for one in pieces if isinstance(one, AnswerBegun)] == ["b"]
    assert pieces[1:] == [TextPiece("yes")]
    assert receipt.ok


def test_what_the_provider_did_not_stream_comes_as_one_piece(stage):
    pieces, receipt = serve(stage({"a": [answer("whole")]}))
    assert pieces[1:] == [TextPiece("whole")]
    assert receipt.answer == "whole"


def test_an_answer_that_a_filter_ended_is_told_as_one_once_it_was_shown(stage):
    live = ScriptedReply(chunk("Hel"), chunk(finish="content_filter"), DONE)
    scripted = stage({"a": [live], "b": [streamed_answer("no")]}, cached=True)
    pieces, receipt = serve(scripted)
    assert receipt.ok
    assert (receipt.answer, receipt.finish_reason) == ("Hel", "content_filter")
    assert receipt.trail[0].outcome == "content_blocked"
    again, _ = serve(scripted)
    assert len(again) == len(pieces)
    assert scripted.hosts() == "aa"


@pytest.mark.parametrize("cut", range(1, len(KEY)))
@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (chunk, TextPiece),
        (lambda text: chunk(delta={"reasoning_content": text}), ThoughtPiece),
        (
            lambda text: chunk(
                delta={"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": text}}]}
            ),
            CallArguments,
        ),
    ],
    ids=["text", "thought", "arguments"],
)
def test_the_key_is_shown_in_no_kind_of_piece(stage, cut, write, kind):
    written = [write(f"is {KEY[:cut]}"), write(f"{KEY[cut:]} fine")]
    live = ScriptedReply(*written, chunk("."), chunk(finish="stop"), DONE)
    pieces, _ = serve(stage({"a": [live]}), tools=(Tool("f"),))
    said = "".join(one.text for one in pieces if isinstance(one, kind))
    assert said.removesuffix(".") == f"is {MASK} fine"
    assert KEY not in str(pieces)
