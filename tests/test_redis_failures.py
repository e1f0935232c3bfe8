"""Whatever a server of the shared state says instead of doing its work: asks are answered all the same, it is
told once, and when it is over the state is used again, with all that was spent meanwhile.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from redis_servers import RedisProcess, find_free_port
from shared_config import write_shared_config

from llmfail import Client
from llmfail.core.errors import UsageError
from llmfail.core.records.record import Write
from llmfail.core.store_url import parse_redis_url
from llmfail.store.redis.redis_store import RedisStore
from llmfail.store.redis.server_info import ask_server

BACK_SECONDS = 20.0


@pytest.fixture
def configure(tmp_path, simulator):
    return partial(write_shared_config, tmp_path, simulator, timeout="0.4s", more="on_store_error: allow\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Configured by these tests as no other test may find it."""
    with RedisProcess(tmp_path_factory.mktemp("failing")) as server:
        yield server


@contextmanager
def set_for_a_while(server, name, value):
    before = server.run("CONFIG", "GET", name).splitlines()[1:]
    server.run("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        server.run("CONFIG", "SET", name, *before or [""])


@contextmanager
def fill_memory(server):
    server.run("EVAL", "redis.call('SET', 'large', string.rep('x', 3000000))", "0")
    with set_for_a_while(server, "maxmemory", "1mb"):
        yield


@contextmanager
def become_a_replica(server):
    server.run("REPLICAOF", "127.0.0.1", find_free_port())
    try:
        yield
    finally:
        server.run("REPLICAOF", "NO", "ONE")


@contextmanager
def ask_for_a_password(server):
    with set_for_a_while(server, "requirepass", "made-up-secret"):
        server.password = "made-up-secret"
        server.run("CLIENT", "KILL", "TYPE", "normal")
        yield
    server.password = None


@contextmanager
def take_a_right_away(server):
    server.run("ACL", "SETUSER", "default", "-set")
    try:
        yield
    finally:
        server.run("ACL", "SETUSER", "default", "+set")


@contextmanager
def want_a_replica(server):
    with set_for_a_while(server, "min-replicas-to-write", "1"):
        yield


@contextmanager
def run_an_endless_script(server):
    def run():
        with suppress(subprocess.CalledProcessError):  # it is killed
            server.run("EVAL", "while true do end", "0")

    endless = threading.Thread(target=run)
    with set_for_a_while(server, "busy-reply-threshold", "50"):
        endless.start()
        time.sleep(0.2)
        try:
            yield
        finally:
            server.run("SCRIPT", "KILL")
            endless.join()


@contextmanager
def have_room_for_one_client(server):
    with socket.create_connection(("127.0.0.1", server.port)) as only, only.makefile("rb") as replies:

        def say(command):
            only.sendall(command + b"\r\n")
            assert replies.readline()[:1] in b"+:"

        say(b"CLIENT KILL TYPE normal SKIPME yes")
        say(b"CONFIG SET maxclients 1")
        try:
            yield
        finally:
            say(b"CONFIG SET maxclients 10000")


@contextmanager
def load_slowly(server):
    server.run("EVAL", "for i = 1, 9000 do redis.call('SET', 'filler' .. i, i) end", "0")
    server.run("SAVE")
    server.kill()
    server.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    try:
        yield
    finally:
        server.run("CONFIG", "SET", "key-load-delay", "0")


FAILURES = {
    "OOM": (fill_memory, "OOM"),
    "READONLY": (become_a_replica, "READONLY"),
    "NOAUTH": (ask_for_a_password, "NOAUTH"),
    "NOPERM": (take_a_right_away, "can't run this command"),
    "maxclients": (have_room_for_one_client, "max number of clients"),
    "NOREPLICAS": (want_a_replica, "NOREPLICAS"),
    "BUSY": (run_an_endless_script, "BUSY"),
    "LOADING": (load_slowly, "LOADING"),
}


@pytest.mark.parametrize(("fail", "words"), FAILURES.values(), ids=FAILURES)
def test_p2_18_what_a_server_says_instead_of_its_work_costs_no_answer_and_no_account(
    configure, server, fail, words
):
    server.run("FLUSHALL")
    config, heard = configure(server.url), []
    with Client(config, warn=heard.append) as client:
        receipts = [client.ask("before")]
        with fail(server):
            receipts += [client.ask("meanwhile") for _ in range(3)]
            assert [words in text for text in heard] == [True], heard
            assert "made-up-secret" not in heard[0]
        gives_up_at = time.monotonic() + BACK_SECONDS
        while len(heard) < 2 and time.monotonic() < gives_up_at:
            receipts.append(client.ask("afterwards"))
    assert heard[1:] == ["the redis store can be used again"]
    check_books(config, receipts)


def check_books(config, receipts):
    with Client(config) as other:
        budget = other.status().to_json()["budgets"][0]
    assert Decimal(budget["spent_usd"]) == sum(one.cost_usd for one in receipts)
    assert budget["held_usd"] == "0"


def test_p2_18_scripts_that_are_forgotten_are_told_again_within_the_same_ask(configure, server):
    server.run("FLUSHALL")
    config, heard = configure(server.url), []
    with Client(config, warn=heard.append) as client:
        receipts = [client.ask("before")]
        server.run("SCRIPT", "FLUSH")
        receipts.append(client.ask("after"))
    assert not heard
    check_books(config, receipts)


def test_p0_10_a_password_that_is_missing_is_told_at_once(configure, server):
    config = configure(server.url)
    with ask_for_a_password(server), Client(config, warn=pytest.fail) as client:
        with pytest.raises(UsageError, match="NOAUTH"):
            client.ask("hi")
        checked = run_llmfail(config, "config", "check")
    assert checked.returncode == 2
    assert "NOAUTH" in checked.stderr + checked.stdout


def run_llmfail(config, *arguments):
    command = [Path(sys.executable).with_name("llmfail"), "--config", config, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_p2_17_status_and_config_check_tell_what_is_wrong_with_the_server(configure, server):
    config = configure(server.url)
    with set_for_a_while(server, "maxmemory-policy", "allkeys-lru"):
        checked = run_llmfail(config, "config", "check")
        status = run_llmfail(config, "status")
        told = json.loads(run_llmfail(config, "status", "--json").stdout)["store_server"]
    assert checked.returncode == 0
    for text in (checked.stdout + checked.stderr, status.stdout):
        words = " ".join(text.split())
        assert f"127.0.0.1:{server.port}" in words
        assert "evicts (allkeys-lru)" in words
        assert "has no append-only file" in words
    assert (told["role"], told["eviction_policy"]) == ("master", "allkeys-lru")
    assert abs(told["clock_difference_seconds"]) < 1


def test_p2_17_a_clock_that_differs_is_told(server):
    store = RedisStore(parse_redis_url(server.url), 5.0)
    told = ask_server(store, 5.0, lambda: time.time() - 90)
    store.close()
    assert 89 < told.clock_difference < 91


def test_p2_18_moved_a_cluster_is_followed_to_the_node_that_has_the_namespace(cluster):
    stores = [RedisStore(parse_redis_url(node.url), 5.0) for node in cluster]
    for number, store in enumerate(stores):
        store.update(["a"], lambda values, _now: ({"a": Write(f"{values['a']}+")}, None))
        assert store.read(["a"])[0] == {"a": "None" + "+" * (number + 1)}
    assert len({str(store.server.address) for store in stores}) == 1
    for store in stores:
        store.close()


def test_p2_18_crossslot_all_of_an_ask_is_in_one_slot(configure, cluster):
    config, heard = configure(f"{cluster[0].url}?name=one-slot"), []
    with Client(config, warn=heard.append) as client:
        receipts = [client.ask(f"number {number}") for number in range(3)]
        client.trip("openai", 1)
        client.reset("openai")
    assert not heard
    check_books(config, receipts)


def test_p2_18_ask_while_the_namespace_moves_to_another_node_it_is_away_and_then_followed(configure, cluster):
    config, heard = configure(f"{cluster[0].url}?name=moves"), []
    slot = cluster[0].run("CLUSTER", "KEYSLOT", "{llmfail:moves}:a")
    with Client(config, warn=heard.append) as client:
        receipts = [client.ask("before")]
        old = next(node for node in cluster if slot_is_at(node, slot))
        new = next(node for node in cluster if node is not old)
        names = {node: node.run("CLUSTER", "MYID") for node in (old, new)}
        new.run("CLUSTER", "SETSLOT", slot, "IMPORTING", names[old])
        old.run("CLUSTER", "SETSLOT", slot, "MIGRATING", names[new])
        receipts += [client.ask("meanwhile") for _ in range(2)]
        keys = old.run("CLUSTER", "GETKEYSINSLOT", slot, 1000).split("\n")
        old.run("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *keys)
        receipts.append(client.ask("all is there, and its old node has it still"))
        for node in (new, old):
            node.run("CLUSTER", "SETSLOT", slot, "NODE", names[new])
        gives_up_at = time.monotonic() + BACK_SECONDS
        while len(heard) < 2 and time.monotonic() < gives_up_at:
            receipts.append(client.ask("afterwards"))
    assert "moving" in heard[0]
    assert heard[1:] == ["the redis store can be used again"]
    check_books(config, receipts)


def slot_is_at(node, slot):
    return node.run("CLUSTER", "COUNTKEYSINSLOT", slot) != "0"
