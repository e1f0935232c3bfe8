"""The store has a clock of its own, and a machine another: neither is compared with the other."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, answer

from llmfail.core.cache.single_flight import CachePolicy
from llmfail.core.request.expectation import Expectation
from llmfail.engine.answers.answer_cache import CacheReader, SingleFlightCache
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.process_liveness import BOOT_ID_PATH, ProcessIdentity
from llmfail.engine.ports.store_access import InlineStore
from llmfail.store.memory import MemoryStore

SKEWS = [-300.0, -2.0, 0.0, 2.0, 40.0, 300.0]
"""Seconds by which the machine is ahead of its store."""


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("limits", ["limits: {requests_per_minute: 6000}", ""])
def test_x1_whatever_the_clock_of_the_store_says_a_call_is_on_time(tmp_path, skew, limits):
    more = f"models: {{a/one: {{{limits}}}}}" if limits else ""
    play = ScriptedEngine(tmp_path, {host: [answer()] for host in "abc"}, more=more)
    ports = replace(play.ports, store=InlineStore(MemoryStore(lambda: play.now - skew)))
    play.engine = Engine(play.settings, ports)
    receipts = [play.ask() for _ in range(5)]
    assert [str(receipt.target) for receipt in receipts] == ["a/one"] * 5


@pytest.mark.parametrize("skew", SKEWS)
def test_x2_one_of_several_leads_whatever_their_clocks_say(tmp_path, skew):
    play = ScriptedEngine(tmp_path, {host: [answer()] for host in "abc"}, cached=True)
    reader = CacheReader(play.ports.answers, CachePolicy(60, 600), Expectation())
    shifted = replace(play.ports, wall=lambda: play.now + skew)
    first, second = (SingleFlightCache(shifted, reader, name) for name in ("first", "second"))
    assert run_sync(first.fetch("f" * 64, 10.0, play.ports.sleep)) is None
    before = play.now
    assert run_sync(second.fetch("f" * 64, 5.0, play.ports.sleep)) is None
    assert (first.is_leader, second.is_leader) == (True, False)
    assert play.now - before >= 5.0, "it has waited for the first"


@pytest.fixture
def boot_ids(tmp_path):
    """Files that tell of two machines of one name."""
    found = []
    for number in range(2):
        found.append(tmp_path / f"boot_id{number}")
        found[-1].write_text(f"boot {number}\n")
    return found


def dead_process_of(identity):
    return f"{identity.token.rsplit(' ', 2)[0]} 3999999 12345"


def test_x3_a_process_of_another_machine_of_the_same_name_is_never_gone(boot_ids):
    here, there = map(ProcessIdentity, boot_ids)
    assert here.is_gone(dead_process_of(here))
    assert not here.is_gone(dead_process_of(there))
    assert not here.is_gone(here.token)


def test_x3_where_the_system_does_not_tell_machines_apart_nobody_is_gone(tmp_path):
    identity = ProcessIdentity(tmp_path / "missing")
    assert not identity.is_gone(dead_process_of(identity))


@pytest.mark.skipif(not BOOT_ID_PATH.exists(), reason="Linux tells its boots apart")
def test_x3_a_process_is_known_by_the_boot_of_its_machine():
    token = ProcessIdentity().token
    assert token.startswith(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    assert f" {os.getpid()} " in token
