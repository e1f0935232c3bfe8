"""Stored answers on a server: each by itself, by version, and never a reason to fail or to wait long."""

import time
from pathlib import Path

import pytest
import worker_processes
from lossy_proxy import LossyProxy, SilentServer
from opened_stores import close_later

from llmfail.core.cache.single_flight import answer_key
from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.core.store_url import parse_redis_url
from llmfail.store.redis.redis_answer_store import MAX_ANSWER_BYTES, RedisAnswerStore
from llmfail.store.redis.redis_queue import RedisQueue

TIMEOUT = 0.4
SLACK = 0.2
FLEET_PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
NAMES = [f"{number:064x}" for number in range(60)]
RIGHTS = "+eval +get +set +getrange +del +time +select"


def open_answers(url, timeout=5.0):
    return close_later(RedisAnswerStore(parse_redis_url(url), timeout))


@pytest.fixture
def answers(redis_url):
    return open_answers(redis_url)


def keep(answers, name, text="answer", lasts=3600):
    answers.update(
        [answer_key(name)], lambda _values, now: ({answer_key(name): Write(text, now + lasts)}, None)
    )


def kept(answers, *names):
    values, _ = answers.read([answer_key(name) for name in names])
    return [values[answer_key(name)] for name in names]


def test_what_is_kept_is_found_by_another_host_until_its_own_end(redis_url, answers):
    keep(answers, "a", "the answer")
    keep(answers, "b", "short-lived", lasts=0.05)
    other = open_answers(redis_url)
    assert kept(other, "a", "c") == ["the answer", None]
    time.sleep(0.06)
    assert kept(other, "b") == [None]
    answers.update((), lambda _values, _now: ({answer_key("a"): None}, None))
    assert kept(other, "a") == [None]


def test_the_clock_is_the_servers(answers):
    assert abs(answers.read(())[1] - time.time()) < 5
    assert answers.update([answer_key("a")], lambda _values, now: ({}, now)) <= time.time() + 5


def test_an_answer_that_comes_in_between_is_seen_before_it_is_written_over(redis_url, answers):
    keep(answers, "a", "first")
    other, seen = open_answers(redis_url), []

    def change(values, now):
        seen.append(values[answer_key("a")])
        if len(seen) == 1:
            keep(other, "a", "second")
        return {answer_key("a"): Write(f"after {seen[-1]}", now + 60)}, None

    answers.update([answer_key("a")], change)
    assert seen == ["first", "second"]
    assert kept(other, "a") == ["after second"]


def test_what_is_compared_is_a_version_and_never_the_text(redis_server, answers):
    large = "x" * 200_000
    keep(answers, "a", large)
    before = int(redis_server.run("INFO", "stats").partition("total_net_input_bytes:")[2].split()[0])
    keep(answers, "a", "small")
    after = int(redis_server.run("INFO", "stats").partition("total_net_input_bytes:")[2].split()[0])
    assert after - before < 5000


def test_an_answer_that_is_too_large_is_not_kept_and_no_error(answers):
    keep(answers, "a", "x" * MAX_ANSWER_BYTES)
    keep(answers, "b", "x" * (MAX_ANSWER_BYTES - 100))
    assert [text is not None for text in kept(answers, "a", "b")] == [False, True]


def test_replies_that_are_lost_lose_no_answer(redis_server, redis_url):
    with LossyProxy(redis_server.port, lose_every=3) as proxy:
        answers = open_answers(proxy.url)
        for name in NAMES:
            keep(answers, name, name)
        assert kept(answers, *NAMES) == NAMES
        assert proxy.lost > 30


def test_p1_16_a_forked_child_has_a_connection_of_its_own(redis_url, answers):
    keep(answers, "a")

    def work():
        for name in NAMES:
            keep(answers, f"child {name}", name)
        return str(kept(answers, *(f"child {name}" for name in NAMES)) == NAMES)

    def meanwhile():
        for name in NAMES:
            keep(answers, name, name)

    assert worker_processes.run_in_child(work, meanwhile) == "True"
    assert kept(answers, *NAMES) == NAMES


def test_several_hosts_that_write_the_same_at_once_end_with_one_of_them(redis_url):
    first, second = open_answers(redis_url), open_answers(redis_url)
    rounds = []

    def overtaken(values, now):
        rounds.append(values)
        keep(second, "a", f"theirs {len(rounds)}")
        return {answer_key("a"): Write("ours", now + 60)}, "done"

    assert first.update([answer_key("a")], overtaken) == "done", "it gives up in peace"
    assert kept(first, "a") == [f"theirs {len(rounds)}"]


@pytest.mark.parametrize("drip", [b"", b"$100000\r\n" + 100 * b"x"])
def test_p0_8_a_server_that_says_nothing_costs_the_timeout(drip):
    with SilentServer(drip) as server:
        answers = open_answers(server.url, TIMEOUT)
        for verb in (lambda: kept(answers, "a"), lambda: keep(answers, "a")):
            before = time.monotonic()
            with pytest.raises(StoreError, match=r"did not answer in time \(store_timeout\)"):
                verb()
            assert time.monotonic() - before < TIMEOUT + SLACK


def test_p0_10_a_user_who_may_nothing_is_an_outage_of_the_cache_and_no_password_is_told(redis_url):
    answers = open_answers(redis_url.replace("://", "://nobody:made-up-secret@"))
    with pytest.raises(StoreError, match=r"^cache\.store: 127\.0\.0\.1:\d+: WRONGPASS") as raised:
        kept(answers, "a")
    assert "made-up-secret" not in str(raised.value)


def test_the_rights_that_the_documentation_names_are_enough(redis_server, redis_url):
    assert f"`{RIGHTS}`" in FLEET_PAGE.read_text()
    redis_server.run("ACL", "SETUSER", "app", "on", ">made-up", "~{llmfail:*}:*", *RIGHTS.split())
    try:
        answers = open_answers(redis_url.replace("://", "://app:made-up@"))
        keep(answers, "a")
        keep(answers, "a")
        answers.update((), lambda _values, _now: ({answer_key("b"): None}, None))
        assert kept(answers, "a") == ["answer"]
        redis_server.run("ACL", "SETUSER", "app", "+scan")
        assert answers.clear() == 1
    finally:
        redis_server.run("ACL", "DELUSER", "app")


def test_clearing_forgets_the_answers_of_this_namespace_alone(redis_server, redis_url, answers):
    other = open_answers(f"{redis_url}?name=other")
    for name in NAMES:
        keep(answers, name)
    keep(other, "a")
    redis_server.run("SET", "{llmfail:default}:a", "the state")
    assert answers.clear() == 60
    assert kept(answers, *NAMES) == [None] * 60
    assert kept(other, "a") == ["answer"]
    assert redis_server.run("GET", "{llmfail:default}:a") == "the state"


def test_a_cluster_has_them_on_all_its_nodes(cluster):
    answers = open_answers(cluster[0].url)
    keys = [answer_key(name) for name in NAMES]
    answers.update(keys, lambda _values, now: ({key: Write(key, now + 60) for key in keys}, None))
    assert all(int(node.run("DBSIZE")) > 5 for node in cluster)
    other = open_answers(cluster[1].url)
    assert kept(other, *NAMES) == keys
    before = [count_commands(node) for node in cluster]
    assert kept(other, *NAMES) == keys
    told = [count_commands(node) - one for node, one in zip(cluster, before, strict=True)]
    assert sum(told) == len(NAMES), "each key is asked for where it is"
    assert other.clear() == len(NAMES)
    assert kept(answers, *NAMES) == [None] * len(NAMES)


def test_a_cluster_has_the_queue_on_one_of_its_nodes(cluster):
    queues = [RedisQueue(parse_redis_url(node.url), 10, 1000, 5.0) for node in cluster]
    for number, queue in enumerate(queues):
        queue.put(f"item {number}", "default", "{}", None)
    for queue in queues:
        assert [item.id for item in queue.items()] == ["item 0", "item 1", "item 2"]
        assert queue.count_pending() == 3
        queue.close()
    assert queues[0].drop_all() == 3
    queues[0].close()


def count_commands(node):
    stats = node.run("INFO", "commandstats")
    found = [line for line in stats.splitlines() if line.startswith("cmdstat_get:")]
    return int(found[0].partition("calls=")[2].partition(",")[0]) if found else 0
