"""A service with a hundred asks a minute through an outage of its primary: the real engine and circuits on a
simulated clock.
"""

import asyncio
from random import Random

import pytest

from llmfail.core.admission import gate as gates
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.execution import run_inline
from llmfail.engine.ports.google_token import GoogleTokens
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.engine.ports.store_access import InlineStore
from llmfail.engine.reports.probe_claims import claim_probes, probe_until_decided
from llmfail.forecast.outages import Outage, OutageHistory, OutageKind
from llmfail.forecast.simulated_providers import Latency, SimulatedProviders, TokenCounts, simulate_settings
from llmfail.prices import Catalogue
from llmfail.settings import load
from llmfail.store.memory import MemoryStore

A, B = Target.parse("a/one"), Target.parse("b/one")
CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 10s, deadline: 30s}}
breaker: {{failure_threshold: 3, recovery_timeout: 30s, max_recovery_timeout: 30s{breaker}}}
providers:
  a: {{api: openai, base_url: "https://a.invalid/v1", api_key: key-of-a-0123}}
  b: {{api: openai, base_url: "https://b.invalid/v1", api_key: key-of-b-0123}}
features:
  default: {{primary: a/one, fallbacks: [b/one]}}
{more}
"""
LATENCIES = {A: Latency(1.0, 1.2), B: Latency(1.0, 1.2)}
ASK_INTERVAL = 0.6
"""A hundred a minute."""
OUTAGE = 300.0


class Service:
    """``receipts`` by the moment at which each ask began."""

    def __init__(self, directory, breaker="", more="", down=((60.0, 60.0 + OUTAGE),)):
        file = directory / "llmfail.yaml"
        file.write_text(CONFIG.format(breaker=breaker, more=more))
        self.settings = simulate_settings(load(file, {}, directory, directory))
        self.clock = SimulatedClock(1_700_000_000.0)
        self.store = MemoryStore(self.clock.wall)
        histories = {
            A: OutageHistory([Outage(start, end, OutageKind.DOWN) for start, end in down]),
            B: OutageHistory([]),
        }
        dice, ids = Random("latencies"), Random("ids")
        send = SimulatedProviders(self.settings, histories, LATENCIES, TokenCounts(), self.clock, dice).send
        self.ports = Ports(
            send=send,
            open=None,
            google_tokens=GoogleTokens(send, run_inline),
            store=InlineStore(self.store),
            catalogue=Catalogue(),
            sleep=self.clock.sleep,
            prepare=lambda: None,
            is_down=lambda: False,
            monotonic=self.clock.monotonic,
            wall=self.clock.wall,
            random=dice.random,
            new_id=lambda: f"{ids.getrandbits(64):016x}",
        )
        self.engine = Engine(self.settings, self.ports)
        self.routes = TargetRoutes(self.settings, self.ports.catalogue)
        self.receipts, self.probes = [], []

    def run(self, until, *, is_watched=False):
        self.clock.run(self._play(until, is_watched=is_watched))
        return self

    async def _play(self, until, *, is_watched):
        """Asks at an even pace, beginning off the beat of any round number of seconds."""
        moment = 0.07
        async with asyncio.TaskGroup() as group:
            if is_watched:
                group.create_task(self._watch(until))
            while moment < until:
                await self.clock.sleep(moment - self.clock.now)
                group.create_task(self._ask(moment))
                moment += ASK_INTERVAL

    async def _ask(self, moment):
        self.receipts.append((moment, await self.engine.ask(Ask(to_messages("hi")))))

    async def _watch(self, until):
        """As ``llmfail watch``: every 30 seconds, and when a circuit may be tried; it is slow to wake."""
        while self.clock.now < until:
            for target in await claim_probes(self.ports, self.routes):
                probing = probe_until_decided(self.ports, self.routes, target, self.engine.probe)
                self.probes += [one.trail[0].outcome for one in await probing]
            gate = self.routes[A].gate
            values, now = await self.ports.store.read(gate.keys)
            retry_at = gates.view(gate, values, now).retry_at
            wait = 30.0 if retry_at is None else min(retry_at - now, 30.0)
            await self.clock.sleep(max(wait, 0.2) + 1.5)


def taken_by_primary(service, start, end):
    """The share of the asks that began in that time which the primary was asked."""
    trails = [one.trail for moment, one in service.receipts if start <= moment < end]
    return sum(
        any(entry.target == A and entry.action == "called" for entry in trail) for trail in trails
    ) / len(trails)


def find_closing(service):
    """When the circuit closed: from then on the primary is left out as ramping."""
    return next(
        moment
        for moment, one in sorted(service.receipts, key=lambda told: told[0])
        if any(entry.outcome == "ramping" for entry in one.trail)
    )


def test_after_the_outage_the_share_of_the_primary_grows_in_two_minutes_from_a_tenth_to_all(tmp_path):
    service = Service(tmp_path, breaker=", ramp: 2m").run(700.0)
    assert all(one.ok for _, one in service.receipts)
    closed = find_closing(service)
    assert 60 + OUTAGE < closed < 60 + OUTAGE + 45
    for number in range(4):
        begin = closed + 30 * number
        middle = 0.1 + 0.9 * (30 * number + 15) / 120
        assert taken_by_primary(service, begin, begin + 30) == pytest.approx(middle, abs=0.15)
    assert taken_by_primary(service, closed + 122, closed + 200) == 1


def test_an_outage_that_comes_back_meets_a_tenth_of_the_asks_and_then_an_open_circuit(tmp_path):
    """The second outage begins seconds after the circuit has closed."""
    down = ((60.0, 360.0), (410.0, 600.0))
    flat = Service(tmp_path, down=down).run(500.0)
    ramped = Service(tmp_path, breaker=", ramp: 2m", down=down).run(500.0)

    def wasted(service):
        return sum(
            entry.outcome == "overloaded"
            for moment, one in service.receipts
            if 409 < moment < 430
            for entry in one.trail
        )

    assert wasted(ramped) < wasted(flat)
    assert all(one.ok for _, one in ramped.receipts)


def calls_of_primary(service, start, end):
    trails = [one.trail for moment, one in service.receipts if start <= moment < end]
    return [
        entry.outcome for trail in trails for entry in trail if entry.target == A and entry.action == "called"
    ]


def test_with_active_checks_no_ask_of_a_user_is_a_trial(tmp_path):
    """Five minutes of outage, a hundred asks a minute. After the circuit has opened no user's ask meets the
    primary until the probes have closed it; without a watch some do.
    """
    more = "probe: {targets: open}"
    watched = Service(tmp_path, more=more).run(500.0, is_watched=True)
    assert all(one.ok for _, one in watched.receipts)
    outcomes = calls_of_primary(watched, 60.0, 60.0 + OUTAGE)
    failed = [one for one in outcomes if one != "ok"]
    assert len(failed) <= 3 + 2, "those under way when it opened, and no trial"
    assert calls_of_primary(watched, 70.0, 60.0 + OUTAGE) == []
    assert watched.probes.count("ok") == 3
    assert len(watched.probes) > 6
    assert calls_of_primary(watched, 60.0 + OUTAGE + 60, 500.0)
    alone = Service(tmp_path).run(500.0)
    assert "overloaded" in calls_of_primary(alone, 70.0, 60.0 + OUTAGE)


def test_where_no_watch_runs_the_asks_of_users_make_the_trials_after_its_head_start(tmp_path):
    service = Service(tmp_path, more="probe: {targets: open}").run(600.0)
    assert calls_of_primary(service, 60.0 + OUTAGE + 90, 600.0)
    assert all(one.ok for _, one in service.receipts)
