"""Who asks the same at the same time waits for one answer, and for nobody who does not come back."""

import asyncio

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.cache.cache_key import digest_of, fingerprint
from llmfail.core.cache.single_flight import (
    CachePolicy,
    FlightLease,
    answer_key,
    flight_key,
)
from llmfail.core.conversation import Message
from llmfail.core.model import Completion, Request
from llmfail.core.records.record import Write, dump, load
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import Expectation
from llmfail.engine.answers.answer_cache import FLIGHT_MARGIN, CacheReader, SingleFlightCache
from llmfail.engine.engine import Engine
from llmfail.engine.planning.request_builder import endpoint_of
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.store_access import InlineStore

PRINT = "f" * 64
TERMS = CachePolicy(60, 600)


@pytest.fixture(params=[False, True], ids=["leases with the answers", "leases with the state"])
def script(request, tmp_path):
    """An engine that plays a script."""

    def script(said):
        return ScriptedEngine(tmp_path, said, cached=True, apart=request.param)

    return script


@pytest.fixture
def play(script):
    return script({host: [answer()] for host in "abc"})


def flight_cache(play, name, terms=TERMS):
    return SingleFlightCache(play.ports, CacheReader(play.ports.answers, terms, Expectation()), name)


def fetched(play, one, max_wait=10.0):
    return run_sync(one.fetch(PRINT, max_wait, play.ports.sleep))


def leases(play):
    """The store that has them."""
    return play.store if play.apart else play.answers


def flying(play, holder="somewhere else 1 1", lasts=60.0):
    writes = {flight_key(PRINT): Write(dump(FlightLease("theirs", holder, play.now + lasts)))}
    leases(play).update((), lambda values, now: (writes, None))


def flights(play):
    """Those that anybody would wait for."""
    rows = (row for key, row in leases(play)._rows.items() if key.startswith("flight/"))
    return [row for row in rows if load(row.text, FlightLease).ends_at > play.now]


def test_the_first_leads_and_who_comes_meanwhile_waits_in_vain_only_as_long_as_it_may(play):
    first, second = flight_cache(play, "first"), flight_cache(play, "second")
    assert fetched(play, first) is None
    assert flights(play)
    before = play.now
    assert fetched(play, second, max_wait=5.0) is None
    assert 5.0 <= play.now - before < 6.0


def test_what_the_leader_keeps_is_what_the_others_get(play):
    first, second = flight_cache(play, "first"), flight_cache(play, "second")
    fetched(play, first)
    target = play.settings.features["default"].primary
    run_sync(first.store_answer(PRINT, target, Completion("said", "stop")))
    found = fetched(play, second)
    assert (found.text, found.target, found.at) == ("said", "a/one", play.now)
    assert not flights(play)


@pytest.mark.parametrize("finish", ["length", "other", "tool_calls"])
def test_half_an_answer_is_kept_for_nobody_and_nobody_waits_on(play, finish):
    first = flight_cache(play, "first")
    fetched(play, first)
    run_sync(first.store_answer(PRINT, play.settings.features["default"].primary, Completion("said", finish)))
    assert not play.answers._rows.get(answer_key(PRINT))
    assert not flights(play)


def test_who_followed_a_leader_that_gave_up_goes_alone_and_leads_nobody(play):
    flying(play)
    second = flight_cache(play, "second")
    waits = iter(
        [lambda: None, lambda: leases(play).update((), lambda v, n: ({flight_key(PRINT): None}, None))]
    )

    async def pause(seconds):
        next(waits)()

    assert run_sync(second.fetch(PRINT, 60.0, pause)) is None
    assert not flights(play)


def test_a_leader_elsewhere_is_waited_for_until_its_lease_ends(play):
    flying(play, lasts=3.0)
    before = play.now
    assert fetched(play, flight_cache(play, "second"), max_wait=60.0) is None
    assert 3.0 <= play.now - before < 4.0
    assert flights(play)


def test_when_a_lease_has_ended_one_of_the_others_leads_and_they_wait_for_it(play):
    """Kept longer than it lasts, it is told apart from one that was given up."""
    flying(play, lasts=3.0)
    second, third = flight_cache(play, "second"), flight_cache(play, "third")

    async def pause(seconds):
        await play.ports.sleep(seconds)

    assert run_sync(second.fetch(PRINT, 60.0, pause)) is None
    row = leases(play)._rows[flight_key(PRINT)]
    assert load(row.text, FlightLease).name == "second"
    before = play.now
    assert fetched(play, third, max_wait=5.0) is None
    assert play.now - before >= 5.0


def test_a_leader_that_has_ended_here_is_not_waited_for(play):
    place = play.ports.process.token.rsplit(" ", 2)[0]
    flying(play, holder=f"{place} 999999999 1")
    before = play.now
    assert fetched(play, flight_cache(play, "second"), max_wait=60.0) is None
    assert play.now - before < 0.1


def test_who_takes_the_lead_just_after_a_leader_has_come_back_has_its_answer(tmp_path):
    """The look for an answer and the step to the lead are not one where the leases are elsewhere."""
    play = ScriptedEngine(tmp_path, {"a": [answer()]}, cached=True, apart=True)
    leader, late = flight_cache(play, "leader"), flight_cache(play, "late")
    assert fetched(play, leader) is None

    class BehindItsTime(InlineStore):
        """Whatever is read, the leader comes back right after."""

        async def read(self, keys):
            found = await super().read(keys)
            target = play.settings.features["default"].primary
            await leader.store_answer(PRINT, target, Completion("said", "stop"))
            return found

    late.reader = CacheReader(BehindItsTime(play.answers), TERMS, Expectation())
    assert fetched(play, late).text == "said"
    assert not flights(play)


def test_the_lease_of_a_leader_outlives_the_time_that_it_has(play):
    fetched(play, flight_cache(play, "first"), max_wait=10.0)
    (row,) = (row for key, row in leases(play)._rows.items() if key.startswith("flight/"))
    assert load(row.text, FlightLease).ends_at == play.now + 10.0 + FLIGHT_MARGIN


@pytest.mark.parametrize("terms", [CachePolicy(0, 600), CachePolicy(60, 600, refresh=True)])
def test_where_nothing_is_fresh_enough_nobody_flies(play, terms):
    assert fetched(play, flight_cache(play, "first", terms)) is None
    assert not flights(play)


def test_every_way_out_of_an_ask_ends_its_flight(script):
    for said in (answer(), error(500), error(400), answer("")):
        play = script({host: [said] for host in "abc"})
        play.ask()
        assert not flights(play)


def test_an_ask_that_is_stopped_ends_its_flight(script):
    class Stop(BaseException):
        """A signal."""

    play = script({"a": [Stop()]})
    with pytest.raises(Stop):
        play.ask()
    assert not flights(play)


def test_tasks_of_one_event_loop_pay_once(script):
    """The holder of the flight is this very process, and alive."""
    play = script({"a": [answer()]})
    began = []

    async def send(call, timeout):
        began.append(call)
        await asyncio.sleep(0)
        return answer()

    async def sleep(seconds):
        await asyncio.sleep(0)

    async def main():
        ports = replace(play.ports, send=send, sleep=sleep)
        engine = Engine(play.settings, ports)
        return await asyncio.gather(*(engine.ask(Ask(to_messages("hi"))) for _ in range(20)))

    receipts = asyncio.run(main())
    assert len(began) == 1
    assert sorted(one.source for one in receipts) == ["cache"] * 19 + ["model"]


def test_a_second_keeper_on_the_same_answers_sees_them(play):
    reader = CacheReader(InlineStore(play.answers), TERMS, Expectation())
    play.ask()
    (key,) = (key for key in play.answers._rows if key.startswith("answer/"))
    assert run_sync(reader.find_fresh([key.removeprefix("answer/")])).text == "hello"


def test_who_waits_for_another_keeps_half_of_its_time(script):
    """A leader that was stopped, and is alive: the provider is asked before the deadline all the same."""
    play = script({"a": [answer()]})
    question_of = digest_of(Request((Message("user", "hi"),)))
    target = play.settings.features["default"].primary
    endpoint = endpoint_of(play.settings.provider_of(target), target.model)
    there = FlightLease("theirs", play.ports.process.token, play.now + 10**6)
    writes = {flight_key(fingerprint(question_of, endpoint)): Write(dump(there))}
    leases(play).update((), lambda values, now: (writes, None))
    before = play.now
    receipt = play.ask(targets=["a/one"], deadline=8.0)
    assert (receipt.source, receipt.target.provider) == ("model", "a")
    assert 3.9 <= play.now - before <= 4.5


def test_a_task_that_is_cancelled_while_it_takes_the_lead_leads_nobody(script):
    """The store goes on with what it was told."""
    play = script({"a": [answer()]})

    class Slow(InlineStore):
        async def update(self, keys, change):
            result = self.store.update(keys, change)
            await asyncio.sleep(0.05)
            return result

    async def main():
        ports = replace(play.ports, answers=Slow(play.answers), store=Slow(play.store))
        engine = Engine(play.settings, ports)
        task = asyncio.create_task(engine.ask(Ask(to_messages("hi"))))
        await asyncio.sleep(0.01)
        assert flights(play)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not flights(play)
