"""The store on Redis, beyond what every store promises: lost replies, frozen servers, forks."""

import asyncio
import threading
import time

import pytest
import worker_processes
from lossy_proxy import LossyProxy, SilentServer
from opened_stores import close_later

from llmfail.core.errors import StoreError, UsageError
from llmfail.core.records.record import Write
from llmfail.core.store_url import parse_redis_url
from llmfail.engine.ports.threaded_store import GroupCommitStore
from llmfail.store import open_store
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.redis_store import RedisStore

TIMEOUT = 0.4
SLACK = 0.2
"""How much longer than its timeout a verb may take."""


def open_redis(url, timeout=5.0):
    return close_later(RedisStore(parse_redis_url(url), timeout))


@pytest.fixture
def store(redis_url):
    return open_redis(redis_url)


def increment(*keys):
    return lambda values, _now: ({key: Write(str(int(values[key] or 0) + 1)) for key in keys}, None)


def read_number(store, key):
    return int(store.read([key])[0][key] or 0)


def count_calls(server, command):
    stats = server.run("INFO", "commandstats")
    found = [line for line in stats.splitlines() if line.startswith(f"cmdstat_{command}:")]
    return int(found[0].partition("calls=")[2].partition(",")[0]) if found else 0


def test_an_addition_whose_reply_is_lost_counts_once(redis_server, redis_url):
    with LossyProxy(redis_server.port, lose_every=3) as proxy:
        store = open_redis(proxy.url)
        for _ in range(200):
            store.update(["a"], increment("a"))
        assert read_number(store, "a") == 200
        assert proxy.lost >= 70


def test_p0_3_processes_that_lose_every_third_reply_lose_and_double_nothing(redis_server, redis_url):
    with LossyProxy(redis_server.port, lose_every=3) as proxy:
        reports = worker_processes.run_workers(16, "count", proxy.url, 50)
        assert [report["error"] for report in reports] == [None] * 16
    assert [read_number(open_redis(redis_url), key) for key in "ab"] == [800, 800]


def test_p0_9_contention_is_no_outage(redis_url):
    reports = worker_processes.run_workers(16, "count", redis_url, 15)
    assert [report["error"] for report in reports] == [None] * 16
    assert read_number(open_redis(redis_url), "a") == 240


def test_many_coroutines_of_several_processes_lose_no_increment(redis_url):
    workers = worker_processes.start_workers(4, "count_together", redis_url, 5)
    worker_processes.release_workers(workers)
    assert sum(worker.communicate()[0].count("+\n") for worker in workers) == 400
    assert read_number(open_redis(redis_url), "a") == 400


def test_what_is_remembered_is_compared_so_that_no_change_of_another_is_lost(redis_url, store):
    other = open_redis(redis_url)
    for _ in range(20):
        store.update(["a"], increment("a"))
        other.update(["a"], increment("a"))
    assert read_number(store, "a") == 40


def test_a_change_that_writes_nothing_is_made_of_what_the_server_has_now(redis_url, store):
    store.update(["a"], increment("a"))
    other = open_redis(redis_url)
    other.update(["a"], increment("a"))
    assert store.update(["a"], lambda values, _now: ({}, values["a"])) == "2"


def test_a_key_that_was_only_read_is_compared_too(redis_url, store):
    store.update(["a", "b"], increment("a", "b"))
    other = open_redis(redis_url)
    other.update(["b"], increment("b"))
    store.update(["a", "b"], lambda values, _now: ({"a": Write(values["b"])}, None))
    assert store.read(["a"])[0] == {"a": "2"}


def test_p1_12_an_update_of_what_is_known_is_one_trip_and_nothing_else_is_said(
    redis_server, redis_url, store
):
    store.update(["a", "b"], increment("a", "b"))
    trips, others = count_calls(redis_server, "evalsha"), count_calls(redis_server, "client|setinfo")
    for _ in range(50):
        store.update(["a", "b"], increment("a", "b"))
    assert count_calls(redis_server, "evalsha") - trips == 50
    assert count_calls(redis_server, "client|setinfo") == others


def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(redis_server, redis_url, store):
    store.update(["a"], increment("a"))
    redis_server.run("SCRIPT", "FLUSH")
    store.update(["a"], increment("a"))
    redis_server.run("SCRIPT", "FLUSH")
    assert store.read(["a"])[0] == {"a": "2"}


@pytest.mark.parametrize("began", [True, False])
def test_p1_16_a_forked_child_has_a_connection_of_its_own(redis_url, store, began):
    if began:
        store.update(["a"], increment("a"))

    def work():
        for _ in range(200):
            store.update(["b"], increment("b"))
        return str(read_number(store, "b"))

    def meanwhile():
        for _ in range(200):
            store.update(["a"], increment("a"))

    assert worker_processes.run_in_child(work, meanwhile) == "200"
    assert read_number(store, "a") == 200 + began


def test_p1_16_one_event_loop_after_another_and_several_at_once(redis_url, store):
    grouped = GroupCommitStore(store)

    async def add():
        await asyncio.gather(*(grouped.update(["a"], increment("a")) for _ in range(40)))

    for _ in range(2):
        asyncio.run(add())
    threads = [threading.Thread(target=asyncio.run, args=(add(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_number(store, "a") == 200


def test_a_fork_while_a_thread_waits_for_the_server_leaves_no_lock_behind(redis_url, store):
    stop = threading.Event()

    def work():
        while not stop.is_set():
            store.update(["a"], increment("a"))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            assert worker_processes.run_in_child(lambda: str(store.read(["z"])[0])) == "{'z': None}"
    finally:
        stop.set()
        thread.join()


def test_namespaces_and_databases_do_not_see_each_other(redis_url, store):
    store.update(["a"], increment("a"))
    for url in (f"{redis_url}?name=other", redis_url.replace("/0", "/1")):
        other = open_redis(url)
        assert read_number(other, "a") == 0


@pytest.mark.parametrize("drip", [b"", b"$100000\r\n" + 100 * b"x"])
def test_p0_8_a_server_that_says_nothing_or_a_byte_now_and_then_costs_the_timeout(drip):
    with SilentServer(drip) as server:
        store = open_redis(server.url, TIMEOUT)
        for verb in (lambda: store.read(["a"]), lambda: store.update(["a"], increment("a"))):
            before = time.monotonic()
            with pytest.raises(StoreError, match=r"did not answer in time \(store_timeout\)"):
                verb()
            assert time.monotonic() - before < TIMEOUT + SLACK


def test_p0_8_a_frozen_server_costs_the_timeout_and_nothing_is_done_late(redis_server, redis_url):
    store = open_redis(redis_url, TIMEOUT)
    store.update(["a"], increment("a"))
    redis_server.freeze()
    try:
        for verb in (lambda: store.update(["a"], increment("a")), lambda: store.read(["a"])):
            before = time.monotonic()
            with pytest.raises(StoreError):
                verb()
            assert time.monotonic() - before < TIMEOUT + SLACK
    finally:
        redis_server.thaw()
    assert read_number(store, "a") == 1, "an attempt that nobody waits for any more was made"
    store.update(["a"], increment("a"))
    assert read_number(store, "a") == 2


def test_p0_8_a_change_during_which_the_server_freezes_costs_the_timeout(redis_server, redis_url):
    store = open_redis(redis_url, TIMEOUT)

    def change(values, now):
        redis_server.freeze()
        return increment("a")(values, now)

    before = time.monotonic()
    try:
        with pytest.raises(StoreError):
            store.update(["a"], change)
        assert time.monotonic() - before < TIMEOUT + SLACK
    finally:
        redis_server.thaw()
    assert read_number(store, "a") == 0


def test_writes_that_are_paused_are_not_made_when_nobody_waits_any_more(redis_server, redis_url):
    store = open_redis(redis_url, TIMEOUT)
    assert read_number(store, "a") == 0
    redis_server.run("CLIENT", "PAUSE", "1000", "WRITE")
    with pytest.raises(StoreError):
        store.update(["a"], increment("a"))
    redis_server.run("CLIENT", "UNPAUSE")
    assert read_number(store, "a") == 0


def test_nobody_there_is_told_at_once():
    store = open_redis("redis://127.0.0.1:1/0")
    before = time.monotonic()
    with pytest.raises(StoreError, match=r"^127\.0\.0\.1:1: connection refused$"):
        store.read(["a"])
    assert time.monotonic() - before < 1


def test_something_else_than_redis_is_told():
    with (
        SilentServer(b"HTTP/1.1 400 Bad Request\r\n", pause=0) as server,
        pytest.raises(StoreError, match="does not speak the Redis protocol"),
    ):
        open_redis(server.url).read(["a"])


def test_a_lease_ends_by_itself_when_its_holder_is_gone(redis_url, store):
    gone = open_redis(redis_url)
    gone.read(["a"])
    keys = [f"{{llmfail:default}}:{name}" for name in ("!leases", "a")]
    from llmfail.store.redis.redis_scripts import READ

    assert gone.server.run_script(READ, keys, ("f" * 16, "250000", "1"), TripDeadline(5))[0] == 1
    before = time.monotonic()
    store.update(["a"], increment("a"))
    assert 0.05 < time.monotonic() - before < 2
    assert read_number(store, "a") == 1


FAILURES = {
    "out of memory": (["maxmemory", "1mb"], "OOM"),
    "no replica": (["min-replicas-to-write", "1"], "NOREPLICAS"),
}


@pytest.mark.parametrize(("setting", "code"), FAILURES.values(), ids=FAILURES)
def test_p2_18_what_the_server_cannot_do_now_is_an_outage_and_reading_goes_on(
    redis_server, redis_url, setting, code
):
    store = open_redis(redis_url)
    store.update(["a"], increment("a"))
    name, value = setting
    before = redis_server.run("CONFIG", "GET", name).split()[-1]
    redis_server.run("CONFIG", "SET", name, value)
    try:
        with pytest.raises(StoreError, match=code):
            store.update(["a"], increment("a"))
        assert read_number(store, "a") == 1
    finally:
        redis_server.run("CONFIG", "SET", name, before)
    store.update(["a"], increment("a"))
    assert read_number(store, "a") == 2


def test_p0_10_a_user_who_may_nothing_is_told_so_and_no_password_is(redis_server, redis_url):
    redis_server.run("ACL", "SETUSER", "weak", "on", ">made-up-secret", "~*", "+evalsha", "+eval", "+get")
    try:
        for login in ("weak:made-up-secret", "nobody:made-up-secret", ":made-up-secret"):
            store = open_redis(redis_url.replace("://", f"://{login}@"))
            with pytest.raises(
                UsageError, match=r"store: 127\.0\.0\.1:\d+: (NOPERM|WRONGPASS|ERR)"
            ) as raised:
                store.update(["a"], increment("a"))
            assert "made-up-secret" not in str(raised.value)
            assert "made-up-secret" not in repr(store.url)
    finally:
        redis_server.run("ACL", "DELUSER", "weak")


RIGHTS = (
    "+evalsha +eval +get +set +getrange +del +exists +type +time +mget +hget +hmget +hset +hgetall +hdel"
    " +pexpire +pexpireat +persist +select"
)


def test_the_rights_that_the_documentation_names_are_enough(redis_server, redis_url):
    redis_server.run("ACL", "SETUSER", "app", "on", ">made-up", "~{llmfail:*}:*", *RIGHTS.split())
    try:
        store = open_redis(redis_url.replace("://", "://app:made-up@"))
        store.update(["a"], increment("a"))
        assert read_number(store, "a") == 1
    finally:
        redis_server.run("ACL", "DELUSER", "app")


def test_rights_that_are_taken_away_are_an_outage_later(redis_server, redis_url):
    redis_server.run("ACL", "SETUSER", "app", "on", ">made-up", "~{llmfail:*}:*", *RIGHTS.split())
    try:
        store = open_redis(redis_url.replace("://", "://app:made-up@"))
        store.update(["a"], increment("a"))
        redis_server.run("ACL", "SETUSER", "app", "-set")
        with pytest.raises(StoreError):
            store.update(["a"], increment("a"))
    finally:
        redis_server.run("ACL", "DELUSER", "app")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://me:made-up-secret@host:port/0", "host:port"),
        ("redis://host/0?nmae=x", "'nmae'"),
        ("redis://host/0?name=a%20b", r"\?name="),
        ("redis://host/0?wait=all", r"\?wait="),
        ("sentinel://host/0", r"\?master="),
        ("redis://me:made-up-secret@/0", "redis://"),
        ("redis://me:made-up-secret@h:99999/0", "host:port"),
    ],
)
def test_a_url_that_is_none_is_told_without_its_password(tmp_path, url, words):
    with pytest.raises(UsageError, match=words) as raised:
        open_store(url, tmp_path, 2.0)
    assert "made-up-secret" not in str(raised.value)


def test_a_url_is_read_with_all_that_it_says():
    url = parse_redis_url("rediss://me:p%40ss@h:1,[::1]:2,h3/4?name=prod&wait=1")
    assert (url.user, url.password, url.db, url.namespace, url.replicas) == ("me", "p@ss", 4, "prod", 1)
    assert [str(one) for one in url.endpoints] == ["h:1", "[::1]:2", "h3:6379"]
    assert url.is_encrypted
    assert str(url) == repr(url) == "rediss://h:1,[::1]:2,h3:6379/4"


def test_an_interruption_in_the_middle_of_a_trip_leaves_no_reply_to_another_command(redis_url, store):
    store.update(["a"], lambda _values, _now: ({"a": Write("1"), "b": Write("2")}, None))

    def interrupt(_values, _now):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.update(["a"], interrupt)
    assert store.read(["b"])[0] == {"b": "2"}
