"""One limit over everything: waits, rounds, targets, steps, and streams that give a token now and then.

No test looks at a clock. A limit that were not kept would have the process outlive the patience of the tests.
"""

import json

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI
from scripted_streams import ENDLESS, ERROR, HEAD, PINGING, STALL
from stream_asks import LONG_LIMIT, SPARE, SPARE_ANSWER, ask_on_terminal, read_last_receipt

HANGS = {
    "no head": [STALL],
    "a head and silence": [HEAD, STALL],
    "pings": [PINGING],
    "tokens without end": [ENDLESS],
}
CUT_SHORT = "cancelled"
"""What ran out of less time than the configuration gives it is not to blame."""


@pytest.fixture(params=HANGS)
def hang(request):
    """A way not to come to an end."""
    return HANGS[request.param]


def called(ended):
    return [target for target, action, _ in ended.trail if action == "called"]


def passed(ended):
    assert ended.code == 7, ended
    receipt = ended.document
    assert (receipt["ok"], receipt["error"]["code"], receipt["error"]["kind"]) == (False, 7, "deadline")
    assert ended.lines == [f"llmfail: {receipt['error']['message']}"]
    return True


class TestTargetsThatHang:
    def test_all_of_them_have_had_their_turn_when_it_passes(self, chained, streams, hang):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, hang)
        ended = chained(OPENAI, ANTHROPIC).ask("--deadline", "1", "--stream")
        assert passed(ended)
        assert called(ended) == [OPENAI, ANTHROPIC]
        assert [entry["outcome"] for entry in ended.document["trail"]] == [CUT_SHORT, CUT_SHORT]

    def test_the_same_without_a_stream(self, chained, streams):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [STALL])
        ended = chained(OPENAI, ANTHROPIC).ask("--deadline", "1")
        assert passed(ended)
        assert called(ended) == [OPENAI, ANTHROPIC]

    def test_a_terminal_shows_nothing(self, chained, streams, screen):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [HEAD, STALL])
        ended = ask_on_terminal(chained(OPENAI, ANTHROPIC), screen, "--deadline", "1")
        assert (ended.code, screen.text, len(ended.lines)) == (7, "", 1)

    def test_a_healthy_second_has_time_to_answer(self, chained, streams, hang):
        streams.plays("openai", hang)
        ended = chained(OPENAI, SPARE).ask("--deadline", "2", "--stream")
        assert ended.trail == [(OPENAI, "called", CUT_SHORT), (SPARE, "called", "ok")]

    @pytest.mark.parametrize(
        "script", [[STALL], [HEAD, STALL], [PINGING]], ids=["no head", "a head", "pings"]
    )
    def test_so_it_has_at_a_terminal(self, chained, streams, screen, script):
        streams.plays("openai", script)
        ended = ask_on_terminal(chained(OPENAI, SPARE), screen, "--deadline", "2")
        assert (ended.code, screen.text) == (0, SPARE_ANSWER)

    def test_a_healthy_last_of_four_has_time_too(self, chained, streams):
        for provider in ("openai", "anthropic", "google"):
            streams.plays(provider, [STALL])
        ended = chained(OPENAI, ANTHROPIC, GOOGLE, SPARE).ask("--deadline", "3")
        assert (ended.code, ended.document["target"]) == (0, SPARE)
        assert called(ended) == [OPENAI, ANTHROPIC, GOOGLE, SPARE]

    @pytest.mark.parametrize("place", ["defaults", "feature"])
    def test_the_configuration_sets_one_too(self, chained, streams, place):
        streams.plays("openai", [STALL])
        if place == "defaults":
            llmfail = chained(OPENAI, limits={"deadline": "1s"})
        else:
            llmfail = chained(features={"default": {"primary": OPENAI, "deadline": "1s"}})
        assert passed(llmfail.ask())


class TestLimitsWithin:
    """Each is kept although the deadline is far."""

    def test_the_first_token(self, chained, streams):
        streams.plays("openai", [HEAD, STALL])
        llmfail = chained(OPENAI, SPARE, limits={"first_token_timeout": "0.5s"})
        assert llmfail.ask("--stream").document["target"] == SPARE

    def test_a_stall(self, chained, streams):
        streams.plays("openai", ["one", STALL])
        llmfail = chained(OPENAI, SPARE, limits={"stall_timeout": "0.5s"})
        assert llmfail.ask("--stream").document["target"] == SPARE

    def test_an_attempt(self, chained, streams, hang):
        streams.plays("openai", hang)
        assert chained(OPENAI, SPARE).ask("--stream", "--timeout", "1").document["target"] == SPARE

    def test_they_do_not_make_it_longer(self, chained, streams):
        limits = {"first_token_timeout": LONG_LIMIT, "stall_timeout": LONG_LIMIT, "timeout": LONG_LIMIT}
        streams.plays("openai", ["one", STALL])
        assert passed(chained(OPENAI, limits=limits).ask("--stream", "--deadline", "1"))


class TestWaits:
    def test_rounds_end_with_it(self, chained, streams):
        streams.plays("openai", [ERROR])
        ended = chained(OPENAI, limits={"retries": 100}, breaker={"enabled": False}).ask("--deadline", "1")
        assert ended.code in {3, 7}
        assert streams.count() > 1

    def test_trials_of_the_same_target_end_with_it(self, chained, streams):
        streams.plays("openai", [ERROR])
        limits = {"retries": 0, "target_retries": 100}
        ended = chained(OPENAI, limits=limits, breaker={"enabled": False}).ask("--deadline", "1")
        assert ended.code in {3, 7}
        assert streams.count() > 1

    def test_a_wait_for_an_open_circuit_ends_with_it(self, chained, streams):
        breaker = {"failure_threshold": 1, "recovery_timeout": LONG_LIMIT}
        streams.plays("openai", [ERROR], ["well again"])
        llmfail = chained(OPENAI, breaker=breaker)
        assert llmfail.ask().code == 3
        ended = llmfail.ask("--wait", "5m", "--deadline", "1")
        assert ended.code in {3, 7}
        assert streams.count() == 1

    def test_what_is_waited_for_within_it_answers(self, chained, streams):
        breaker = {"failure_threshold": 1, "recovery_timeout": "1s", "success_threshold": 1}
        streams.plays("openai", [ERROR], ["well again"])
        llmfail = chained(OPENAI, breaker=breaker)
        assert llmfail.ask().code == 3
        ended = llmfail.ask("--wait", "30", "--deadline", "30")
        assert (ended.code, ended.document["answer"]) == (0, "well again")

    def test_a_trial_that_hangs_after_the_wait_ends_with_it(self, chained, streams):
        breaker = {"failure_threshold": 1, "recovery_timeout": "0.5s", "success_threshold": 1}
        streams.plays("openai", [ERROR], [STALL])
        llmfail = chained(OPENAI, breaker=breaker)
        assert llmfail.ask().code == 3
        assert passed(llmfail.ask("--wait", "30", "--deadline", "3"))


class TestSteps:
    def laddered(self, chained, *degrade):
        return chained(features={"default": {"primary": OPENAI, "degrade": list(degrade)}})

    def test_a_smaller_prompt_has_the_time_that_is_left(self, chained, streams):
        streams.plays("openai", [ERROR], ["in short"])
        ended = self.laddered(chained, {"simplify": {"keep_chars": 4}}).ask("--deadline", "10")
        assert (ended.code, ended.document["answer"], ended.document["tier"]) == (0, "in short", 4)

    def test_and_no_more(self, chained, streams):
        streams.plays("openai", [ERROR], [STALL])
        ended = self.laddered(chained, {"simplify": {"keep_chars": 4}}).ask("--deadline", "1")
        assert ended.code in {3, 7}
        assert streams.count() == 2

    def test_a_command_has_no_more_either(self, chained, streams):
        streams.plays("openai", [ERROR])
        slow = {"command": ["sleep", "600"], "timeout": LONG_LIMIT}
        ended = self.laddered(chained, slow, {"text": "not today"}).ask("--deadline", "1")
        assert (ended.code, ended.document["answer"], ended.document["source"]) == (0, "not today", "text")

    def test_what_takes_no_time_answers_after_it(self, chained, streams, screen):
        streams.plays("openai", [HEAD, STALL])
        llmfail = self.laddered(chained, {"simplify": {"keep_chars": 4}}, {"text": "not today"})
        ended = ask_on_terminal(llmfail, screen, "--deadline", "1")
        assert (ended.code, screen.text) == (0, "not today\n")
        assert read_last_receipt(llmfail)["tier"] == 4


def test_each_line_of_a_batch_has_its_own(chained, streams):
    streams.plays("openai", [STALL])
    ended = chained(OPENAI, limits={"deadline": "1s"})("batch", "-", stdin=b'"One"\n"Two"\n')
    receipts = [json.loads(line) for line in ended.out.splitlines()]
    assert [receipt["error"]["kind"] for receipt in receipts] == ["deadline"] * 2


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "nan"])
def test_what_is_no_duration_is_a_usage_error(chained, streams, deadline):
    ended = chained(OPENAI)("ask", "Say hello", "--deadline", deadline)
    assert (ended.code, ended.out) == (2, b"")
    assert streams.count() == 0
