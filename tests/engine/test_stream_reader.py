"""An answer that is shown as it comes: whose it is, when somebody else may take over, and what it costs."""

import json

import pytest
from scripted_engine import (
    DONE,
    ProcessPause,
    ScriptedEngine,
    ScriptedReply,
    address_of,
    answer,
    chunk,
    embedding_reply,
    error,
    streamed_answer,
    wire_error,
)

from llmfail.core.admission.circuit import Circuit
from llmfail.core.model import Secret, Target
from llmfail.core.receipt import format_usd
from llmfail.core.records.record import load_or_default
from llmfail.core.records.state_keys import calibration_key, circuit_key
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import Expectation
from llmfail.core.routing.attempt_steps import LEASE_MARGIN
from llmfail.engine.ports.execution import run_sync

PRICED = """\
models:
  a/one: {price: {input: 1, output: 10}}
"""
ERROR_EVENT = b'data: {"error": {"message": "it broke", "type": "server_error"}}\n\n'
PING = b": keep-alive\n\n"
THOUGHT = chunk(delta={"reasoning_content": "hm"})
CUT = wire_error("cut")


@pytest.fixture
def stage(tmp_path):
    def make(script, **more):
        return ScriptedEngine(tmp_path, script, **more)

    return make


def outcomes(receipt):
    return [entry.outcome for entry in receipt.trail]


def test_an_answer_is_shown_piece_by_piece_and_told_whole(stage):
    live = streamed_answer("Hel", "lo ", "you")
    pieces, receipt = stage({"a": [live]}).shown()
    assert pieces == ["Hel", "lo ", "you"]
    assert receipt.answer == "Hello you"
    assert (receipt.source, receipt.tier, receipt.finish_reason) == ("model", 0, "stop")
    assert (receipt.usage.input_tokens, receipt.usage.output_tokens) == (10, 5)
    assert not receipt.usage.estimated
    assert live.closed == 1


def test_a_stream_is_asked_for(stage):
    played = stage({"a": [streamed_answer("x")]})
    played.shown()
    assert played.calls[0][2]["stream"] is True


def test_a_server_that_knows_no_stream_options_streams_without_them(stage):
    """And they are not sent again: that it refuses them is kept."""
    refusal = error(422, message="stream_options: Extra inputs are not permitted", param="stream_options")
    played = stage({"a": [refusal, streamed_answer("x")]})
    assert [played.shown()[1].answer for _ in range(2)] == ["x", "x"]
    assert ["stream_options" in body for _, _, body in played.calls] == [True, False, False]


def test_who_is_shown_nothing_may_ask_for_a_stream_too(stage):
    played = stage({"a": [streamed_answer("Hel", "lo")]})
    receipt = played.ask(stream=True)
    assert receipt.answer == "Hello"
    assert played.calls[0][2]["stream"] is True


BEFORE = {
    "refused": wire_error("refused"),
    "an error status": error(503),
    "an error in a 200": ScriptedReply(ERROR_EVENT),
    "an error in a 200 as JSON": answer()
    and ScriptedReply(b'{"error": {"message": "no", "type": "server_error"}}'),
    "nothing": ScriptedReply(),
    "no end mark": ScriptedReply(PING, chunk()),
    "a cut": ScriptedReply(PING, CUT),
    "garbage": ScriptedReply(b"<html>no</html>"),
    "silence": ScriptedReply(31.0),
    "pings alone": ScriptedReply(*[20.0, PING] * 5),
    "white space": ScriptedReply(chunk(" \n"), CUT),
    "a thought, and a cut": ScriptedReply(THOUGHT, CUT),
    "a thought, and silence": ScriptedReply(THOUGHT, 31.0),
    "an empty answer": streamed_answer(" ", "\n"),
}


@pytest.mark.parametrize("first", BEFORE.values(), ids=BEFORE)
def test_until_something_is_shown_any_failure_moves_on_silently(stage, first):
    played = stage(
        {"a": [first], "b": [streamed_answer("good")]}, feature=", timeout: 5m, deadline: 10m, retries: 0"
    )
    pieces, receipt = played.shown()
    assert (pieces, receipt.answer) == (["good"], "good")
    assert receipt.target.provider == "b"
    assert receipt.error is None


AFTER = {
    "an error event": (ScriptedReply(chunk("half"), ERROR_EVENT), "server_error"),
    "a cut": (ScriptedReply(chunk("half"), CUT), "malformed"),
    "an end without its mark": (ScriptedReply(chunk("half")), "malformed"),
    "silence": (ScriptedReply(chunk("half"), 31.0), "timeout"),
    "pings alone": (ScriptedReply(chunk("half"), *[20.0, PING] * 3), "timeout"),
    "a content filter": (
        ScriptedReply(chunk("half"), chunk(finish="content_filter"), DONE),
        "content_blocked",
    ),
    "the deadline": (ScriptedReply(chunk("half"), *[25.0, THOUGHT] * 30), "timeout"),
}


@pytest.mark.parametrize(("first", "outcome"), AFTER.values(), ids=AFTER)
def test_once_something_is_shown_nobody_else_speaks(stage, first, outcome):
    played = stage(
        {"a": [first], "b": [streamed_answer("good")]}, feature=", timeout: 5m, deadline: 10m, retries: 3"
    )
    closed_before = first.closed
    pieces, receipt = played.shown()
    assert "".join(pieces) == "half"
    assert (receipt.answer, receipt.partial) == (None, "half")
    assert (receipt.error.code, receipt.error.kind) == (8, "incomplete")
    assert receipt.error.message.startswith("a/one: the answer broke off")
    assert outcomes(receipt) in ([outcome], ["cancelled"])
    assert played.hosts() == "a"
    assert first.closed - closed_before == played.hosts().count("a")


@pytest.mark.parametrize(("first", "_outcome"), AFTER.values(), ids=AFTER)
def test_where_nothing_is_shown_the_next_answers_whole(stage, first, _outcome):
    played = stage(
        {"a": [first], "b": [streamed_answer("good")]},
        feature=", timeout: 5m, deadline: 30m, on_refusal: next",
    )
    receipt = played.ask(stream=True)
    assert (receipt.answer, receipt.target.provider, receipt.partial) == ("good", "b", None)


def test_degraded_steps_do_not_speak_behind_half_an_answer(stage):
    played = stage({"a": [ScriptedReply(chunk("half"), CUT)]}, feature=", degrade: [{text: sorry}]")
    pieces, receipt = played.shown()
    assert pieces == ["half"]
    assert (receipt.answer, receipt.error.code) == (None, 8)


def test_what_is_shown_may_take_longer_than_an_attempt_but_not_than_the_deadline(stage):
    slow = ScriptedReply(*[chunk("x"), 4.0] * 10, chunk(finish="stop"), DONE)
    played = stage({"a": [slow], "b": [streamed_answer("b")]}, feature=", timeout: 10s, deadline: 60s")
    pieces, receipt = played.shown()
    assert len(pieces) == 10
    assert receipt.error is None
    slower = stage({"a": [slow], "b": [streamed_answer("b")]}, feature=", timeout: 10s, deadline: 30s")
    pieces, receipt = slower.shown()
    assert (len(pieces), receipt.error.code) == (8, 8)
    assert "the deadline passed before it was whole" in receipt.error.message


@pytest.mark.parametrize(("shown", "lasts"), [(True, 60.0), (False, 10.0)])
def test_the_place_of_a_trial_is_kept_for_as_long_as_it_may_take(stage, shown, lasts):
    played = stage({"a": [wire_error("refused"), wire_error("refused"), streamed_answer("x")]})
    leases = []
    for _ in range(2):
        played.ask(targets=("a/one",), fallback=False)
    played.now += 60.0

    def watch():
        key = circuit_key(address_of("a/one"))
        leases.extend(load_or_default(played.store.read([key])[0][key], Circuit).leases)

    played.watch = watch
    if shown:
        played.shown(targets=(Target("a", "one"),), fallback=False)
    else:
        played.ask(targets=("a/one",), fallback=False, stream=True)
    assert [lease.until - played.now for lease in leases] == [lasts + LEASE_MARGIN]


def test_what_is_not_shown_keeps_to_the_time_of_an_attempt(stage):
    slow = ScriptedReply(*[chunk("x"), 4.0] * 10, chunk(finish="stop"), DONE)
    played = stage({"a": [slow], "b": [streamed_answer("b")]}, feature=", timeout: 10s, deadline: 60s")
    assert played.ask(stream=True).answer == "b"


def test_a_thought_is_a_sign_of_life(stage):
    thinking = ScriptedReply(*[25.0, THOUGHT] * 3, chunk("done"), chunk(finish="stop"), DONE)
    played = stage({"a": [thinking]}, feature=", timeout: 5m, deadline: 10m")
    assert played.shown()[1].answer == "done"


@pytest.mark.parametrize(
    ("limits", "silences"),
    [
        ("first_token_timeout: 3s", [4.0]),
        ("stall_timeout: 2s", [THOUGHT, 2.5]),
        ("first_token_timeout: 3s, stall_timeout: 2s", [2.9, THOUGHT, 1.9, THOUGHT, 2.1]),
    ],
)
def test_a_feature_has_limits_of_its_own(stage, limits, silences):
    played = stage(
        {"a": [ScriptedReply(*silences, chunk("late"))], "b": [streamed_answer("b")]}, feature=f", {limits}"
    )
    receipt = played.ask(stream=True)
    assert receipt.answer == "b"
    assert "timeout" in outcomes(receipt)


REASONING = [chunk("done"), chunk(finish="stop"), DONE]


@pytest.mark.parametrize(
    "silence",
    [[*[1.0, b": OPENROUTER PROCESSING\n\n"] * 35], [35.0], [*[20.0, b"data:\n\n"] * 2]],
    ids=["keep-alives", "silence", "empty events"],
)
def test_c7_a_model_that_reasons_in_silence_is_given_as_long_as_without_a_stream(stage, silence):
    played = stage({"a": [ScriptedReply(*silence, *REASONING)]}, feature=", timeout: 60s, deadline: 3m")
    assert played.shown()[1].answer == "done"


def test_c7_a_keep_alive_renews_the_wait_for_the_first_token_within_the_time_of_the_attempt(stage):
    limits = ", first_token_timeout: 3s, timeout: 20s, deadline: 5m"
    alive = ScriptedReply(*[2.0, PING] * 9, *REASONING)
    assert stage({"a": [alive]}, feature=limits).shown()[1].answer == "done"
    for_ever = ScriptedReply(*[2.0, PING] * 100)
    played = stage({"a": [for_ever], "b": [streamed_answer("b")]}, feature=limits)
    began = played.now
    receipt = played.ask(stream=True, targets=("a/one", "b/one"))
    assert (receipt.answer, outcomes(receipt), played.now - began) == ("b", ["timeout", "ok"], 20.0)


def test_c7_after_the_last_keep_alive_silence_is_a_failure(stage):
    silent = ScriptedReply(2.0, PING, 4.0, *REASONING)
    played = stage({"a": [silent], "b": [streamed_answer("b")]}, feature=", first_token_timeout: 3s")
    receipt = played.ask(stream=True, targets=("a/one", "b/one"))
    assert outcomes(receipt) == ["timeout", "ok"]
    assert "no token and no keep-alive came for 3 s" in receipt.trail[0].note


def test_an_error_that_does_not_come_to_its_end_keeps_nobody_longer_than_a_first_token(stage):
    dripping = ScriptedReply(*[1.0, b" "] * 100, status=503)
    played = stage(
        {"a": [dripping], "b": [streamed_answer("b")]}, feature=", first_token_timeout: 2s, timeout: 50s"
    )
    started = played.now
    assert played.ask(stream=True, targets=("a/one", "b/one")).answer == "b"
    assert played.now - started == 2.0
    played.ask(stream=True, targets=("a/one", "b/one"))
    assert outcomes(played.ask(stream=True, targets=("a/one", "b/one")))[0] == "circuit_open"


def test_vectors_are_not_streamed(stage):
    played = stage({"a": [embedding_reply(1)]})
    receipt = run_sync(
        played.engine.embed(Ask(to_messages("hi"), targets=(Target("a", "one"),), stream=True))
    )
    assert outcomes(receipt) == ["ok"]


def test_the_limits_of_a_stream_do_not_hold_for_an_answer_in_one_piece(stage):
    played = stage(
        {"a": [answer()]}, takes={"a": 9.0}, feature=", first_token_timeout: 1s, stall_timeout: 1s"
    )
    assert played.ask().target.provider == "a"


def test_who_gives_no_token_in_time_is_to_blame(stage):
    """Two in a row open its circuit."""
    played = stage(
        {"a": [ScriptedReply(31.0)], "b": [streamed_answer("b")]},
        feature=", first_token_timeout: 30s, deadline: 20m",
    )
    for _ in range(2):
        played.ask(stream=True, targets=("a/one", "b/one"))
    assert outcomes(played.ask(stream=True, targets=("a/one", "b/one")))[0] == "circuit_open"


def test_nobody_is_to_blame_for_a_queue_of_our_own(stage):
    """Nor paid for what was never sent."""
    for streaming, good in ((True, streamed_answer("b")), (False, answer("b"))):
        played = stage({"a": [wire_error("turn")], "b": [good]}, more=PRICED)
        for _ in range(3):
            first = played.ask(stream=streaming, targets=("a/one", "b/one")).trail[0]
            assert (first.outcome, first.cost_pico_usd) == ("cancelled", 0)


def test_who_looks_slowly_has_the_whole_answer(stage):
    """The time of whoever listens is neither the target's nor the deadline's."""
    played = stage({"a": [streamed_answer(*"0123456789")]}, feature=", deadline: 5s, stall_timeout: 1s")
    pieces, receipt = played.shown(looks=4.0)
    assert "".join(pieces) == receipt.answer == "0123456789"


def test_who_looks_slowly_still_sees_a_stall_in_the_end(stage):
    played = stage({"a": [ScriptedReply(chunk("half"), 100.0)]}, feature=", deadline: 50s, stall_timeout: 5s")
    _, receipt = played.shown(looks=40.0)
    assert (receipt.error.code, outcomes(receipt)) == (8, ["timeout"])


@pytest.mark.parametrize("before", [[], [chunk("half")]], ids=["before the first token", "after it"])
def test_nobody_is_to_blame_while_this_process_stands_still(stage, before):
    played = stage(
        {"a": [ScriptedReply(*before, ProcessPause(5.0))], "b": [streamed_answer("b")]},
        feature=", timeout: 5m",
    )
    _, receipt = played.shown(targets=(Target("a", "one"),))
    assert outcomes(receipt) == ["cancelled"]
    assert receipt.trail[0].note == "this process stood still while the call was under way"


def test_nor_where_a_token_has_come_meanwhile(stage):
    played = stage(
        {"a": [ScriptedReply(ProcessPause(60.0, then=chunk(delta={"reasoning": "hm"})))]},
        feature=", timeout: 5s",
    )
    _, receipt = played.shown(targets=(Target("a", "one"),))
    assert outcomes(receipt) == ["cancelled"]
    assert receipt.trail[0].note == "this process stood still while the call was under way"


def test_a_flood_of_tokens_in_one_piece_ends_in_time_too(stage):
    flood = ScriptedReply(b"".join([chunk("x")] * 10_000))
    played = stage({"a": [flood]}, ticks=0.01, feature=", timeout: 10s, deadline: 10s")
    pieces, receipt = played.shown()
    assert 0 < len(pieces) < 2000
    assert receipt.error.code == 8


def test_who_had_less_than_a_fair_share_of_time_is_not(stage):
    played = stage(
        {"a": [ScriptedReply(31.0)], "b": [streamed_answer("b")]}, feature=", timeout: 5m, deadline: 20m"
    )
    for _ in range(3):
        receipt = played.ask(stream=True, targets=("a/one", "b/one"), deadline=4.0)
        assert outcomes(receipt)[0] == "cancelled"


def test_where_more_than_some_text_is_expected_nothing_is_shown_before_it_fits(stage):
    played = stage({"a": [streamed_answer("no ", "json")], "b": [streamed_answer("[", "1]")]})
    pieces, receipt = played.shown(expect=Expectation(json=True))
    assert (pieces, receipt.answer) == ([], "[1]")
    assert outcomes(receipt)[:2] == ["rejected_answer", "rejected_answer"]


def test_white_space_before_the_first_word_comes_with_it(stage):
    pieces, receipt = stage({"a": [streamed_answer("\n", "  ", "word")]}).shown()
    assert pieces == ["\n  word"]
    assert receipt.answer == "\n  word"


def test_of_an_attempt_that_is_made_again_not_even_white_space_is_left(stage):
    played = stage(
        {"a": [ScriptedReply(chunk("\n\n"), CUT), streamed_answer("word")]}, feature=", target_retries: 1"
    )
    pieces, receipt = played.shown()
    assert "".join(pieces) == receipt.answer == "word"
    assert played.hosts() == "aa"


def test_a_stored_answer_is_not_streamed(stage):
    played = stage({"a": [streamed_answer("x", "y")]}, cached=True)
    assert played.shown()[0] == ["x", "y"]
    pieces, receipt = played.shown()
    assert (pieces, receipt.answer, receipt.source) == ([], "xy", "cache")
    assert played.ask().source == "cache"


def test_half_an_answer_is_not_stored(stage):
    played = stage({"a": [ScriptedReply(chunk("half"), CUT), streamed_answer("whole")]}, cached=True)
    assert played.shown()[1].error.code == 8
    assert played.shown()[1].answer == "whole"


def test_a_plain_answer_where_a_stream_was_asked_for_is_an_answer(stage):
    pieces, receipt = stage({"a": [answer("plain")]}).shown()
    assert (pieces, receipt.answer) == (["plain"], "plain")


@pytest.mark.parametrize("cut", range(1, 15))
def test_the_key_is_never_shown_however_it_is_cut(stage, cut):
    text = "the key key-of-a-0123 is"
    played = stage({"a": [streamed_answer(text[:cut], text[cut : cut + 9], text[cut + 9 :])]})
    pieces, receipt = played.shown()
    assert "".join(pieces) == receipt.answer == "the key [key] is"


def test_a_text_that_only_begins_like_the_key_is_whole(stage):
    pieces, receipt = stage({"a": [streamed_answer("a key-of-a-", "b, key-of")]}).shown()
    assert "".join(pieces) == receipt.answer == "a key-of-a-b, key-of"


def test_the_beginning_of_a_key_that_is_cut_off_is_not_shown(stage):
    for end in (CUT, ERROR_EVENT, 31.0):
        pieces, receipt = stage({"a": [ScriptedReply(chunk("it is key-of-a-012"), end)]}).shown()
        assert "".join(pieces) == receipt.partial == "it is "


@pytest.mark.parametrize("text", ["half a k", "half a key-of", "half 6", "half a2"])
def test_half_an_answer_is_shown_to_its_last_character(stage, text):
    """Although a key may begin so, or be written so."""
    pieces, receipt = stage({"a": [ScriptedReply(chunk(text), CUT)]}).shown()
    assert "".join(pieces) == receipt.partial == text


def test_what_only_may_begin_a_key_is_not_shown_before_another_takes_over(stage):
    pieces, receipt = stage({"a": [ScriptedReply(chunk("k"), CUT)], "b": [streamed_answer("good")]}).shown()
    assert "".join(pieces) == receipt.answer == "good"


class TestMoney:
    def test_a_count_that_came_is_what_counts(self, stage):
        _, receipt = stage({"a": [streamed_answer("x")]}, more=PRICED).shown()
        assert format_usd(receipt.cost_pico_usd) == "0.00006"

    def test_a_whole_stream_without_a_count_is_estimated_and_says_so(self, stage):
        _, receipt = stage({"a": [streamed_answer("some words here", usage=None)]}, more=PRICED).shown()
        assert receipt.usage.estimated
        assert receipt.usage.output_tokens == 3
        assert receipt.cost_pico_usd == receipt.usage.input_tokens * 10**6 + 3 * 10**7

    def test_half_an_answer_is_paid_for(self, stage):
        played = stage({"a": [ScriptedReply(chunk("some words here"), CUT)]}, more=PRICED)
        _, receipt = played.shown()
        assert receipt.trail[0].cost_pico_usd == receipt.cost_pico_usd
        assert receipt.cost_pico_usd > 3 * 10**7

    def test_half_an_answer_that_counts_is_paid_for_as_it_says_and_at_least_for_its_text(self, stage):
        counted = chunk("some words here", usage={"prompt_tokens": 1000, "completion_tokens": 1})
        _, receipt = stage({"a": [ScriptedReply(counted, CUT)]}, more=PRICED).shown()
        assert receipt.cost_pico_usd == 1000 * 10**6 + 3 * 10**7

    def test_a_thought_before_a_cut_is_paid_for(self, stage):
        played = stage({"a": [ScriptedReply(THOUGHT, CUT)], "b": [streamed_answer("b")]}, more=PRICED)
        receipt = played.ask(stream=True, targets=("a/one", "b/one"))
        assert receipt.trail[0].cost_pico_usd > 0

    def test_an_error_before_any_token_costs_nothing(self, stage):
        played = stage({"a": [ScriptedReply(ERROR_EVENT)], "b": [streamed_answer("b")]}, more=PRICED)
        assert played.ask(stream=True, targets=("a/one", "b/one")).trail[0].cost_pico_usd == 0

    @pytest.mark.parametrize("end", [wire_error("reset"), CUT, 31.0, b""], ids=str)
    def test_what_a_call_cost_that_breaks_off_before_any_token_is_unknown(self, stage, end):
        """Whoever sent the head of a reply was at work."""
        played = stage(
            {"a": [ScriptedReply(end)], "b": [streamed_answer("b")]}, more=PRICED, feature=", deadline: 10m"
        )
        receipt = played.ask(stream=True, targets=("a/one", "b/one"), timeout=60.0)
        assert receipt.trail[0].cost_pico_usd is None

    def test_nobody_learns_about_tokens_from_an_estimate(self, stage):
        """What is stored of the target's ratio stays as it was."""
        limits = "models:\n  a/one: {price: {input: 1, output: 10}, limits: {tokens_per_minute: 1000000}}\n"
        played = stage({"a": [streamed_answer("word " * 300, usage=None)]}, more=limits)
        played.shown()
        values, _ = played.store.read([calibration_key(address_of("a/one"))])
        assert all(value is None for value in values.values())


def test_what_was_shown_is_in_no_log(stage):
    played = stage({"a": [ScriptedReply(chunk("half a secret"), CUT)]})
    played.shown()
    assert "half a secret" not in json.dumps(list(played.store.read(["log/0"])[0].values()))


GOOGLE = """\
  v: {api: vertex, project: mine}
"""


def said(text, finish=None):
    candidate = {"content": {"parts": [{"text": text}]}, **({"finishReason": finish} if finish else {})}
    return f"data: {json.dumps({'candidates': [candidate]})}\n\n".encode()


def test_a_token_of_google_that_is_revoked_in_the_middle_of_an_answer_is_not_replaced(stage):
    """Whoever asked again would put another answer behind what is shown."""
    revoked = b'data: {"error": {"code": 401, "message": "revoked", "status": "UNAUTHENTICATED"}}\n\n'
    script = [ScriptedReply(said("half"), revoked), ScriptedReply(said("whole", "STOP"))]
    played = stage({"aiplatform": script, "b": [streamed_answer("b")]}, more=GOOGLE)
    played.tokens.script = [Secret("ya29.token-of-google")]
    pieces, receipt = played.shown(targets=(Target("v", "gemini"), Target("b", "one")))
    assert (pieces, receipt.partial, receipt.error.code) == (["half"], "half", 8)
    assert played.hosts() == "aiplatform"
