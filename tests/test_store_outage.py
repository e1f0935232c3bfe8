"""A store that others keep from working for a while: no answer is lost, no cost, and it comes back."""

import asyncio
import sqlite3
import threading
import time
from decimal import Decimal

import pytest
from shared_config import write_shared_config

from llmfail import AsyncClient, Client, OverBudget


class Lock:
    """The state's file, locked by somebody else from the next call on until ``release``."""

    def __init__(self, simulator, file):
        self.connection = None
        self.file = file
        self.wanted = False
        self.taking = threading.Lock()
        simulator.set_answer(self.answer)

    def answer(self, _seen):
        with self.taking:
            if self.wanted and self.connection is None:
                self.connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
                self.connection.execute("BEGIN IMMEDIATE")
        return "an answer"

    def release(self):
        self.wanted = False
        self.connection.close()


@pytest.fixture
def config(tmp_path, simulator):
    return write_shared_config(tmp_path, simulator, "disk", timeout="0.2s")


@pytest.fixture
def lock(tmp_path, simulator):
    return Lock(simulator, tmp_path / "state" / "state.sqlite3")


class Blocked:
    """A file in the place of the state directory, from the next call on until ``release``."""

    def __init__(self, simulator, directory):
        self.directory = directory
        self.aside = directory.with_name("aside")
        simulator.set_answer(self.answer)

    def answer(self, _seen):
        if not self.aside.exists():
            self.directory.rename(self.aside)
            self.directory.touch()
        return "an answer"

    def release(self):
        self.directory.unlink()
        self.aside.rename(self.directory)


def spent(config):
    with Client(config) as other:
        status = other.status()
        return status.to_json()["budgets"][0], status.to_json()["routing"]["total_requests"]


def check_books(config, receipts, refused=0):
    budget, total = spent(config)
    assert Decimal(budget["spent_usd"]) == sum(one.cost_usd for one in receipts)
    assert budget["held_usd"] == "0"
    assert total == len(receipts) + refused


def test_e2_a_client_is_back_on_a_store_that_was_locked_and_the_file_has_all_that_was_settled(config, lock):
    heard, refused = [], 1
    with Client(config, warn=heard.append) as client:
        receipts = [client.ask("before")]
        lock.wanted = True
        receipts.append(client.ask("while it is locked"))
        with pytest.raises(OverBudget, match="the store is down"):
            client.ask("refused")
        lock.release()
        give_up_at = time.monotonic() + 20
        while len(receipts) < 4 and time.monotonic() < give_up_at:
            try:
                receipts.append(client.ask("afterwards"))
            except OverBudget:
                refused += 1
                time.sleep(0.05)
        assert len(receipts) == 4
        check_books(config, receipts, refused)
    assert len(heard) == 2, heard
    assert heard[1] == "the disk store can be used again"


def test_e2_an_asyncio_client_is_back_on_a_store_that_was_locked(config, lock):
    heard = []

    async def ask():
        refused = 1
        async with AsyncClient(config, warn=heard.append) as client:
            receipts = [await client.ask("before")]
            lock.wanted = True
            receipts += await asyncio.gather(*(client.ask(f"while {number}") for number in range(5)))
            with pytest.raises(OverBudget, match="the store is down"):
                await client.ask("refused")
            lock.release()
            give_up_at = time.monotonic() + 20
            while len(receipts) < 8 and time.monotonic() < give_up_at:
                try:
                    receipts.append(await client.ask("afterwards"))
                except OverBudget:
                    refused += 1
                    await asyncio.sleep(0.05)
            assert len(receipts) == 8
            check_books(config, receipts, refused)

    asyncio.run(ask())
    assert len(heard) == 2, heard


def test_e2_a_budget_that_allows_without_its_store_counts_those_calls_later(config, lock):
    config.write_text(config.read_text() + "on_store_error: allow\n")
    with Client(config, warn=lambda _text: None) as client:
        receipts = [client.ask("before")]
        lock.wanted = True
        receipts += [client.ask("while it is locked") for _ in range(3)]
        lock.release()
    check_books(config, receipts)


def serve_and_end(config, simulator, directory, *, is_back):
    """A service whose store is out of reach from its only call on; ``is_back``: until it is about to end."""
    heard = []

    async def ask():
        client = AsyncClient(config, warn=heard.append, write_delay=600.0)
        await client.status()
        blocked = Blocked(simulator, directory)
        receipt = await client.ask("the store goes while this is answered")
        if is_back:
            asyncio.get_running_loop().call_later(0.1, blocked.release)
        await client.close()
        if not is_back:
            blocked.release()
        return receipt

    return asyncio.run(ask()), heard


@pytest.mark.disk
def test_a_service_that_ends_waits_for_its_store_once_more(config, simulator, tmp_path):
    config.write_text(config.read_text().replace("0.2s", "60s"))
    receipt, heard = serve_and_end(config, simulator, tmp_path / "state", is_back=True)
    check_books(config, [receipt])
    assert len(heard) == 2, heard
    assert heard[1] == "the disk store can be used again"


@pytest.mark.disk
def test_a_service_that_ends_without_its_store_tells_how_much_is_lost(config, simulator, tmp_path):
    receipt, heard = serve_and_end(config, simulator, tmp_path / "state", is_back=False)
    assert receipt.ok
    assert len(heard) == 2, heard
    lost = "2 writes are lost, with what was settled and counted meanwhile"
    assert heard[1] == f"the disk store could not be used again: {lost}"
    assert spent(config)[0]["spent_usd"] == "0"
