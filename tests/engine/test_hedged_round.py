"""A second target is asked while the first is late: who answers, who is stopped, what it costs.

The event loop is real; what the wire says and when an alarm rings is up to the test.
"""

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, ScriptedReply, address_of, answer, chunk, error, streamed_answer

from llmfail.core.admission import hedge_budget
from llmfail.core.model import Target
from llmfail.core.records.counters import CallCounters
from llmfail.core.records.record import Write, dump, load_or_default
from llmfail.core.records.state_keys import call_counters_key, hedge_key
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.store_access import InlineStore

PRICED = "models:\n" + "".join(
    f"  {target}: {{price: {{input: 1, output: 10}}}}\n" for target in ("a/one", "a/two", "b/one", "c/one")
)


class SlowKeeper(InlineStore, frozen=True):
    """Others have their turn before every step, as with threads."""

    async def read(self, keys):
        await asyncio.sleep(0)
        return await super().read(keys)

    async def update(self, keys, change):
        await asyncio.sleep(0)
        return await super().update(keys, change)

    async def run_shielded(self, work, *, writes):
        task, stopped = asyncio.ensure_future(work), None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as cancelled:
                stopped = cancelled
        if stopped is not None:
            raise stopped
        return task.result()


class Track:
    """``out`` are the calls that wait for a word, by host and in order; ``alarms`` the pauses that wait."""

    def __init__(self, directory, chain="a/one, b/one, c/one", **more):
        self.stage = ScriptedEngine(directory, {}, **more)
        self.out, self.alarms, self.stopped = [], [], []
        self.targets = tuple(map(Target.parse, chain.split(", ")))
        ports = replace(
            self.stage.ports,
            send=self._send,
            open=self._open,
            sleep=self._sleep,
            store=SlowKeeper(self.stage.store),
            answers=SlowKeeper(self.stage.answers),
            concurrent=True,
            lock=asyncio.Lock,
        )
        self.engine = Engine(self.stage.settings, ports)

    def start(self, show=None, **options):
        options = {"targets": self.targets, "hedge": 0.2, "stream": show is not None, **options}
        return asyncio.ensure_future(self.engine.ask(Ask(to_messages("hi"), **options), on_text=show))

    async def asked(self, host):
        """Until that host is asked: how to answer it."""
        return await self._there(lambda: next((word for name, word in self.out if name == host), None))

    async def late(self):
        """The alarm rings once it is set."""
        alarm = await self._there(lambda: next((one for _, one in self.alarms if not one.done()), None))
        alarm.set_result(None)

    async def idle(self):
        for _ in range(100):
            await asyncio.sleep(0)

    def hosts(self):
        return "".join(host for host, _ in self.out)

    def hedge_key(self):
        return hedge_key(self.stage.settings.configuration_id, "default")

    def earned(self):
        key = self.hedge_key()
        return load_or_default(self.stage.store.read([key])[0][key], hedge_budget.TokenBucket).earned

    def keep(self, key, text):
        self.stage.store.update([key], lambda *_: ({key: Write(text)}, None))

    async def opened(self, *hosts):
        """Their circuits open."""
        for host in hosts:
            for _ in range(2):
                target = (Target(host, "one"),)
                ask = self.start(targets=target, hedge=None, fallback=False)
                (await self.asked(host)).set_result(error(500))
                await ask
                self.out.clear()

    async def _there(self, find):
        for _ in range(1000):
            found = find()
            if found is not None:
                return found
            await asyncio.sleep(0)
        raise AssertionError("it did not come")

    async def _send(self, call, timeout):
        host = call.url.split("/")[2].partition(".")[0]
        word = asyncio.get_running_loop().create_future()
        self.out.append((host, word))
        try:
            said = await word
        except asyncio.CancelledError:
            self.stopped.append(host)
            raise
        if isinstance(said, Exception):
            raise said
        return said

    async def _open(self, call, timeout):
        return (await self._send(call, timeout)).on(self.stage)

    async def _sleep(self, seconds):
        alarm = asyncio.get_running_loop().create_future()
        self.alarms.append((seconds, alarm))
        await alarm


@pytest.fixture
def track(tmp_path):
    def make(**more):
        return Track(tmp_path, **more)

    return make


def lines(receipt):
    return [(str(entry.target), entry.outcome) for entry in receipt.trail]


def run(story):
    asyncio.run(asyncio.wait_for(story, 30))


def test_who_answers_in_time_is_the_only_one_that_is_asked(track):
    async def story():
        played = track()
        ask = played.start()
        (await played.asked("a")).set_result(answer("a"))
        receipt = await ask
        assert (receipt.answer, played.hosts()) == ("a", "a")
        assert all(alarm.cancelled() for _, alarm in played.alarms)

    run(story())


@pytest.mark.parametrize(("first", "tier"), [("a", 0), ("b", 2)])
def test_when_the_first_is_late_the_first_good_answer_wins(track, first, tier):
    async def story():
        played = track(more=PRICED)
        ask = played.start(max_cost=10**12)
        await played.asked("a")
        await played.late()
        await played.asked("b")
        (await played.asked(first)).set_result(answer(first))
        receipt = await ask
        loser = {"a": "b", "b": "a"}[first]
        assert (receipt.answer, receipt.tier) == (first, tier)
        assert played.stopped == [loser]
        assert lines(receipt) == [(f"{loser}/one", "cancelled"), (f"{first}/one", "ok")]
        assert receipt.trail[0].note == "another target answered first"
        assert receipt.trail[0].cost_pico_usd is receipt.cost_pico_usd is None
        assert receipt.trail[0].held > 0

    run(story())


def test_the_alarm_is_what_was_asked_for(track):
    async def story():
        played = track()
        ask = played.start(hedge=1.5)
        (await played.asked("a")).set_result(answer())
        await ask
        assert [seconds for seconds, _ in played.alarms] == [1.5]

    run(story())


def test_who_fails_before_he_is_late_costs_no_hedge(track):
    async def story():
        played = track()
        ask = played.start()
        (await played.asked("a")).set_result(error(500))
        (await played.asked("b")).set_result(answer("b"))
        receipt = await ask
        assert lines(receipt) == [("a/one", "server_error"), ("b/one", "ok")]
        assert played.earned() == hedge_budget.MAX_CREDITS

    run(story())


def test_a_hedge_that_fails_leaves_the_first_its_time(track):
    async def story():
        played = track(chain="a/one, b/one")
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(error(500))
        await played.idle()
        first.set_result(answer("a"))
        assert lines(await ask) == [("b/one", "server_error"), ("a/one", "ok")]

    run(story())


def test_two_are_asked_at_once_at_most_and_the_third_when_one_of_them_has_failed(track):
    async def story():
        played = track()
        ask = played.start()
        await played.asked("a")
        await played.late()
        second = await played.asked("b")
        await played.idle()
        assert played.hosts() == "ab"
        second.set_result(error(500))
        await played.late()
        (await played.asked("c")).set_result(answer("c"))
        assert (await ask).answer == "c"
        assert played.earned() == hedge_budget.MAX_CREDITS - 2 * hedge_budget.CREDITS_PER_HEDGE + 1

    run(story())


def test_when_all_have_failed_there_is_no_answer(track):
    async def story():
        played = track()
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(error(500))
        first.set_result(error(500))
        (await played.asked("c")).set_result(error(500))
        receipt = await ask
        assert receipt.error.code == 3
        assert sorted(played.hosts()) == ["a", "b", "c"]

    run(story())


def test_a_second_refusal_stops_the_hedge_behind_it(track):
    async def story():
        played = track()
        ask = played.start()
        (await played.asked("a")).set_result(error(400, "invalid_request_error"))
        second = await played.asked("b")
        await played.late()
        await played.asked("c")
        second.set_result(error(400, "invalid_request_error"))
        receipt = await ask
        assert (receipt.error.code, played.hosts(), played.stopped) == (5, "abc", ["c"])
        assert "another target refused the request for all" in [entry.note for entry in receipt.trail]

    run(story())


@pytest.mark.parametrize(
    ("word", "answered", "code"), [(answer("b"), "b", None), (error(400, "invalid_request_error"), None, 5)]
)
def test_a_request_that_the_first_refuses_may_still_be_answered_by_its_hedge(track, word, answered, code):
    async def story():
        played = track()
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        hedge = await played.asked("b")
        first.set_result(error(400, "invalid_request_error"))
        await played.idle()
        assert not ask.done()
        hedge.set_result(word)
        receipt = await ask
        assert (receipt.answer, receipt.error and receipt.error.code) == (answered, code)
        assert played.hosts() == "ab"

    run(story())


def test_a_request_that_a_hedge_refuses_may_still_be_answered_by_the_first(track):
    async def story():
        played = track()
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(error(400, "invalid_request_error"))
        await played.idle()
        assert not ask.done()
        first.set_result(answer("a"))
        receipt = await ask
        assert (receipt.answer, played.hosts()) == ("a", "ab")

    run(story())


def test_hedges_are_a_tenth_of_the_asks_and_ten_in_advance(track):
    async def story():
        played = track(chain="a/one, b/one")
        hedged = 0
        for _ in range(60):
            played.out.clear()
            played.alarms.clear()
            ask = played.start()
            first = await played.asked("a")
            await played.late()
            await played.idle()
            hedged += played.hosts() == "ab"
            first.set_result(answer())
            await ask
        assert hedged == 10 + 59 // 10

    run(story())


def test_a_prompt_that_is_tried_again_simplified_is_one_ask(track):
    async def story():
        steps = "degrade: [{simplify: {keep_chars: 100}}]"
        played = track(feature=f", {steps}")
        played.keep(played.hedge_key(), dump(hedge_budget.TokenBucket(0)))
        ask = played.start()
        for host in "abc":
            (await played.asked(host)).set_result(error(500))
        await played.idle()
        del played.out[:3]
        (await played.asked("a")).set_result(answer("a"))
        assert (await ask).tier == 4
        assert played.earned() == 1

    run(story())


def test_without_a_hedge_left_nobody_asks_for_one_again(track):
    async def story():
        played = track()
        played.keep(played.hedge_key(), dump(hedge_budget.TokenBucket(0)))
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        await played.idle()
        assert (played.hosts(), len(played.alarms)) == ("a", 1)
        first.set_result(answer("a"))
        assert (await ask).answer == "a"

    run(story())


def test_a_hedge_goes_through_the_gate_and_another_takes_its_place(track):
    """The circuit of the second is open: the third is asked at once, with the same hedge."""

    async def story():
        played = track()
        await played.opened("b")
        ask = played.start()
        await played.asked("a")
        await played.late()
        (await played.asked("c")).set_result(answer("c"))
        receipt = await ask
        assert (receipt.answer, played.hosts()) == ("c", "ac")
        assert played.earned() == hedge_budget.MAX_CREDITS - hedge_budget.CREDITS_PER_HEDGE + 1

    run(story())


def test_a_hedge_that_nobody_takes_is_given_back(track):
    async def story():
        played = track(chain="a/one, b/one")
        await played.opened("b")
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        await played.idle()
        assert (played.hosts(), played.earned()) == (
            "a",
            hedge_budget.MAX_CREDITS - hedge_budget.CREDITS_PER_HEDGE,
        )
        first.set_result(answer("a"))
        assert lines(await ask) == [("b/one", "circuit_open"), ("a/one", "ok")]
        assert played.earned() == hedge_budget.MAX_CREDITS

    run(story())


def test_both_together_cost_no_more_than_the_ask_may(track):
    """What the first may cost at worst is held while it is under way."""

    async def story():
        played = track(chain="a/one, b/one", more=PRICED)
        ask = played.start(max_cost=30_000 * 10**6, max_tokens=2000)
        first = await played.asked("a")
        await played.late()
        await played.idle()
        assert played.hosts() == "a"
        first.set_result(answer("a"))
        assert lines(await ask) == [("b/one", "too_expensive"), ("a/one", "ok")]

    run(story())


@pytest.mark.parametrize("hedged", [False, True])
def test_who_stops_the_ask_stops_everybody_and_gives_back_every_place(track, hedged):
    async def story():
        played = track()
        await played.opened("a", "b")
        played.stage.now += 60.0  # half open: each has one place
        ask = played.start()
        await played.asked("a")
        if hedged:
            await played.late()
            await played.asked("b")
        ask.cancel()
        with suppress(asyncio.CancelledError):
            await ask
        assert ask.cancelled()
        assert sorted(played.stopped) == (["a", "b"] if hedged else ["a"])
        played.out.clear()
        again = played.start()
        (await played.asked("a")).set_result(answer("a"))
        assert (await again).answer == "a"

    run(story())


def test_nobody_is_to_blame_for_being_stopped(track):
    async def story():
        played = track(chain="a/one, b/one")
        for _ in range(5):
            played.out.clear()
            played.alarms.clear()
            ask = played.start()
            await played.asked("a")
            await played.late()
            (await played.asked("b")).set_result(answer("b"))
            assert lines(await ask)[0] == ("a/one", "cancelled")

    run(story())


def test_of_two_that_speak_the_first_is_heard_and_the_other_stopped(track):
    async def story():
        played, pieces = track(), []

        async def show(piece):
            pieces.append(piece)
            await asyncio.sleep(0)

        ask = played.start(show)
        first = await played.asked("a")
        await played.late()
        second = await played.asked("b")
        second.set_result(streamed_answer("b ", "is ", "heard"))
        first.set_result(streamed_answer("a ", "is ", "not"))
        receipt = await ask
        assert "".join(pieces) == receipt.answer == "b is heard"
        assert [line for line in lines(receipt) if line[0] == "b/one"] == [("b/one", "ok")]

    run(story())


def test_when_somebody_is_heard_the_others_are_stopped_at_once(track):
    async def story():
        played, pieces = track(), []
        heard = asyncio.Event()

        async def show(piece):
            pieces.append(piece)
            await heard.wait()

        ask = played.start(show)
        await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(streamed_answer("b", "b"))
        await played.idle()
        assert (pieces, played.stopped) == (["b"], ["a"])
        heard.set()
        assert (await ask).answer == "bb"

    run(story())


def test_half_an_answer_ends_the_race(track):
    async def story():
        played, pieces = track(), []

        async def show(piece):
            pieces.append(piece)

        ask = played.start(show)
        await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(ScriptedReply(chunk("half")))
        receipt = await ask
        assert (pieces, receipt.error.code, played.hosts()) == (["half"], 8, "ab")
        assert lines(receipt) == [("a/one", "cancelled"), ("b/one", "malformed")]

    run(story())


def test_what_has_lost_gives_up_the_lead_for_its_answer(track):
    """Somebody else who asks it the same leads at once."""

    async def story():
        played = track(cached=True)
        ask = played.start()
        await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(answer("b"))
        await ask
        played.out.clear()
        other = played.start(targets=(Target("a", "one"),), hedge=None)
        (await played.asked("a")).set_result(answer("a"))
        assert (await other).answer == "a"

    run(story())


@pytest.mark.parametrize("answered", ["a", "b"])
def test_what_either_of_them_has_answered_before_is_answered_without_a_call(track, answered):
    async def story():
        played = track(cached=True)
        ask = played.start(targets=(Target(answered, "one"),))
        (await played.asked(answered)).set_result(answer(answered))
        await ask
        played.out.clear()
        receipt = await played.start()
        assert (receipt.answer, receipt.source, played.hosts()) == (answered, "cache", "")
        assert receipt.tier == {"a": 0, "b": 2}[answered]

    run(story())


def test_by_its_own_standards_somebody_is_late_after_95_of_100_answers(track):
    async def story():
        played = track()
        hour = int(played.stage.now // 3600)
        tally = CallCounters(calls=100, ok=100, latencies={50: 94, 80: 6})
        played.keep(call_counters_key(address_of("a/one"), hour), dump(tally))
        ask = played.start(hedge="p95")
        (await played.asked("a")).set_result(answer("a"))
        await ask
        assert [seconds for seconds, _ in played.alarms] == [pytest.approx(1.1**80 / 1000, rel=0.01)]

    run(story())


@pytest.mark.parametrize(
    "options",
    [
        {"hedge": None},
        {"hedge": "p95"},
        {"fallback": False},
        {"targets": (Target("a", "one"),)},
    ],
    ids=["not asked for", "nothing known yet", "without fallbacks", "nobody else"],
)
def test_nobody_else_is_asked(track, options):
    async def story():
        played = track()
        ask = played.start(**options)
        (await played.asked("a")).set_result(answer("a"))
        assert (await ask).answer == "a"
        assert played.alarms == []

    run(story())


def test_a_feature_says_when_its_answers_are_late(track):
    async def story():
        played = track(feature=", hedge: 3s")
        ask = played.start(hedge=None, targets=())
        (await played.asked("a")).set_result(answer("a"))
        await ask
        assert [seconds for seconds, _ in played.alarms] == [3.0]

    run(story())


def test_whose_text_is_shown_has_the_receipt_though_somebody_ended_just_before(track):
    """An answer without any text takes no floor."""

    async def story():
        played, pieces = track(feature=", expect: {nonempty: false}"), []

        async def show(piece):
            pieces.append(piece)
            await asyncio.sleep(0)

        ask = played.start(show)
        first = await played.asked("a")
        await played.late()
        (await played.asked("b")).set_result(streamed_answer())
        first.set_result(streamed_answer("a ", "is ", "heard"))
        receipt = await ask
        assert "".join(pieces) == receipt.answer == "a is heard"
        assert receipt.target.provider == "a"

    run(story())


@pytest.mark.parametrize("turns", range(16))
def test_nobody_takes_the_place_of_a_hedge_once_somebody_is_heard(track, turns):
    """In some of these turns of the loop the hedge comes to no call just as the first is heard."""

    async def story():
        played, pieces = track(), []
        await played.opened("b")
        heard = asyncio.Event()

        async def show(piece):
            pieces.append((piece, played.hosts()))
            await heard.wait()

        ask = played.start(show)
        first = await played.asked("a")
        await played.late()
        for _ in range(turns):
            await asyncio.sleep(0)
        first.set_result(streamed_answer("a", "a"))
        await played.idle()
        assert pieces == [("a", played.hosts())]
        heard.set()
        assert (await ask).answer == "aa"

    run(story())


@pytest.mark.parametrize("turns", range(16))
def test_a_hedge_that_is_allowed_as_somebody_is_heard_is_given_back(track, turns):
    """In whichever turn of the loop behind the alarm the first is heard: who is not asked costs nothing."""

    async def story():
        played, asked = track(chain="a/one, b/one"), []

        async def show(_piece):
            asked.append(played.hosts())
            await asyncio.sleep(0)

        ask = played.start(show)
        first = await played.asked("a")
        await played.late()
        for _ in range(turns):
            await asyncio.sleep(0)
        first.set_result(streamed_answer("a", *"bc" * 40))
        assert (await ask).answer == "a" + "bc" * 40
        assert played.hosts() == asked[0]
        assert played.earned() == hedge_budget.MAX_CREDITS - (hedge_budget.CREDITS_PER_HEDGE - 1) * (
            "b" in played.hosts()
        )

    run(story())


@pytest.mark.parametrize("turns", range(16))
def test_two_that_settle_at_once_settle_each_failure_once(track, turns):
    """One before it pauses, the other with its admission, in whichever turn of the loop."""

    async def story():
        played = track(feature=", target_retries: 1", more=PRICED)
        ask = played.start()
        first = await played.asked("a")
        await played.late()
        second = await played.asked("b")
        first.set_result(error(400, "model_not_found", "no such model"))
        await played.late()
        for _ in range(turns):
            await asyncio.sleep(0)
        second.set_result(error(500))
        (await played.asked("c")).set_result(answer("c"))
        assert (await ask).answer == "c"
        key = call_counters_key(address_of("b/one"), int(played.stage.now // 3600))
        assert load_or_default(played.stage.store.read([key])[0][key], CallCounters).calls == 1

    run(story())
