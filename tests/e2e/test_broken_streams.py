"""Streams that break: before the first token somebody else answers, after it nobody does."""

import signal
from decimal import Decimal

import pytest
from program import ANTHROPIC, OPENAI, build_config, finish
from scripted_streams import BREAKS, CUT, ENDLESS, ERROR, HEAD, PING, PINGING, STALL, STOP, ThinkingToken
from stream_asks import (
    FORMATS,
    FOUR_TOKENS,
    LONG_LIMIT,
    SHORT_LIMIT,
    SPARE,
    SPARE_ANSWER,
    ask_on_terminal,
    has_broken_off_message,
    provider_of,
    read_last_receipt,
    start_ask,
)

from llmfail.simulator import parse_faults

BEFORE_THE_FIRST_TOKEN = {
    "an error": [ERROR],
    "an error after a thought": [ThinkingToken(), ERROR],
    "an empty body": [STOP],
    "no body": [HEAD, CUT],
    "pings and then the end": [PING, PING, STOP],
    "thoughts and then the end": [ThinkingToken(), STOP],
    "end marks and no text": [],
    "only blanks": [" \n", " "],
}
NEVER_A_TOKEN = {
    "no head": ([STALL], OPENAI),
    "a head and silence": ([HEAD, STALL], OPENAI),
    **{f"a head and pings of {target}": ([PINGING], target) for target in FORMATS},
}
"""Pings are of a wire format, silence is of none."""


class TestBroken:
    @pytest.mark.parametrize("target", FORMATS)
    @pytest.mark.parametrize("end", BREAKS)
    def test_after_text_a_terminal_shows_what_came_and_nobody_elses(
        self, chained, streams, screen, target, end
    ):
        streams.plays(provider_of(target), [*FOUR_TOKENS, BREAKS[end]])
        ended = ask_on_terminal(chained(target, SPARE), screen)
        assert has_broken_off_message(ended, target)
        assert screen.text == "one two three four\n"
        assert streams.count("spare") == 0

    def test_the_line_that_says_so_stands_below_the_text(self, chained, streams, screen, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        streams.plays("openai", [*FOUR_TOKENS, CUT])
        with start_ask(chained(OPENAI), stdout=screen.fd, stderr=screen.fd) as process:
            assert finish(process).code == 8
        assert f"one two three four\nllmfail: {OPENAI}: the answer broke off: " in screen.text

    def test_it_is_said_although_it_is_quiet(self, chained, streams, screen):
        streams.plays("openai", [*FOUR_TOKENS, CUT])
        ended = ask_on_terminal(chained(OPENAI).before_that("-q"), screen)
        assert has_broken_off_message(ended, OPENAI)
        assert len(ended.lines) == 1

    def test_an_answer_that_broke_within_its_newlines_ends_in_one(self, chained, streams, screen):
        streams.plays("openai", ["one\n", "\n", CUT])
        assert has_broken_off_message(ask_on_terminal(chained(OPENAI), screen), OPENAI)
        assert screen.text == "one\n"

    @pytest.mark.parametrize("target", FORMATS)
    @pytest.mark.parametrize("end", BREAKS)
    @pytest.mark.parametrize("flags", [[], ["--stream"]], ids=["not asked for", "asked for"])
    def test_a_pipe_gets_the_whole_answer_of_the_next_and_nothing_else(
        self, chained, streams, target, end, flags
    ):
        streams.plays(provider_of(target), [*FOUR_TOKENS, BREAKS[end]])
        ended = chained(target, SPARE)("ask", "Say hello", *flags)
        assert (ended.code, ended.out) == (0, SPARE_ANSWER.encode())
        assert streams.count("spare") == 1

    @pytest.mark.parametrize("flags", [[], ["--stream"]], ids=["not asked for", "asked for"])
    def test_when_every_target_is_cut_a_pipe_gets_nothing(self, chained, streams, flags):
        for provider in ("openai", "anthropic", "google", "vertex"):
            streams.plays(provider, [*FOUR_TOKENS, CUT])
        ended = chained(*FORMATS)("ask", "Say hello", *flags)
        assert (ended.code, ended.out) == (3, b"")
        assert streams.count() == len(FORMATS)

    def test_the_log_has_the_outcome_and_the_circuit_counts_it(self, chained, streams, screen):
        streams.plays("openai", [*FOUR_TOKENS, CUT])
        llmfail = chained(OPENAI, SPARE)
        assert ask_on_terminal(llmfail, screen).code == 8
        receipt = read_last_receipt(llmfail)
        assert (receipt["ok"], receipt["error"]["code"], receipt["error"]["kind"]) == (False, 8, "incomplete")
        assert [(one["target"], one["outcome"]) for one in receipt["trail"]] == [(OPENAI, "malformed")]
        assert receipt["trail"][0]["status"] == 200
        assert llmfail.status(OPENAI)["failures"] == 1

    def test_an_incomplete_answer_is_not_stored(self, chained, streams, screen):
        streams.plays("openai", [*FOUR_TOKENS, CUT], FOUR_TOKENS)
        llmfail = chained(OPENAI, cache={"enabled": True})
        assert ask_on_terminal(llmfail, screen).code == 8
        assert llmfail("ask", "Say hello").out == b"one two three four\n"
        assert streams.count() == 2

    def test_a_whole_one_is_stored_and_shown_at_once(self, chained, streams, screen):
        llmfail = chained(OPENAI, cache={"enabled": True})
        first, second = ask_on_terminal(llmfail, screen), ask_on_terminal(llmfail, screen)
        assert (first.code, second.code) == (0, 0)
        assert screen.text == f"{OPENAI} heard: Say hello\n" * 2
        assert streams.count() == 1

    @pytest.mark.parametrize("step", [{"text": "never"}, "queue"], ids=["text", "queue"])
    def test_no_step_of_the_ladder_follows_text(self, chained, streams, screen, step):
        streams.plays("openai", [*FOUR_TOKENS, CUT])
        feature = {"primary": OPENAI, "degrade": [step]}
        ended = ask_on_terminal(chained(OPENAI, features={"default": feature}), screen)
        assert has_broken_off_message(ended, OPENAI)
        assert screen.text == "one two three four\n"

    def test_nobody_is_asked_again_after_text(self, chained, streams, screen):
        streams.plays("openai", [*FOUR_TOKENS, CUT], FOUR_TOKENS)
        limits = {"retries": 2, "target_retries": 2}
        assert ask_on_terminal(chained(OPENAI, limits=limits), screen).code == 8
        assert streams.count() == 1


class TestBeforeTheFirstToken:
    @pytest.mark.parametrize("target", FORMATS)
    @pytest.mark.parametrize("trouble", BEFORE_THE_FIRST_TOKEN)
    def test_whatever_fails_moves_on_silently(self, chained, streams, screen, target, trouble):
        streams.plays(provider_of(target), BEFORE_THE_FIRST_TOKEN[trouble])
        ended = ask_on_terminal(chained(target, SPARE), screen)
        assert (ended.code, screen.text) == (0, SPARE_ANSWER)
        assert "incomplete" not in ended.err

    @pytest.mark.parametrize("trouble", NEVER_A_TOKEN)
    def test_a_token_that_does_not_come_in_time_is_somebody_elses(self, chained, streams, screen, trouble):
        script, target = NEVER_A_TOKEN[trouble]
        streams.plays(provider_of(target), script)
        limits = {"first_token_timeout": SHORT_LIMIT, "timeout": "2s"}  # pings make it wait for the latter
        llmfail = chained(target, SPARE, limits=limits)
        ended = ask_on_terminal(llmfail, screen)
        assert (ended.code, screen.text) == (0, SPARE_ANSWER)
        assert [one["outcome"] for one in read_last_receipt(llmfail)["trail"]] == ["timeout", "ok"]

    def test_a_pipe_that_asks_for_a_stream_has_the_same_limit(self, chained, streams):
        streams.plays("openai", [HEAD, STALL])
        llmfail = chained(OPENAI, SPARE, limits={"first_token_timeout": SHORT_LIMIT})
        asked = llmfail.ask("--stream")
        assert asked.trail == [(OPENAI, "called", "timeout"), (SPARE, "called", "ok")]

    def test_a_feature_has_its_own_limit(self, chained, streams, screen):
        streams.plays("openai", [HEAD, STALL])
        feature = {"primary": OPENAI, "fallbacks": [SPARE], "first_token_timeout": SHORT_LIMIT}
        ended = ask_on_terminal(chained(OPENAI, features={"default": feature}), screen)
        assert (ended.code, screen.text) == (0, SPARE_ANSWER)

    @pytest.mark.parametrize("target", FORMATS)
    def test_a_thought_is_a_token(self, chained, streams, screen, target):
        streams.plays(provider_of(target), [ThinkingToken(), 2.0, "one"])
        ended = ask_on_terminal(chained(target, SPARE, limits={"first_token_timeout": "1s"}), screen)
        assert (ended.code, screen.text) == (0, "one\n")

    @pytest.mark.parametrize("fault", ["503", "429:30", "auth", "garbage", "empty", "refuse"])
    def test_a_provider_that_is_down_is_no_different(self, simulator, configure, screen, fault):
        simulator.set_faults(parse_faults(f"openai={fault}"))
        ended = ask_on_terminal(configure(build_config(simulator, OPENAI, ANTHROPIC)), screen)
        assert (ended.code, screen.text) == (0, f"{ANTHROPIC} heard: Say hello\n")

    def test_when_nobody_has_a_token_nothing_is_shown(self, chained, streams, screen):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [ERROR])
        ended = ask_on_terminal(chained(OPENAI, ANTHROPIC), screen)
        assert (ended.code, screen.text) == (3, "")


class TestStalled:
    @pytest.mark.parametrize(("silence", "target"), [(STALL, OPENAI), *((PINGING, one) for one in FORMATS)])
    def test_a_stream_that_stops_after_text_has_broken(self, chained, streams, screen, target, silence):
        streams.plays(provider_of(target), ["one", " two", silence])
        llmfail = chained(target, SPARE, limits={"stall_timeout": SHORT_LIMIT})
        ended = ask_on_terminal(llmfail, screen)
        assert has_broken_off_message(ended, target)
        assert screen.text == "one two\n"
        assert read_last_receipt(llmfail)["trail"][0]["outcome"] == "timeout"
        assert streams.asked()[0].left.wait(10)

    @pytest.mark.parametrize("silence", [STALL, PINGING], ids=["silence", "pings"])
    def test_piped_the_next_target_answers(self, chained, streams, silence):
        streams.plays("openai", ["one", silence])
        asked = chained(OPENAI, SPARE, limits={"stall_timeout": SHORT_LIMIT}).ask("--stream")
        assert asked.trail == [(OPENAI, "called", "timeout"), (SPARE, "called", "ok")]

    def test_a_thought_breaks_the_silence(self, chained, streams, screen):
        streams.plays("anthropic", ["one", 1.5, ThinkingToken(), 1.5, " two"])
        ended = ask_on_terminal(chained(ANTHROPIC, limits={"stall_timeout": "2.5s"}), screen)
        assert (ended.code, screen.text) == (0, "one two\n")

    def test_once_text_is_shown_the_timeout_of_the_attempt_is_over(self, chained, streams, screen):
        streams.plays("openai", ["one", 2.5, " two"])
        ended = ask_on_terminal(chained(OPENAI, SPARE, limits={"timeout": "2s"}), screen)
        assert (ended.code, screen.text) == (0, "one two\n")

    def test_the_deadline_is_not(self, chained, streams, screen):
        streams.plays("openai", ["one", STALL])
        ended = ask_on_terminal(
            chained(OPENAI, SPARE, limits={"stall_timeout": LONG_LIMIT}), screen, "--deadline", "2"
        )
        assert has_broken_off_message(ended, OPENAI)
        assert screen.text == "one\n"

    def test_nor_for_a_stream_without_end(self, chained, streams, screen):
        streams.plays("openai", ["one", " ", ENDLESS])
        ended = ask_on_terminal(chained(OPENAI, SPARE), screen, "--deadline", "2")
        assert has_broken_off_message(ended, OPENAI)
        assert screen.text.startswith("one more")
        assert streams.count("spare") == 0

    def test_piped_the_timeout_of_the_attempt_holds_to_the_end(self, chained, streams):
        streams.plays("openai", [ENDLESS])
        asked = chained(OPENAI, SPARE, limits={"timeout": "2s"}).ask("--stream")
        assert asked.trail == [(OPENAI, "called", "timeout"), (SPARE, "called", "ok")]


class TestStopped:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_in_the_middle_ends_it_and_it_is_settled(self, chained, streams, screen, number, code):
        streams.plays("openai", ["one", STALL])
        llmfail = chained(OPENAI, SPARE, budgets=[{"name": "daily", "limit": 50, "per": "day"}])
        with start_ask(llmfail, stdout=screen.fd) as process:
            screen.wait_for("one")
            process.send_signal(number)
            ended = finish(process)
        assert ended.code == code
        assert "Traceback" not in ended.err
        assert screen.text.rstrip("\n") == "one"
        assert streams.asked()[0].left.wait(10)
        assert streams.count("spare") == 0
        status = llmfail.status()
        assert status["providers"][OPENAI]["failures"] == 0
        assert status["budgets"][0]["held_usd"] == "0"
        assert Decimal(status["budgets"][0]["spent_usd"]) > 0


@pytest.mark.parametrize("setting", ["first_token_timeout", "stall_timeout"])
@pytest.mark.parametrize("value", [0, "-1s", "soon"])
def test_a_limit_that_is_no_duration_is_a_usage_error(chained, streams, setting, value):
    ended = chained(OPENAI, limits={setting: value})("ask", "Say hello")
    assert ended.code == 2
    assert setting in ended.err
    assert streams.count() == 0
