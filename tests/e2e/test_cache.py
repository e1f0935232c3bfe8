"""Stored answers, from process to process."""

import signal
import stat
import threading
import time

import pytest
from program import ANTHROPIC, OPENAI, build_config, finish, run_at_once

from llmfail.core.cache.single_flight import StoredAnswer, answer_key
from llmfail.core.records.record import Write, dump
from llmfail.simulator import parse_faults
from llmfail.store.answer_store import AnswerStore

CACHE = {"enabled": True, "ttl": "1h", "stale": "7d"}


@pytest.fixture
def llmfail(simulator, configure):
    return configure(build_config(simulator, OPENAI, ANTHROPIC, cache=CACHE))


def test_the_second_identical_ask_makes_no_connection(llmfail, simulator):
    first, second = llmfail("ask", "Say hello", "-f", "default"), llmfail("ask", "Say hello")
    assert (second.code, second.out) == (0, first.out)
    assert (simulator.count(), simulator.count_connections()) == (1, 1)


def test_the_receipt_of_a_hit_names_who_wrote_it_and_costs_nothing(llmfail, simulator):
    first, second = llmfail.ask().document, llmfail.ask().document
    assert (first["source"], second["source"]) == ("model", "cache")
    assert (second["tier"], second["target"], second["cost_usd"]) == (0, OPENAI, "0")
    for key in ("answer", "provider", "model", "response_model", "finish_reason"):
        assert second[key] == first[key]
    assert (second["trail"], second["usage"], second["error"]) == ([], None, None)
    assert second["id"] != first["id"]


def test_a_hit_says_so_to_who_wants_to_know_and_is_silent_else(llmfail):
    llmfail.ask()
    assert llmfail.ask().err == ""
    curious = llmfail.before_that("-v").ask()
    assert curious.lines[0].startswith(f"llmfail: {OPENAI} answered this before (tier 0,")


@pytest.mark.parametrize(
    "options",
    [
        ("-s", "be brief"),
        ("-m", ANTHROPIC),
        ("--max-tokens", "77"),
        ("--temperature", "0.5"),
        ("--stop", "END"),
        ("--schema", "SCHEMA"),
        ("-a", "FILE"),
        ("-f", "other"),
    ],
)
def test_whatever_shapes_the_answer_is_asked_anew(simulator, configure, tmp_path, options):
    document = build_config(simulator, OPENAI, ANTHROPIC, cache=CACHE)
    document["features"]["other"] = {"primary": OPENAI, "system": "another"}
    llmfail = configure(document)
    simulator.set_answer(lambda seen: '{"a": 1}')
    (tmp_path / "FILE").write_text("text")
    (tmp_path / "SCHEMA").write_text('{"type": "object"}')
    options = [str(tmp_path / one) if one.isupper() and one != "END" else one for one in options]
    assert llmfail.ask().document["source"] == "model"
    assert llmfail.ask(*options).document["source"] == "model"
    assert simulator.count() == 2
    assert llmfail.ask(*options).document["source"] == "cache"
    assert simulator.count() == 2


@pytest.mark.parametrize(
    "options", [("--user", "ann"), ("--timeout", "20"), ("--deadline", "20"), ("--max-cost", "1")]
)
def test_what_does_not_shape_the_answer_makes_no_difference(llmfail, simulator, options):
    llmfail.ask()
    assert llmfail.ask(*options).document["source"] == "cache"
    assert simulator.count() == 1


def test_the_name_of_the_feature_is_no_part_of_the_question(simulator, configure):
    document = build_config(simulator, OPENAI, cache=CACHE)
    document["features"]["other"] = {"primary": OPENAI}
    llmfail = configure(document)
    llmfail.ask()
    assert llmfail.ask("-f", "other").document["source"] == "cache"


def test_no_cache_neither_reads_nor_stores(llmfail, simulator):
    assert llmfail.ask("--no-cache").document["source"] == "model"
    assert llmfail.ask().document["source"] == "model"
    assert llmfail.ask("--no-cache").document["source"] == "model"
    assert simulator.count() == 3


def test_refresh_asks_and_stores_the_new_answer(llmfail, simulator):
    numbers = iter(range(10))
    simulator.set_answer(lambda seen: f"answer {next(numbers)}")
    assert llmfail.ask().document["answer"] == "answer 0"
    assert llmfail.ask("--refresh").document["answer"] == "answer 1"
    assert llmfail.ask().document["answer"] == "answer 1"
    both = llmfail.ask("--refresh", "--no-cache")
    assert (both.code, simulator.count()) == (2, 2)


@pytest.mark.parametrize("off", [{"cache": {"enabled": False}}, {"cache": {"ttl": 0}}])
def test_a_feature_without_fresh_answers_asks_every_time(simulator, configure, off):
    document = build_config(simulator, OPENAI, cache=CACHE)
    document["features"]["default"] |= off
    llmfail = configure(document)
    assert [llmfail.ask().document["source"] for _ in range(2)] == ["model", "model"]


def test_a_fallback_answers_for_itself_and_never_as_the_primary(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    assert llmfail.ask().document["target"] == ANTHROPIC
    again = llmfail.ask().document
    assert (again["source"], again["target"], again["tier"]) == ("cache", ANTHROPIC, 2)
    assert simulator.count("anthropic") == 1
    simulator.set_faults(parse_faults("none"))
    healed = llmfail.ask().document
    assert (healed["source"], healed["target"], healed["tier"]) == ("model", OPENAI, 0)


@pytest.mark.parametrize(
    ("fault", "expect"),
    [("openai=empty", ()), ("none", ("--expect", "regex:never")), ("openai=garbage", ())],
)
def test_what_is_no_answer_is_not_stored(llmfail, simulator, fault, expect):
    simulator.set_faults(parse_faults(fault))
    llmfail.ask("-m", OPENAI, "--no-fallback", *expect)
    simulator.set_faults(parse_faults("none"))
    if not expect:
        assert llmfail.ask().document["source"] == "model"
    assert llmfail.ask("-m", OPENAI, "--no-fallback", *expect).document["ok"] is (not expect)


def test_an_answer_that_was_cut_is_not_stored(llmfail, simulator):
    simulator.set_answer(lambda seen: "many words " * 50)
    cut = llmfail.ask("--max-tokens", "5").document
    assert cut["finish_reason"] == "length"
    assert llmfail.ask("--max-tokens", "5").document["source"] == "model"


def test_a_stored_answer_that_is_not_what_is_expected_now_does_not_serve(llmfail, simulator):
    llmfail.ask()
    simulator.set_answer(lambda seen: "42")
    asked = llmfail.ask("--expect", "json").document
    assert (asked["source"], asked["answer"]) == ("model", "42")


def test_status_and_stats_count_hits_and_misses(llmfail):
    for _ in range(3):
        llmfail.ask()
    llmfail.ask("--no-cache")
    cache = llmfail.status()["cache"]
    assert (cache["entries"], cache["hits"], cache["misses"]) == (1, 2, 1)
    stats = llmfail("cache", "stats", "--json").document
    assert stats == {**cache, "max_bytes": 500_000_000}
    assert b" KB of 500.0 MB; 2 of 3 asks" in llmfail("cache", "stats").out


def test_cleared_answers_are_gone_from_the_disk(llmfail, simulator, state):
    simulator.set_answer(lambda seen: "a secret word: xyzzy")
    llmfail.ask()
    kept = state / "answers.sqlite3"
    assert any(b"xyzzy" in file.read_bytes() for file in state.iterdir())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    cleared = llmfail("cache", "clear")
    assert (cleared.code, cleared.lines) == (0, ["llmfail: forgot 1 answer"])
    assert not any(b"xyzzy" in file.read_bytes() for file in state.iterdir())
    assert llmfail.ask().document["source"] == "model"


def test_cache_commands_make_nothing_where_there_is_nothing(llmfail, state):
    assert llmfail("cache", "clear").code == 0
    assert llmfail("cache", "stats", "--json").document["entries"] == 0
    assert not (state / "answers.sqlite3").exists()


def test_a_plan_says_what_a_stored_answer_would_do(llmfail, simulator):
    def cache(*options):
        return llmfail("plan", "Say hello", "--json", *options).document["cache"]

    assert cache() == "miss"
    simulator.set_faults(parse_faults("openai=503"))
    llmfail.ask()
    assert cache() == "stale"
    llmfail("trip", "openai")
    assert cache() == "hit"
    llmfail("reset", "--all")
    simulator.set_faults(parse_faults("none"))
    llmfail.ask()
    assert cache() == "hit"
    assert simulator.count() == 3


def test_a_cache_that_cannot_be_used_costs_no_answer(llmfail, simulator, state):
    state.mkdir()
    (state / "answers.sqlite3").mkdir()
    asked = llmfail.ask()
    assert (asked.code, asked.document["source"]) == (0, "model")
    assert [line for line in asked.lines if "answers.sqlite3" in line]
    assert llmfail("status", "--json").code == 0
    assert llmfail("cache", "clear").code == 2


def test_a_damaged_cache_is_set_aside_and_begun_anew(llmfail, state):
    llmfail.ask()
    (state / "answers.sqlite3").write_bytes(b"not a database" * 1000)
    for leftover in ("answers.sqlite3-wal", "answers.sqlite3-shm"):
        (state / leftover).unlink(missing_ok=True)
    assert llmfail.ask().document["source"] == "model"
    assert llmfail.ask().document["source"] == "cache"


@pytest.mark.stores
def test_ten_identical_asks_at_once_are_one_request(llmfail, simulator):
    simulator.set_answer(lambda seen: "short")
    results = run_at_once(llmfail, 10, "ask", "--json")
    assert [one.code for one in results] == [0] * 10
    assert simulator.count() == 1
    assert len({one.document["answer"] for one in results}) == 1
    assert sorted(one.document["source"] for one in results) == ["cache"] * 9 + ["model"]


def leading(llmfail, simulator):
    """A process whose request is there and waits for its answer; the event that lets it have one."""
    gate = threading.Event()

    def answer(seen):
        if simulator.count() == 1:
            gate.wait()
        return "at last"

    simulator.set_answer(answer)
    leader = llmfail.start("ask", "Say hello", "--json")
    assert simulator.wait_for(lambda: simulator.count() == 1)
    return leader, gate


def test_when_the_leader_is_killed_one_other_asks_and_nobody_hangs(llmfail, simulator):
    leader, gate = leading(llmfail, simulator)
    others = [llmfail.start("ask", "Say hello", "--json") for _ in range(9)]
    with leader:
        leader.kill()
        ended = [finish(one) for one in others]
    gate.set()
    assert [one.code for one in ended] == [0] * 9
    assert simulator.count() == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_leader_that_is_stopped_leaves_the_lead_to_one_of_those_who_wait(llmfail, simulator, number):
    leader, gate = leading(llmfail, simulator)
    others = [llmfail.start("ask", "Say hello", "--json") for _ in range(5)]
    with leader:
        leader.send_signal(number)
        ended = [finish(one) for one in others]
    gate.set()
    assert [one.code for one in ended] == [0] * 5
    assert simulator.count() == 2


def test_when_the_leader_comes_back_with_nothing_the_others_ask_for_themselves(simulator, configure):
    document = build_config(simulator, OPENAI, cache=CACHE)
    llmfail = configure(document)
    gate = threading.Event()

    def answer(seen):
        gate.wait()
        return ""

    simulator.set_answer(answer)
    leader = llmfail.start("ask", "Say hello", "--json")
    assert simulator.wait_for(lambda: simulator.count() == 1)
    others = [llmfail.start("ask", "Say hello", "--json") for _ in range(3)]
    gate.set()
    ended = [finish(one) for one in (leader, *others)]
    assert [one.code for one in ended] == [3] * 4
    assert simulator.count() == 4


def test_no_number_of_answers_pushes_out_a_circuit_a_budget_or_a_queued_request(simulator, configure, state):
    document = build_config(
        simulator,
        OPENAI,
        ANTHROPIC,
        cache=CACHE | {"max_size": "1MB"},
        budgets=[{"name": "daily", "limit": 5, "per": "day"}],
    )
    llmfail = configure(document)
    assert llmfail.ask().code == 0
    simulator.set_faults(parse_faults("all=503"))
    assert llmfail("ask", "Keep this", "--queue").code == 3
    llmfail("trip", "google")
    simulator.set_faults(parse_faults("none"))
    before = llmfail.status()
    answer_store = AnswerStore(state, 1_000_000, 2.0, time.time)
    for number in range(1000):
        found = StoredAnswer("x" * 20_000, OPENAI, time.time())
        key = answer_key(str(number))
        answer_store.update(
            [key], lambda values, now, key=key, found=found: ({key: Write(dump(found), now + 3600)}, None)
        )
    stock = answer_store.measure_size()
    answer_store.close()
    assert stock.bytes <= 1_100_000
    assert 10 < stock.entries < 60
    after = llmfail.status()
    for part in ("providers", "budgets", "queue"):
        assert after[part] == before[part]
    assert after["queue"]["pending"] == 1
