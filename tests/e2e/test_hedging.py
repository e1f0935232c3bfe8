"""When an answer is late the next target starts too: who wins, what becomes of the other, and what holds a
hedge back.
"""

import json
import signal
import threading
from decimal import Decimal

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI, PROCESS_TIMEOUT, build_config, finish
from scripted_streams import CUT, ERROR, HEAD, PINGING, STALL
from stream_asks import start_ask

from llmfail import Client

AT_ONCE = "0.2"
"""Seconds until an answer is late."""
NEVER = "500"
LATE = 1.2
"""Seconds after which a late answer comes all the same."""
DIME = {"price": {"input": 0, "output": 100}}
"""With 1,000 tokens at most, a call costs a tenth of a dollar at most, whatever its prompt."""
HANGS = {"no head": [STALL], "a head": [HEAD, STALL], "pings": [PINGING]}
LIMITS = {"retries": 0, "max_tokens": 1000, "timeout": "9m", "deadline": "9m"}


@pytest.fixture
def hedging(streams, configure):
    """The program with this chain; ``feature`` is what its feature says besides."""

    def hedging(*chain, feature=None, **sections):
        models = dict.fromkeys((OPENAI, ANTHROPIC, GOOGLE), DIME)
        chain = chain or (OPENAI, ANTHROPIC)
        document = build_config(streams, *chain, **{"models": models, "defaults": LIMITS} | sections)
        document["features"]["default"] |= feature or {}
        return configure(document).with_environ(TERM="xterm-256color")

    return hedging


def budget(limit):
    return {"budgets": [{"name": "daily", "limit": limit, "per": "day"}]}


def lost_and_won(receipt):
    """The entries of the trail of a hedge, whichever is named first."""
    [lost] = [entry for entry in receipt["trail"] if entry["outcome"] == "cancelled"]
    [won] = [entry for entry in receipt["trail"] if entry["outcome"] == "ok"]
    assert (lost["action"], won["action"]) == ("called", "called")
    assert lost["note"] == "another target answered first"
    assert lost["cost_usd"] is None
    return lost["target"], won["target"]


class TestWhoWins:
    @pytest.mark.parametrize("hang", HANGS)
    @pytest.mark.parametrize("flags", [[], ["--stream"]], ids=["whole", "stream"])
    def test_the_second_when_the_first_hangs(self, hedging, streams, hang, flags):
        streams.plays("openai", HANGS[hang])
        asked = hedging().ask("--hedge", AT_ONCE, *flags)
        receipt = asked.document
        assert (asked.code, receipt["answer"], receipt["tier"]) == (0, f"{ANTHROPIC} heard: Say hello", 2)
        assert lost_and_won(receipt) == (OPENAI, ANTHROPIC)
        assert streams.asked("openai")[0].left.wait(PROCESS_TIMEOUT)

    def test_nobody_else_is_asked_when_the_first_is_in_time(self, hedging, streams):
        asked = hedging().ask("--hedge", NEVER)
        assert asked.trail == [(OPENAI, "called", "ok")]
        assert streams.count() == 1

    def test_the_first_may_still_win(self, hedging, streams):
        begun = threading.Event()
        streams.plays("openai", [begun, "late but first"])
        streams.plays("anthropic", [STALL])
        llmfail = hedging()
        with start_ask(llmfail, "--json", "--hedge", AT_ONCE) as process:
            assert streams.wait_for(lambda: streams.count("anthropic") == 1)
            begun.set()
            asked = finish(process)
        assert (asked.code, asked.document["answer"], asked.document["tier"]) == (0, "late but first", 0)
        assert lost_and_won(asked.document) == (ANTHROPIC, OPENAI)
        assert streams.asked("anthropic")[0].left.wait(PROCESS_TIMEOUT)

    @pytest.mark.parametrize("trouble", [[ERROR], [HEAD, CUT]], ids=["error", "cut"])
    def test_a_first_that_fails_is_not_waited_for(self, hedging, streams, trouble):
        streams.plays("openai", trouble)
        asked = hedging().ask("--hedge", NEVER)
        assert (asked.code, asked.document["target"]) == (0, ANTHROPIC)
        assert [outcome for _, _, outcome in asked.trail][-1] == "ok"

    @pytest.mark.parametrize("trouble", [[ERROR], [HEAD, CUT]], ids=["error", "cut"])
    def test_a_second_that_fails_leaves_the_first_its_time(self, hedging, streams, trouble):
        streams.plays("openai", [LATE, "late"])
        streams.plays("anthropic", trouble)
        asked = hedging().ask("--hedge", AT_ONCE)
        assert (asked.code, asked.document["answer"]) == (0, "late")
        assert {target for target, action, _ in asked.trail if action == "called"} == {OPENAI, ANTHROPIC}

    def test_when_both_fail_the_third_is_asked(self, hedging, streams):
        begun = threading.Event()
        streams.plays("openai", [begun, ERROR])
        streams.plays("anthropic", [begun, ERROR])
        llmfail = hedging(OPENAI, ANTHROPIC, GOOGLE)
        with start_ask(llmfail, "--json", "--hedge", AT_ONCE) as process:
            assert streams.wait_for(lambda: streams.count("anthropic") == 1)
            begun.set()
            asked = finish(process)
        assert (asked.code, asked.document["target"]) == (0, GOOGLE)
        outcomes = {target: outcome for target, _, outcome in asked.trail}
        assert outcomes == {OPENAI: "overloaded", ANTHROPIC: "overloaded", GOOGLE: "ok"}

    def test_only_an_answer_that_fits_wins(self, hedging, streams):
        rejected = threading.Event()
        streams.plays("openai", [rejected, "[1]"])
        streams.plays("anthropic", ["no JSON"])
        llmfail = hedging()
        with start_ask(llmfail, "--json", "--expect", "json", "--hedge", AT_ONCE) as process:
            assert streams.wait_for(lambda: any(one.done.is_set() for one in streams.asked("anthropic")))
            rejected.set()
            asked = finish(process)
        assert (asked.code, asked.document["answer"]) == (0, "[1]")

    def test_a_terminal_shows_one_of_them(self, hedging, streams, screen):
        shown = threading.Event()
        streams.plays("openai", [shown, "first"])
        streams.plays("anthropic", ["second", shown, " indeed"])
        llmfail = hedging()
        with start_ask(llmfail, "--hedge", AT_ONCE, stdout=screen.fd) as process:
            screen.wait_for("second")
            shown.set()
            ended = finish(process)
        assert (ended.code, screen.text) == (0, "second indeed\n")

    def test_C2_an_instant_answer_of_a_cold_process_is_not_late(self, hedging, streams):
        receipt = hedging().ask("--hedge", AT_ONCE).document
        assert [(entry["target"], entry["outcome"]) for entry in receipt["trail"]] == [(OPENAI, "ok")]
        assert streams.count() == 1

    def test_once_a_terminal_shows_text_nobody_else_starts(self, hedging, streams, screen):
        streams.plays("openai", ["one", LATE, " two"])
        llmfail = hedging()
        with start_ask(llmfail, "--hedge", AT_ONCE, stdout=screen.fd) as process:
            ended = finish(process)
        assert (ended.code, screen.text) == (0, "one two\n")
        assert streams.count("anthropic") == 0

    def test_a_deadline_holds_over_both(self, hedging, streams):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [STALL])
        asked = hedging().ask("--hedge", AT_ONCE, "--deadline", "5")
        assert (asked.code, asked.document["error"]["kind"]) == (7, "deadline")
        assert streams.count() == 2


class TestAccounts:
    def test_the_loser_is_no_failure_and_counts_at_its_worst(self, hedging, streams):
        streams.plays("openai", [STALL])
        llmfail = hedging(**budget(50))
        receipt = llmfail.ask("--hedge", AT_ONCE).document
        [won] = [entry for entry in receipt["trail"] if entry["outcome"] == "ok"]
        status = llmfail.status()
        [daily] = status["budgets"]
        assert status["providers"][OPENAI]["failures"] == 0
        assert status["providers"][OPENAI]["state"] == "closed"
        assert daily["held_usd"] == "0"
        assert Decimal(daily["spent_usd"]) == Decimal("0.1") + Decimal(won["cost_usd"])

    def test_ctrl_c_settles_both(self, hedging, streams):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [STALL])
        llmfail = hedging(**budget(50))
        with start_ask(llmfail, "--hedge", AT_ONCE) as process:
            assert streams.wait_for(lambda: streams.count() == 2)
            process.send_signal(signal.SIGINT)
            ended = finish(process)
        assert (ended.code, ended.out) == (130, b"")
        assert "Traceback" not in ended.err
        assert all(one.left.wait(PROCESS_TIMEOUT) for one in streams.asked())
        status = llmfail.status()
        assert [status["providers"][target]["failures"] for target in (OPENAI, ANTHROPIC)] == [0, 0]
        assert (status["budgets"][0]["held_usd"], status["budgets"][0]["spent_usd"]) == ("0", "0.2")

    def test_a_late_answer_of_the_loser_is_nowhere(self, hedging, streams):
        streams.plays("openai", [LATE, "too late"])
        llmfail = hedging(cache={"enabled": True})
        first, second = (llmfail.ask("--hedge", AT_ONCE).document for _ in range(2))
        assert first["answer"] == second["answer"] == f"{ANTHROPIC} heard: Say hello"
        assert second["source"] == "cache"


class TestWhatHoldsItBack:
    """The primary is late, nobody else is asked, and its answer comes all the same."""

    @pytest.fixture
    def late(self, streams):
        streams.plays("openai", [LATE, "late"])

    def alone(self, asked, streams):
        assert (asked.code, asked.document["answer"], asked.document["tier"]) == (0, "late", 0)
        assert streams.count() == streams.count("openai") == 1
        return True

    @pytest.mark.usefixtures("late")
    def test_a_chain_of_one(self, hedging, streams):
        assert self.alone(hedging(OPENAI).ask("--hedge", AT_ONCE), streams)

    @pytest.mark.usefixtures("late")
    def test_no_fallback(self, hedging, streams):
        assert self.alone(hedging().ask("--hedge", AT_ONCE, "--no-fallback"), streams)

    @pytest.mark.usefixtures("late")
    def test_an_open_circuit(self, hedging, streams):
        llmfail = hedging()
        assert llmfail("trip", "anthropic").code == 0
        assert self.alone(llmfail.ask("--hedge", AT_ONCE), streams)

    @pytest.mark.usefixtures("late")
    def test_a_missing_key(self, hedging, streams):
        llmfail = hedging().without("ANTHROPIC_API_KEY")
        assert self.alone(llmfail.ask("--hedge", AT_ONCE), streams)

    @pytest.mark.usefixtures("late")
    def test_a_budget_that_is_too_small_for_two(self, hedging, streams):
        assert self.alone(hedging(**budget(0.15)).ask("--hedge", AT_ONCE), streams)

    @pytest.mark.usefixtures("late")
    def test_what_the_caller_is_ready_to_pay(self, hedging, streams):
        assert self.alone(hedging().ask("--hedge", AT_ONCE, "--max-cost", "0.15"), streams)

    @pytest.mark.usefixtures("late")
    def test_no_history_to_tell_what_late_is(self, hedging, streams):
        assert self.alone(hedging().ask("--hedge", "p95"), streams)

    @pytest.mark.usefixtures("late")
    def test_nobody_asked_for_it(self, hedging, streams):
        assert self.alone(hedging().ask(), streams)

    def test_whom_an_open_circuit_keeps_out_the_one_behind_replaces(self, hedging, streams):
        streams.plays("openai", [STALL])
        llmfail = hedging(OPENAI, ANTHROPIC, GOOGLE)
        assert llmfail("trip", "anthropic").code == 0
        asked = llmfail.ask("--hedge", AT_ONCE)
        assert (asked.code, asked.document["target"]) == (0, GOOGLE)
        assert streams.count("anthropic") == 0


class TestHowItIsAskedFor:
    def test_a_feature_asks_for_it(self, hedging, streams):
        streams.plays("openai", [STALL])
        asked = hedging(feature={"hedge": 0.2}).ask()
        assert lost_and_won(asked.document) == (OPENAI, ANTHROPIC)

    def test_the_command_line_comes_before_the_feature(self, hedging, streams):
        streams.plays("openai", [LATE, "late"])
        assert hedging(feature={"hedge": 0.2}).ask("--hedge", NEVER).document["target"] == OPENAI
        assert streams.count() == 1

    def test_what_is_late_is_learned(self, hedging, streams, state, monkeypatch):
        llmfail = hedging()
        for name, value in llmfail.environ.items():
            monkeypatch.setenv(name, value)
        with Client(llmfail.before[1], state_dir=state) as client:
            for _ in range(50):
                assert client.ask("Say hello").tier == 0
        streams.plays("openai", [STALL])
        asked = llmfail.ask("--hedge", "p95")
        assert lost_and_won(asked.document) == (OPENAI, ANTHROPIC)

    @pytest.mark.parametrize("hedge", ["-1", "soon", "p50", "", "nan", "11y"])
    def test_what_is_neither_a_duration_nor_p95_is_a_usage_error(self, hedging, streams, hedge):
        ended = hedging()("ask", "Say hello", f"--hedge={hedge}")
        assert (ended.code, ended.out) == (2, b"")
        assert "hedge" in ended.err
        assert streams.count() == 0

    def test_so_it_is_in_a_configuration(self, hedging, streams):
        ended = hedging(feature={"hedge": "soon"})("ask", "Say hello")
        assert ended.code == 2
        assert "features.default.hedge" in ended.err

    def test_a_batch_hedges_as_its_features_say(self, hedging, streams):
        streams.plays("openai", [STALL])
        ended = hedging(feature={"hedge": 0.2})("batch", "-", stdin=b'"One"\n"Two"\n"Three"\n')
        receipts = [json.loads(line) for line in ended.out.splitlines()]
        assert ended.code == 0
        assert [receipt["answer"] for receipt in receipts] == [
            f"{ANTHROPIC} heard: {word}" for word in ("One", "Two", "Three")
        ]
        assert [lost_and_won(receipt) for receipt in receipts] == [(OPENAI, ANTHROPIC)] * 3


class TestHowOften:
    def test_ten_in_advance_and_a_tenth_of_the_asks_whatever_process_asks(self, hedging, streams):
        """Every call is late. Two batches of 30 lines are 60 asks: 10 and 6."""
        streams.plays("openai", [0.6, "late"])
        streams.plays("anthropic", [STALL])
        llmfail = hedging(feature={"hedge": 0.2})
        lines = b"".join(b'"Number %d"\n' % number for number in range(30))
        for most in (13, 16):
            ended = llmfail("batch", "-", "--concurrency", "10", stdin=lines)
            assert ended.code == 0
            assert 10 <= streams.count("anthropic") <= most
        assert streams.count("openai") == 60

    def test_a_fast_answer_uses_none_of_them(self, hedging, streams):
        llmfail = hedging(feature={"hedge": 30})
        lines = b"".join(b'"Number %d"\n' % number for number in range(30))
        assert llmfail("batch", "-", stdin=lines).code == 0
        assert streams.count("anthropic") == 0
