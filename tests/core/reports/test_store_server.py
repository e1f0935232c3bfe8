"""What a server of shared state tells of itself, and what is wrong with that."""

import pytest

from llmfail.core.reports.store_server import (
    StoreServer,
    find_answer_warnings,
    find_queue_warnings,
    find_server_warnings,
    find_version_problem,
    read_server_info,
)

INFO = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "connected_slaves": "2",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0",
    "slave1": "ip=10.0.0.3,port=6379,state=online,offset=1,lag=12",
}


def warnings_of(info, difference=0.0, *, has_budgets=True):
    server = read_server_info("h:1", INFO | info, difference)
    return list(find_server_warnings(server, has_budgets=has_budgets))


def test_p2_17_everything_that_it_tells_is_told():
    server = read_server_info("h:1", INFO, 0.25)
    assert server.to_json() == {
        "address": "h:1",
        "role": "master",
        "version": "7.0.15",
        "eviction_policy": "noeviction",
        "persistence": "append-only",
        "replicas": 2,
        "lag_seconds": 12,
        "clock_difference_seconds": 0.25,
    }
    assert server.description == (
        "h:1: version 7.0.15, master, eviction noeviction, persistence append-only, replicas 2, lag 12 s, "
        "clock +0.250 s from this host's"
    )


def test_p2_17_what_it_does_not_tell_is_not_known_and_nothing_is_wrong_with_it():
    server = read_server_info("h:1", {}, 0.0)
    assert server == StoreServer("h:1", 0.0)
    assert server.description == "h:1: clock +0.000 s from this host's"
    assert find_version_problem(server) is None
    assert not list(find_server_warnings(server, has_budgets=True))


@pytest.mark.parametrize(
    ("info", "difference", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, 0.0, "evicts (allkeys-lru)"),
        ({"aof_enabled": "0"}, 0.0, "has no append-only file"),
        ({}, 1.5, "its clock is 1.5 s ahead of this host's"),
        ({}, -90.0, "its clock is 90.0 s behind this host's"),
        ({"slave1": "ip=10.0.0.3,lag=11"}, 0.0, "a replica is 11 s behind"),
    ],
)
def test_p2_17_what_loses_something_one_day_is_warned_of(info, difference, words):
    assert [words in text for text in warnings_of({"slave1": "lag=10"} | info, difference)] == [True]


def test_p2_17_a_restart_forgets_no_budget_where_there_is_none():
    assert warnings_of({"aof_enabled": "0", "slave1": ""}, 1.0, has_budgets=False) == []


@pytest.mark.parametrize(
    ("info", "is_refused"),
    [
        ({"redis_version": "5.0.14"}, True),
        ({"redis_version": "6.0.16"}, True),
        ({"redis_version": "6.2.0"}, False),
        ({"redis_version": "10.1"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, False),
        ({"redis_version": "unstable"}, False),
    ],
)
def test_p2_17_the_oldest_version_is_6_2(info, is_refused):
    problem = find_version_problem(read_server_info("h:1", info, 0.0))
    assert (problem is not None) == is_refused
    assert problem is None or "6.2 is the oldest that can be used" in problem


@pytest.mark.parametrize(
    ("info", "difference", "words"),
    [
        (
            {"maxmemory_policy": "volatile-ttl"},
            0.0,
            "queued requests may be forgotten when its memory is full",
        ),
        ({"aof_enabled": "0"}, 0.0, "a restart forgets queued requests"),
        ({}, 2.0, "its clock is 2.0 s ahead of this host's"),
        ({"slave0": "lag=60"}, 0.0, "a replica is 60 s behind"),
    ],
)
def test_p2_17_what_loses_a_queued_request_one_day_is_warned_of(info, difference, words):
    (text,) = find_queue_warnings(read_server_info("h:1", info, difference))
    assert words in text


@pytest.mark.parametrize(
    ("policy", "is_for_answers_only", "words"),
    [
        ("allkeys-lfu", True, None),
        (None, True, None),
        ("noeviction", True, "does not evict: once its memory is full no more answers are stored"),
        ("noeviction", False, "give them a server of their own"),
        ("allkeys-lfu", False, "give them a server of their own"),
    ],
)
def test_p2_19_answers_belong_on_a_server_of_their_own_that_evicts(policy, is_for_answers_only, words):
    info = {} if policy is None else {"maxmemory_policy": policy}
    found = list(
        find_answer_warnings(read_server_info("h:1", info, 0.0), is_for_answers_only=is_for_answers_only)
    )
    assert [words in text for text in found] == ([] if words is None else [True])
