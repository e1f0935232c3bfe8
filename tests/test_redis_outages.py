"""What becomes of asks while the server of their shared store is away, moves, or has another time."""

import asyncio
import subprocess
import threading
import time
from decimal import Decimal
from functools import partial

import pytest
from ask_processes import AskProcesses
from redis_servers import (
    build_clock_library,
    find_free_port,
    require_program,
    start_redis,
    wait_until,
)
from shared_config import write_shared_config

from llmfail import AsyncClient, Client, OverBudget, Unavailable
from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.core.store_url import parse_redis_url
from llmfail.simulator import parse_faults
from llmfail.store.redis.redis_store import RedisStore

BACK_SECONDS = 12.0
"""A store that works again is in use after at most so long."""


@pytest.fixture
def configure(tmp_path, simulator):
    return partial(write_shared_config, tmp_path, simulator)


class Asks:
    """Asks one after another, until it is told to stop; ``refused`` has the moments of refusals."""

    def __init__(self, client):
        self.client = client
        self.receipts, self.refused = [], []

    def ask(self):
        try:
            self.receipts.append(self.client.ask("hi"))
        except OverBudget:
            self.refused.append(time.monotonic())
            time.sleep(0.02)

    def ask_for(self, seconds):
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self.ask()

    def ask_until_answered(self):
        before, gives_up_at = len(self.receipts), time.monotonic() + BACK_SECONDS
        while len(self.receipts) == before and time.monotonic() < gives_up_at:
            self.ask()
        assert len(self.receipts) > before, "the store is not in use again"


def check_books(config, receipts):
    with Client(config) as other:
        budget = other.status().to_json()["budgets"][0]
    assert Decimal(budget["spent_usd"]) == sum(one.cost_usd for one in receipts)
    assert budget["held_usd"] == "0"


def test_p0_7_a_server_that_is_frozen_and_goes_on(configure, redis_server, redis_url):
    config, heard = configure(redis_url), []
    with Client(config, warn=heard.append) as client:
        asks = Asks(client)
        asks.ask_for(0.5)
        assert asks.receipts
        redis_server.freeze()
        try:
            asks.ask_for(3)
        finally:
            redis_server.thaw()
        asks.ask_until_answered()
        asks.ask_for(0.3)
        assert asks.refused
    check_books(config, asks.receipts)
    assert len(heard) == 2, heard
    assert heard[1] == "the redis store can be used again"


def test_p0_7_an_asyncio_client_and_a_server_that_is_frozen(configure, redis_server, redis_url):
    config, heard = configure(redis_url), []
    receipts, refused = [], []

    async def ask_until(client, ends_at):
        while time.monotonic() < ends_at():
            try:
                receipts.append(await client.ask("hi"))
            except OverBudget:
                refused.append(time.monotonic())
                await asyncio.sleep(0.02)

    async def play():
        async with AsyncClient(config, warn=heard.append) as client:
            started = time.monotonic()
            tasks = [asyncio.create_task(ask_until(client, lambda: started + 5.0)) for _ in range(5)]
            await asyncio.sleep(0.4)
            redis_server.freeze()
            await asyncio.sleep(3)
            redis_server.thaw()
            await asyncio.gather(*tasks)
            await ask_until(client, lambda: started + (0 if len(receipts) > 20 else BACK_SECONDS))

    asyncio.run(play())
    assert refused
    check_books(config, receipts)
    assert len(heard) == 2, heard


def test_p0_7_a_server_that_is_killed_and_started_again_with_its_file(configure, tmp_path):
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with start_redis(tmp_path / "redis", *options) as server:
        config, heard = configure(server.url), []
        with Client(config, warn=heard.append) as client:
            asks = Asks(client)
            asks.ask_for(0.3)
            server.kill()
            asks.ask_for(0.5)
            server.start()
            asks.ask_until_answered()
        assert asks.refused
        check_books(config, asks.receipts)
        assert len(heard) == 2, heard


@pytest.fixture
def sentinel(tmp_path):
    """A master, its replica, and a Sentinel that watches both."""
    with (
        start_redis(tmp_path / "first") as first,
        start_redis(tmp_path / "second", "--replicaof", "127.0.0.1", str(first.port)) as second,
    ):
        wait_until(lambda: "master_link_status:up" in second.run("INFO", "replication"))
        port = find_free_port()
        file = tmp_path / "sentinel.conf"
        file.write_text(
            f"port {port}\nsentinel monitor main 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        with start_redis(tmp_path / "sentinel", file, port=port, sentinel=True) as sentinel:
            wait_until(lambda: "slave0" in first.run("INFO", "replication"))
            wait_until(lambda: str(second.port) in sentinel.run("SENTINEL", "replicas", "main"))
            yield first, second, sentinel


def test_p0_7_sentinel_names_another_master_and_it_is_used(configure, sentinel):
    first, second, guard = sentinel
    config, heard = configure(f"sentinel://127.0.0.1:{guard.port}/0?master=main&wait=1"), []
    with Client(config, warn=heard.append) as client:
        asks = Asks(client)
        asks.ask_for(0.3)
        assert asks.receipts
        first.kill()
        wait_until(lambda: "role:master" in second.run("INFO", "replication"))
    file = config.read_text().replace("&wait=1", "")
    config.write_text(file)
    with Client(config, warn=heard.append) as client:
        asks.client = client
        asks.ask_until_answered()
    check_books(config, asks.receipts)


def test_a_client_goes_on_after_the_failover_during_which_it_asked(configure, sentinel):
    first, second, guard = sentinel
    config, heard = configure(f"sentinel://127.0.0.1:{guard.port}/0?master=main"), []
    with Client(config, warn=heard.append) as client:
        asks = Asks(client)
        asks.ask_for(0.3)
        time.sleep(0.2)  # the replica has what was written
        first.kill()
        while "role:master" not in second.run("INFO", "replication"):
            asks.ask()
        asks.ask_until_answered()
    assert asks.refused
    check_books(config, asks.receipts)
    assert len(heard) == 2, heard


def test_p2_23_a_write_that_no_replica_has_does_not_count_as_made(redis_url):
    store = RedisStore(parse_redis_url(f"{redis_url}?wait=1"), 2.0)
    with pytest.raises(StoreError, match="0 of 1 replicas have what was written"):
        store.update((), lambda _values, _now: ({"a": Write("1")}, None))
    store.close()


def test_a_replica_that_is_named_first_is_passed_over(tmp_path):
    with (
        start_redis(tmp_path / "first") as first,
        start_redis(tmp_path / "second", "--replicaof", "127.0.0.1", str(first.port)) as second,
    ):
        wait_until(lambda: "master_link_status:up" in second.run("INFO", "replication"))
        store = RedisStore(parse_redis_url(f"redis://127.0.0.1:{second.port},127.0.0.1:{first.port}/0"), 5.0)
        store.update((), lambda _values, _now: ({"a": Write("1")}, None))
        assert store.server.address.port == first.port
        store.close()


@pytest.fixture
def shifted(tmp_path):
    """A server, and a function that sets its clock ahead of ours by so many seconds."""
    library, offset = build_clock_library(tmp_path), tmp_path / "offset"
    offset.write_text("0")
    environ = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
    with start_redis(tmp_path / "redis", environ=environ) as server:
        yield server, lambda seconds: offset.write_text(str(seconds))


HOUR, DAY = 3600, 86400


def test_p0_5_a_spent_budget_stays_spent_whatever_the_clock_of_the_server_does(configure, shifted):
    server, set_ahead = shifted
    config = configure(server.url)
    with Client(config) as client:
        today = [client.ask("hi")]
        for ahead in (-HOUR, 2 * HOUR, 4 * DAY):  # which may be another day, with a budget of its own
            set_ahead(ahead)
            assert client.ask("hi").ok
        set_ahead(0)
        today.append(client.ask("hi"))
        spent = Decimal(client.status().to_json()["budgets"][0]["spent_usd"])
    assert spent >= sum(one.cost_usd for one in today)


TRIAL = """\
breaker: {failure_threshold: 1, recovery_timeout: 1s, half_open_limit: 1}
"""
LONGEST_TRIAL = 10 + 30


def test_p0_4_the_trial_of_a_host_that_is_gone_holds_its_place_no_longer_than_its_lease(
    configure, shifted, simulator
):
    server, set_ahead = shifted
    config = configure(server.url)
    config.write_text(config.read_text() + TRIAL)
    well = threading.Event()
    simulator.set_answer(lambda seen: well.wait() and "an answer")
    with Client(config) as client:
        simulator.set_faults(parse_faults("openai=503"))
        with pytest.raises(Unavailable):
            client.ask("hi")
        simulator.set_faults(parse_faults("none"))
        set_ahead(2)
        with AskProcesses(config, 1) as processes:
            processes.release()
            assert simulator.wait_for(lambda: simulator.count() == 2)
            processes.kill()
        well.set()
        set_ahead(LONGEST_TRIAL - 20)
        with pytest.raises(Unavailable, match="probing"):
            client.ask("hi")
        set_ahead(2 + LONGEST_TRIAL)
        assert client.ask("hi").ok
    assert simulator.count() == 3


@pytest.mark.parametrize("skew", [-300, -2, 2, 40, 300])
def test_p0_5_a_host_with_another_time_is_answered_and_keeps_the_same_books(configure, shifted, skew):
    server, set_ahead = shifted
    set_ahead(skew)
    config = configure(server.url)
    config.write_text(
        config.read_text().replace("models:", "    limits: {requests_per_minute: 6000}\nmodels:", 0)
    )
    with Client(config) as client:
        receipts = [client.ask("hi") for _ in range(3)]
    check_books(config, receipts)


def test_p0_10_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_vouched_for_is_taken(
    tmp_path, monkeypatch
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = find_free_port()
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
    with start_redis(tmp_path / "redis", "--tls-port", port, *files, "--tls-auth-clients", "no"):
        url = parse_redis_url(f"rediss://:made-up-secret@localhost:{port}/0")
        store = RedisStore(url, 5.0)
        with pytest.raises(StoreError, match="its certificate is not accepted") as raised:
            store.read(["a"])
        assert "made-up-secret" not in str(raised.value)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = RedisStore(parse_redis_url(f"rediss://localhost:{port}/0"), 5.0)
        assert trusted.read(["a"])[0] == {"a": None}
        trusted.close()


def test_p1_12_an_ask_is_two_trips_and_nothing_else_is_said(configure, redis_server, redis_url):
    config = configure(redis_url)
    config.write_text(config.read_text().replace("{price:", "{limits: {requests_per_minute: 60000}, price:"))

    def count():
        lines = redis_server.run("INFO", "commandstats").splitlines()
        calls = {line.split(":")[0]: int(line.split("calls=")[1].split(",")[0]) for line in lines[1:] if line}
        return calls["cmdstat_evalsha"], {name for name in calls if "ping" in name or "setinfo" in name}

    with Client(config) as client:
        for _ in range(3):
            client.ask("hi")
        before, _ = count()
        for _ in range(20):
            client.ask("hi")
        after, others = count()
    assert after - before <= 2 * 20 + 2, "a new minute has records of its own"
    assert not others - {"cmdstat_ping"}, "the fixture alone pings"


def test_threads_share_one_store(redis_url):
    store = RedisStore(parse_redis_url(redis_url), 5.0)

    def work():
        for _ in range(30):
            store.update(["a"], lambda values, _now: ({"a": Write(str(int(values["a"] or 0) + 1))}, None))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(["a"])[0] == {"a": "240"}
    store.close()
