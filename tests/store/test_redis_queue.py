"""The queue on a server, beyond what every queue promises: lost replies, servers that stand still, rights."""

import threading
import time
from pathlib import Path

import pytest
from lossy_proxy import LossyProxy, SilentServer
from opened_stores import close_later

from llmfail.core.degrade.queue_item import dump_ask
from llmfail.core.errors import StoreError, UsageError
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.store_url import parse_redis_url
from llmfail.store.redis.redis_queue import RedisQueue

ASK = dump_ask(Ask(to_messages("Say hello")))
TIMEOUT = 0.4
SLACK = 0.2
FLEET_PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
RIGHTS = (
    "+evalsha +eval +get +set +getrange +del +time +select"
    " +zadd +zrem +zcard +zcount +zrangebyscore +zrangebylex"
)
ITEM = "{llmfail:default:queue}:item/"


def open_queue(url, timeout=5.0, **limits):
    known = {"max_items": 100, "max_age": 1000} | limits
    return close_later(RedisQueue(parse_redis_url(url), timeout=timeout, **known))


@pytest.fixture
def queue(redis_url):
    made = open_queue(redis_url)
    for name in "ABC":
        made.put(name, "vpr", ASK, None)
    return made


def ids(queue):
    return [item.id for item in queue.items()]


def test_p0_3_a_verb_whose_reply_is_lost_is_made_once_and_says_so(redis_server, redis_url):
    with LossyProxy(redis_server.port, lose_every=3) as proxy:
        queue = open_queue(proxy.url, max_items=25)
        names = [f"{n:02}" for n in range(25)]
        for name in names:
            queue.put(name, "vpr", ASK, None)
        assert ids(queue) == names
        for name in names[:20]:
            assert queue.take(name, "one", 30) is not None
            assert queue.renew(name, "one", 30)
            assert queue.store_answer(name, "one", "{}", 30)
            assert queue.remove(name, "one")
        assert queue.drop(names) == names[20:]
        assert proxy.lost > 50
    assert redis_server.run("KEYS", "*item*") == ""


def test_p0_8_a_frozen_server_costs_the_timeout_and_nothing_is_done_late(redis_server, redis_url, queue):
    hasty = open_queue(redis_url, TIMEOUT)
    assert hasty.count_pending() == 3
    redis_server.freeze()
    try:
        for verb in (lambda: hasty.take("A", "one", 30), lambda: hasty.put("D", "vpr", ASK, None)):
            before = time.monotonic()
            with pytest.raises(StoreError):
                verb()
            assert time.monotonic() - before < TIMEOUT + SLACK
    finally:
        redis_server.thaw()
    assert ids(queue) == ["A", "B", "C"]
    assert queue.take("A", "two", 30) is not None, "nobody else has taken it late"


def test_p0_8_a_write_that_arrives_when_nobody_waits_any_more_is_not_made(redis_server, redis_url, queue):
    hasty = open_queue(redis_url, TIMEOUT)
    assert queue.take("A", "one", 30) is not None

    def is_gone(_holder):
        redis_server.freeze()
        return True

    try:
        with pytest.raises(StoreError):
            hasty.take("A", "late", 30, is_gone)
    finally:
        redis_server.thaw()
    assert queue.renew("A", "one", 30), "it was not taken from its holder"


def test_p0_8_a_server_that_says_nothing_costs_the_timeout():
    with SilentServer(b"") as server:
        queue = open_queue(server.url, TIMEOUT)
        before = time.monotonic()
        with pytest.raises(StoreError, match=r"did not answer in time \(store_timeout\)"):
            ids(queue)
        assert time.monotonic() - before < TIMEOUT + SLACK


def test_p0_10_a_wrong_password_is_told_with_its_setting_and_without_itself(redis_url):
    queue = open_queue(redis_url.replace("://", "://nobody:made-up-secret@"))
    with pytest.raises(UsageError, match=r"^queue\.store: 127\.0\.0\.1:\d+: WRONGPASS") as raised:
        queue.count_pending()
    assert "made-up-secret" not in str(raised.value)


def test_the_rights_that_the_documentation_names_are_enough(redis_server, redis_url):
    assert f"`{RIGHTS}`" in FLEET_PAGE.read_text()
    redis_server.run("ACL", "SETUSER", "app", "on", ">made-up", "~{llmfail:*}:*", *RIGHTS.split())
    try:
        queue = open_queue(redis_url.replace("://", "://app:made-up@"), max_age=0.05)
        queue.put("A", "vpr", ASK, time.time() + 60)
        assert queue.take("A", "one", 0.01).id == "A"
        assert queue.store_answer("A", "one", "{}", 0.01)
        assert queue.find_next_time() is not None
        time.sleep(0.06)
        assert queue.remove_expired() == ["A"]
        assert (ids(queue), queue.drop_all()) == ([], 0)
        queue.check_writing()
        assert queue.read_clock() > 0
    finally:
        redis_server.run("ACL", "DELUSER", "app")


def test_trying_it_leaves_nothing(redis_server, redis_url):
    queue = open_queue(redis_url)
    queue.check_writing()
    assert [key for key in redis_server.run("KEYS", "*").split() if "!mark/" not in key] == []


@pytest.mark.parametrize("text", ["no record", '{"v":1,"id":7}', "\x01" + 16 * "f" + "{"])
def test_a_tampered_item_can_still_be_listed_and_dropped(redis_server, queue, text):
    redis_server.run("SET", f"{ITEM}B", text)
    assert ids(queue) == ["A", "B", "C"]
    assert queue.take("B", "one", 30) is None
    assert queue.drop(["B"]) == ["B"]
    assert ids(queue) == ["A", "C"]


def test_an_item_of_a_newer_version_is_shown_and_left_alone(redis_server, queue):
    redis_server.run("SET", f"{ITEM}B", '{"v":2,"id":"B"}')
    assert [(item.id, item.is_newer) for item in queue.items()] == [("A", False), ("B", True), ("C", False)]
    assert queue.take("B", "one", 30) is None
    assert redis_server.run("GET", f"{ITEM}B") == '{"v":2,"id":"B"}'


@pytest.mark.parametrize("loss", [("DEL", f"{ITEM}A"), ("SET", f"{ITEM}A", "")])
def test_an_item_that_the_server_has_lost_is_in_nobodys_way(redis_server, queue, loss):
    redis_server.run(*loss)
    assert ids(queue) == ["B", "C"]
    assert queue.count_pending() == 2


def test_a_server_that_is_full_loses_nothing_and_says_so(redis_server, redis_url, queue):
    redis_server.run("CONFIG", "SET", "maxmemory", "1mb")
    try:
        with pytest.raises(StoreError, match="OOM"):
            queue.put("D", "vpr", ASK, None)
        assert ids(queue) == ["A", "B", "C"]
    finally:
        redis_server.run("CONFIG", "SET", "maxmemory", "0")


def test_threads_take_each_item_once(redis_url, queue):
    taken = []

    def take_all(name):
        taken.extend(item.id for item in queue.items() if queue.take(item.id, name, 30))

    threads = [threading.Thread(target=take_all, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == ["A", "B", "C"]


def test_namespaces_have_queues_of_their_own(redis_url, queue):
    other = open_queue(f"{redis_url}?name=other")
    assert ids(other) == []
    other.put("A", "other", ASK, None)
    assert queue.drop_all() == 3
    assert ids(other) == ["A"]
