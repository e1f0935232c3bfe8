"""What nothing could answer is kept, and answered later: once, whoever runs, and whoever is killed on the
way.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import mounts
import pytest
from program import KEYS, OPENAI, PROCESS_TIMEOUT, build_config, finish, parse_time, wait_until

from llmfail.client.options import ask_of
from llmfail.client.receipts import ReceiptClient
from llmfail.core.degrade.queue_item import dump_ask
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.planning.queue_origin import origin_of
from llmfail.settings import load
from llmfail.simulator import parse_faults
from llmfail.store.disk_queue import DiskQueue

DOWN = "openai=503"
ASK = Ask(to_messages("Say hello"))


@pytest.fixture
def document(simulator):
    return build_config(simulator, OPENAI)


@pytest.fixture
def llmfail(configure, document):
    """One feature with one target; what it cannot answer is queued when that is asked for."""
    return configure(document)


@pytest.fixture
def queue(state):
    with contextlib.closing(DiskQueue(state, 10_000, 1000, 5, time.time)) as made:
        yield made


@pytest.fixture
def later(state):
    """The queue as somebody sees it when every lease of now is over."""
    with contextlib.closing(DiskQueue(state, 10_000, 1000, 5, lambda: time.time() + 500)) as made:
        yield made


def put(queue, /, *names, **options):
    for name in names:
        ask = Ask(to_messages(f"What is {name}?"), **options)
        queue.put(name, "default", dump_ask(ask), None, own_origin(queue, ask))


def own_origin(queue, ask):
    """As an ask of the program above has it."""
    directory = queue._file.path.parent.parent
    return origin_of(load(directory / "llmfail.yaml", KEYS, directory, directory), ask)


def names_of(number):
    return [f"01K{n:023}" for n in range(number)]


def ask_in_vain(llmfail, simulator, state, number):
    """So many asks that end in the queue: their ids."""
    simulator.set_faults(parse_faults(DOWN))
    settings = load(llmfail.before[1], os.environ | llmfail.environ, llmfail.directory, state)
    with ReceiptClient(settings=settings, state_dir=state) as client:
        receipts = [client.ask_receipt(ask_of(f"Question {n}", queue=True)) for n in range(number)]
    assert {receipt.error.code for receipt in receipts} == {3}
    return [receipt.queued for receipt in receipts]


def back(llmfail, simulator, faults="none"):
    simulator.set_faults(parse_faults(faults))
    assert llmfail("reset", "--all").code == 0


def receipts(*outputs):
    return [json.loads(line) for out in outputs for line in out.splitlines()]


def listed(llmfail):
    return llmfail("queue", "list", "--json").document


def as_if_it_were_over(state, column):
    """Let a lease or a rest end now."""
    with contextlib.closing(sqlite3.connect(state / "queue.sqlite3")) as connection, connection:
        connection.execute(f"UPDATE queue SET {column} = 0 WHERE {column} IS NOT NULL")


def lease_of(state, item_id):
    with contextlib.closing(sqlite3.connect(state / "queue.sqlite3")) as connection:
        return connection.execute("SELECT lease_until FROM queue WHERE id = ?", (item_id,)).fetchone()[0]


def until_stuck(queue):
    """Wait until somebody has an answer and cannot print it: the id of its item."""
    seen = [None, object()]

    def is_stuck():
        seen.append(next((item.id for item in queue.items() if item.receipt), None))
        return seen[-1] is not None and len(set(seen[-10:])) == 1

    wait_until(is_stuck)
    return seen[-1]


class TestAnsweredLater:
    def test_an_ask_that_was_queued_says_its_id_and_waits(self, llmfail, simulator):
        simulator.set_faults(parse_faults(DOWN))
        before = time.time()
        asked = llmfail.ask("--queue")
        assert asked.code == 3
        (item,) = listed(llmfail)
        assert item["id"] == asked.document["queued"]
        times = {"created_at", "retry_at", "expires_at"}
        assert set(item) == times | {"id", "feature", "attempts", "configuration", "runs_here"}
        assert (item["configuration"], item["runs_here"]) == (str(llmfail.before[1]), True)
        assert (item["feature"], item["attempts"], item["retry_at"]) == ("default", 0, None)
        assert before <= parse_time(item["created_at"]) <= time.time() + 1
        assert parse_time(item["expires_at"]) - parse_time(item["created_at"]) == 7 * 86400
        assert llmfail.status()["queue"] == {"pending": 1}

    @pytest.mark.stores
    def test_its_receipt_is_printed_once_and_it_is_gone(self, llmfail, simulator):
        simulator.set_faults(parse_faults(DOWN))
        queued = llmfail.ask("--queue").document["queued"]
        back(llmfail, simulator)
        ran = llmfail("queue", "run")
        (receipt,) = receipts(ran.out)
        assert (ran.code, receipt["ok"], receipt["queued"]) == (0, True, queued)
        assert receipt["answer"] == f"{OPENAI} heard: Say hello"
        assert ran.lines == ["llmfail: 1 answered, 0 still waiting"]
        again = llmfail("queue", "run")
        assert (again.code, again.out) == (0, b"")
        assert listed(llmfail) == []

    def test_it_is_asked_with_everything_that_it_was_asked_with(self, llmfail, simulator, here):
        (here / "notes.txt").write_text("the notes")
        simulator.set_faults(parse_faults(DOWN))
        options = ("-s", "Be brief.", "-a", "notes.txt", "--max-tokens", "77", "--temperature", "0.5")
        assert llmfail.ask("--queue", *options).code == 3
        first = simulator.requests[-1].document
        back(llmfail, simulator)
        assert llmfail("queue", "run").code == 0
        assert simulator.requests[-1].document == first
        assert "the notes" in json.dumps(first)

    def test_50_queued_while_down_are_answered_once_by_two_runners_at_once(self, llmfail, simulator, state):
        queued = ask_in_vain(llmfail, simulator, state, 50)
        back(llmfail, simulator, "openai=slow:10")
        before = simulator.count()
        runners = [llmfail.start("queue", "run") for _ in range(2)]
        ended = [finish(runner) for runner in runners]
        assert [one.code for one in ended] == [0, 0], ended
        found = receipts(*(one.out for one in ended))
        assert sorted(one["queued"] for one in found) == sorted(queued)
        assert {one["answer"] for one in found} == {f"{OPENAI} heard: Question {n}" for n in range(50)}
        assert simulator.count() == before + 50
        assert all(one.out for one in ended), "each had some"
        assert listed(llmfail) == []

    def test_the_oldest_is_asked_first(self, llmfail, queue):
        names = names_of(5)
        put(queue, *reversed(names))
        assert [one["queued"] for one in receipts(llmfail("queue", "run").out)] == names


class TestKilled:
    @pytest.mark.parametrize("printed", [1, 4])
    def test_a_killed_runner_costs_no_answer(self, llmfail, simulator, queue, printed):
        names = names_of(12)
        put(queue, *names)
        simulator.set_faults(parse_faults("openai=slow:30"))
        with llmfail.start("queue", "run") as runner:
            out = [runner.stdout.readline() for _ in range(printed)]
            runner.kill()
            out += runner.stdout.readlines()
        ran = llmfail("queue", "run")
        found = receipts(*out, ran.out)
        assert ran.code == 0
        assert sorted({one["queued"] for one in found}) == names
        # Who is killed between printing and removing leaves the same receipt to be printed again.
        assert len({one["id"] for one in found}) == len(names)
        assert len(found) <= len(names) + 1
        assert simulator.count() <= len(names) + 1
        assert listed(llmfail) == []

    def test_two_runners_of_which_one_after_the_other_is_killed_lose_and_double_nothing(
        self, llmfail, simulator, queue
    ):
        names = names_of(30)
        put(queue, *names)
        simulator.set_faults(parse_faults("openai=slow:10"))
        out = []
        for _ in range(3):
            with llmfail.start("queue", "run") as one, llmfail.start("queue", "run") as other:
                out += [one.stdout.readline() for _ in range(2)]
                one.kill()
                out += [other.stdout.readline() for _ in range(2)]
                other.kill()
                out += [*one.stdout.readlines(), *other.stdout.readlines()]
        out.append(llmfail("queue", "run").out)
        found = receipts(*out)
        assert sorted({one["queued"] for one in found}) == names
        assert len({one["id"] for one in found}) == len(names)
        assert listed(llmfail) == []

    def test_a_runner_of_elsewhere_has_its_item_until_the_lease_ends(self, llmfail, queue, state):
        (name,) = names_of(1)
        put(queue, name)
        assert queue.take(name, "somebody on another machine", 600)
        ran = llmfail("queue", "run")
        assert (ran.code, ran.out) == (0, b"")
        assert ran.lines[0].startswith("llmfail: 0 answered, 1 still waiting (next at ")
        as_if_it_were_over(state, "lease_until")
        assert [one["queued"] for one in receipts(llmfail("queue", "run").out)] == [name]

    def test_a_runner_that_was_stopped_for_longer_than_its_lease_prints_nothing(
        self, llmfail, simulator, queue, later
    ):
        (name,) = names_of(1)
        put(queue, name)
        simulator.set_faults(parse_faults("openai=slow:300"))
        with llmfail.start("queue", "run") as runner:
            wait_until(lambda: simulator.count() == 1)
            runner.send_signal(signal.SIGSTOP)
            taken = later.take(name, "another", 30)
            runner.send_signal(signal.SIGCONT)
            ended = finish(runner)
        assert taken.id == name
        assert (ended.code, ended.out) == (0, b"")
        assert f"{name} was dropped, or taken over by somebody else" in ended.lines[0]
        assert later.remove(name, "another")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_runner_that_is_told_to_stop_gives_its_item_back_at_once(
        self, llmfail, simulator, queue, number, code
    ):
        (name,) = names_of(1)
        put(queue, name)
        simulator.set_faults(parse_faults("openai=hang"))
        with llmfail.start("queue", "run") as runner:
            wait_until(lambda: simulator.count() == 1)
            runner.send_signal(number)
            assert finish(runner).code == code
        assert listed(llmfail)[0]["attempts"] == 0
        assert queue.take(name, "anybody", 30)

    def test_an_answer_that_nobody_came_to_print_is_printed_without_asking(self, llmfail, simulator, queue):
        (name,) = names_of(1)
        put(queue, name)
        queue.take(name, "one", 30)
        assert queue.store_answer(name, "one", '{"id": "X", "ok": true}', 30)
        queue.release("one")
        ran = llmfail("queue", "run")
        assert (ran.code, ran.out) == (0, b'{"id": "X", "ok": true}\n')
        assert simulator.count() == 0
        assert listed(llmfail) == []


class TestOutput:
    def test_a_closed_pipe_ends_it_quietly_and_loses_nothing(self, llmfail, simulator, queue):
        names = names_of(10)
        put(queue, *names)
        simulator.set_faults(parse_faults("openai=slow:20"))
        with llmfail.start("queue", "run") as runner:
            first = runner.stdout.readline()
            runner.stdout.close()
            assert runner.stderr.read() == b""
        assert runner.returncode == -signal.SIGPIPE
        ran = llmfail("queue", "run")
        found = receipts(first, ran.out)
        assert ran.code == 0
        assert sorted(one["queued"] for one in found) == names
        assert simulator.count() == 10

    def test_who_waits_for_a_reader_keeps_its_item(self, llmfail, simulator, queue, state):
        """Longer than a lease for printing lasts, if its end were not put off again and again."""
        names = names_of(9)
        put(queue, *names)
        simulator.set_answer(lambda seen: "a long answer " * 1000)
        with llmfail.start("queue", "run") as runner:
            stuck = until_stuck(queue)
            as_if_it_were_over(state, "lease_until")
            wait_until(lambda: lease_of(state, stuck) > time.time())
            other = llmfail("queue", "run")
            ended = finish(runner)
        assert (ended.code, other.code) == (0, 0)
        assert sorted(one["queued"] for one in receipts(ended.out, other.out)) == names
        assert stuck in {one["queued"] for one in receipts(ended.out)}

    def test_an_answer_that_nobody_reads_any_more_is_not_paid_for_twice(self, llmfail, simulator, queue):
        (name,) = names_of(1)
        put(queue, name)
        simulator.set_faults(parse_faults("openai=slow:300"))
        with llmfail.start("queue", "run") as runner:
            wait_until(lambda: simulator.count() == 1)
            runner.stdout.close()
            assert runner.stderr.read() == b""
        assert runner.returncode == -signal.SIGPIPE
        assert [one["queued"] for one in receipts(llmfail("queue", "run").out)] == [name]
        assert simulator.count() == 1

    @pytest.mark.skipif(not mounts.can_mount(), reason="mounting is not allowed here")
    def test_an_answer_that_cannot_be_written_is_not_paid_for_twice(self, llmfail, simulator, queue, here):
        (name,) = names_of(1)
        put(queue, name)
        (here / "full").mkdir()
        launcher = (*mounts.mount_full(here / "full"), "sh", "-c", 'exec "$@" >full/answers.jsonl', "sh")
        failed = llmfail.under(*launcher)("queue", "run")
        assert failed.code == 2
        assert failed.lines == ["llmfail: cannot write to standard output: No space left on device"]
        assert [one["queued"] for one in receipts(llmfail("queue", "run").out)] == [name]
        assert simulator.count() == 1

    def test_an_answer_that_cannot_be_stored_is_printed_all_the_same(self, llmfail, simulator, queue, state):
        (name,) = names_of(1)
        put(queue, name)
        simulator.set_faults(parse_faults("openai=slow:300"))
        with llmfail.with_environ(LLMFAIL_STORE_TIMEOUT="0.2").start("queue", "run") as runner:
            wait_until(lambda: simulator.count() == 1)
            with contextlib.closing(sqlite3.connect(state / "queue.sqlite3", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                ended = finish(runner)
        assert ended.code == 2
        assert [one["queued"] for one in receipts(ended.out)] == [name]
        assert "queue.sqlite3 is locked by another process" in ended.lines[-1]

    def test_an_output_that_takes_nothing_costs_nothing(self, llmfail, simulator, queue):
        put(queue, *names_of(1))
        with Path("/dev/full").open("wb") as full, llmfail.start("queue", "run", stdout=full) as runner:
            assert finish(runner).code == 2
        assert simulator.count() == 0
        assert len(listed(llmfail)) == 1

    def test_nothing_is_asked_when_nobody_reads_from_the_start(self, llmfail, simulator, queue):
        put(queue, *names_of(1))
        reader, writer = os.pipe()
        os.close(reader)
        with llmfail.start("queue", "run", stdout=writer) as runner:
            os.close(writer)
            ended = finish(runner)
        assert (ended.code, ended.err) == (-signal.SIGPIPE, "")
        assert simulator.count() == 0
        assert len(listed(llmfail)) == 1

    def test_hardly_more_is_asked_than_is_read(self, llmfail, simulator, queue):
        names = names_of(40)
        put(queue, *names)
        simulator.set_answer(lambda seen: "a long answer " * 1000)
        with llmfail.start("queue", "run", stderr=subprocess.DEVNULL) as runner:
            wait_until(lambda: simulator.count() >= 4)
            time.sleep(0.5)
            asked = simulator.count()
            assert asked <= 8, "a pipe holds 64 kB"
            out, _ = runner.communicate()
        assert sorted(one["queued"] for one in receipts(out)) == names

    def test_a_quiet_run_says_nothing_on_standard_error(self, llmfail, queue):
        put(queue, *names_of(1))
        ran = llmfail.before_that("-q")("queue", "run")
        assert (ran.code, ran.err) == (0, "")


class TestInVain:
    def test_a_request_that_fails_again_stays_and_rests(self, llmfail, simulator, queue, state):
        (name,) = names_of(1)
        put(queue, name)
        simulator.set_faults(parse_faults(DOWN))
        before = time.time()
        ran = llmfail("queue", "run")
        (receipt,) = receipts(ran.out)
        assert (ran.code, receipt["ok"], receipt["queued"]) == (3, False, name)
        assert receipt["error"]["code"] == 3
        (item,) = listed(llmfail)
        assert item["attempts"] == 1
        assert 30 <= parse_time(item["retry_at"]) - before < 60
        assert ran.lines == [f"llmfail: 0 answered, 1 still waiting (next at {item['retry_at']})"]
        asked = simulator.count()
        back(llmfail, simulator)
        again = llmfail("queue", "run")
        assert (again.code, again.out) == (0, b""), "its rest holds"
        assert simulator.count() == asked
        as_if_it_were_over(state, "rests_until")
        assert llmfail("queue", "run").code == 0
        assert listed(llmfail) == []

    def test_each_rest_is_twice_as_long(self, llmfail, simulator, queue, state):
        put(queue, *names_of(1))
        simulator.set_faults(parse_faults(DOWN))
        rests = []
        for attempts in (1, 2, 3):
            before = time.time()
            assert llmfail("queue", "run").code == 3
            (item,) = listed(llmfail)
            assert item["attempts"] == attempts
            rests.append(parse_time(item["retry_at"]) - before)
            as_if_it_were_over(state, "rests_until")
        assert [round(rest / 30) for rest in rests] == [1, 2, 4]

    @pytest.mark.stores
    def test_nobody_is_asked_before_the_moment_that_was_told_unless_a_target_would_be_called(
        self, llmfail, simulator, state
    ):
        ask_in_vain(llmfail, simulator, state, 7)
        simulator.set_faults(parse_faults("none"))
        asked = simulator.count()
        # The first were asked before the circuit opened, and nobody told them when; the others wait for it.
        retries = [item["retry_at"] for item in listed(llmfail)]
        assert retries[0] is None
        assert retries[-1] is not None
        first = llmfail("queue", "run")
        assert {one["error"]["kind"] for one in receipts(first.out)} == {"unavailable"}
        assert simulator.count() == asked
        second = llmfail("queue", "run")
        assert (second.code, second.out) == (3, b""), "they wait, and nobody was asked"
        back(llmfail, simulator)
        third = llmfail("queue", "run")
        assert third.code == 0
        assert len(receipts(third.out)) == 7
        assert {item["attempts"] for item in listed(llmfail)} == set()

    def test_a_stored_answer_will_do_before_its_time(self, configure, document, simulator, queue):
        llmfail = configure(document | {"cache": {"enabled": True}})
        assert llmfail.ask().code == 0
        assert llmfail("trip", "openai").code == 0
        (name,) = names_of(1)
        queue.put(name, "default", dump_ask(ASK), time.time() + 1000, own_origin(queue, ASK))
        (receipt,) = receipts(llmfail("queue", "run").out)
        assert (receipt["ok"], receipt["source"], receipt["queued"]) == (True, "cache", name)
        assert simulator.count() == 1

    def test_the_runner_does_not_wait_for_a_circuit_as_the_first_ask_did(self, llmfail, queue):
        put(queue, *names_of(1), wait=7200.0, deadline=7200.0)
        assert llmfail("trip", "openai", "--for", "1h").code == 0
        assert llmfail("queue", "run").code == 3

    def test_a_feature_that_is_gone_is_told_and_asked_again_when_it_is_back(
        self, llmfail, simulator, queue, configure, document
    ):
        (name,) = names_of(1)
        ask = Ask(to_messages("Hi"), feature="vpr")
        queue.put(name, "vpr", dump_ask(ask), None, own_origin(queue, ASK))
        ran = llmfail("queue", "run")
        (receipt,) = receipts(ran.out)
        assert (ran.code, receipt["error"]["code"], receipt["queued"]) == (3, 2, name)
        assert "vpr" in receipt["error"]["message"]
        quiet = llmfail("queue", "run")
        assert (quiet.code, quiet.out) == (0, b"")
        (item,) = listed(llmfail)
        assert item["attempts"] == 0
        features = document["features"] | {"vpr": {"primary": OPENAI}}
        ran = configure(document | {"features": features})("queue", "run")
        assert [one["ok"] for one in receipts(ran.out)] == [True]

    @pytest.mark.parametrize(
        ("text", "code", "told"),
        [("{", 3, "is damaged"), ('{"v":2,"ask":{}}', 0, "was written by a newer llmfail")],
    )
    def test_an_item_that_cannot_be_read_is_told_and_in_nobodys_way(self, llmfail, queue, text, code, told):
        one, other, third = names_of(3)
        put(queue, one, third)
        queue.put(other, "default", text, None, own_origin(queue, ASK))
        ran = llmfail("queue", "run")
        assert ran.code == code
        assert [receipt["queued"] for receipt in receipts(ran.out)] == [one, third]
        assert f"llmfail: {other} cannot be asked: it {told}; `llmfail queue drop {other}`" in ran.err
        assert [item["id"] for item in listed(llmfail)] == [other]
        assert llmfail("queue", "drop", other).code == 0

    def test_what_was_not_answered_in_time_is_told_and_gone(self, llmfail, simulator, state):
        (name,) = names_of(1)
        with contextlib.closing(DiskQueue(state, 10, 0.001, 5, time.time)) as brief:
            put(brief, name)
        time.sleep(0.01)
        shown = llmfail("queue", "list", "--json")
        assert (shown.document, llmfail.status()["queue"]) == ([], {"pending": 0})
        assert shown.lines == ["llmfail: not answered within queue.max_age, and gone soon: 1"]
        ran = llmfail("queue", "run")
        assert (ran.code, ran.out) == (0, b"")
        assert ran.lines[0] == f"llmfail: {name} was not answered within queue.max_age and is gone"
        assert simulator.count() == 0
        assert llmfail("queue", "list").lines == ["llmfail: nothing is queued"]


class TestWatch:
    def test_it_answers_what_comes_in_until_it_is_interrupted(self, llmfail, queue):
        one, other = names_of(2)
        put(queue, one)
        with llmfail.start("queue", "run", "--watch") as runner:
            for name in (one, other):
                assert json.loads(runner.stdout.readline())["queued"] == name
                assert runner.stderr.readline() == b"llmfail: 1 answered, 0 still waiting\n"
                put(queue, other)
            assert json.loads(runner.stdout.readline())["queued"] == other
            runner.send_signal(signal.SIGINT)
            ended = finish(runner)
        assert (ended.code, ended.out) == (130, b"")

    def test_nothing_of_an_answered_prompt_is_left_while_it_goes_on(self, llmfail, queue, state):
        put(queue, *names_of(3))
        queue.close()
        with llmfail.start("queue", "run", "--watch") as runner:
            assert runner.stderr.readline() == b"llmfail: 3 answered, 0 still waiting\n"
            left = b"".join(path.read_bytes() for path in state.glob("queue.sqlite3*"))
            runner.send_signal(signal.SIGTERM)
            assert finish(runner).code == 143
        assert b"What is" not in left
        assert left

    def test_it_ends_when_nobody_reads_any_more(self, llmfail, state):
        with llmfail.start("queue", "run", "--watch") as runner:
            assert b"0 answered" in runner.stderr.readline()
            runner.stdout.close()
            assert runner.stderr.read() == b""
        assert runner.returncode == -signal.SIGPIPE


class TestListAndDrop:
    def test_a_person_sees_a_table_without_prompts(self, llmfail, simulator, queue):
        one, other = names_of(2)
        put(queue, one)
        queue.put(other, "default", "{", None, own_origin(queue, ASK))
        simulator.set_faults(parse_faults(DOWN))
        llmfail("queue", "run")
        shown = llmfail("queue", "list")
        heading, first, second = shown.out.decode().splitlines()
        assert heading.split()[0] == "id"
        assert first.startswith(one)
        assert "overloaded" in first
        assert second.startswith(other)
        assert "damaged" in second
        assert b"What is" not in shown.out

    def test_looking_makes_nothing(self, llmfail, state):
        assert listed(llmfail) == []
        assert llmfail("queue", "list").lines == ["llmfail: nothing is queued"]
        ran = llmfail("queue", "run")
        assert (ran.code, ran.out) == (0, b"")
        assert llmfail("queue", "drop", "--all").lines == ["llmfail: 0 dropped"]
        assert not list(state.glob("queue*"))

    def test_requests_are_dropped_by_ids_that_need_not_be_whole(self, llmfail, queue):
        names = ["01KAA", "01KAB", "01KBB", "01KCC"]
        put(queue, *names)
        assert llmfail("queue", "drop", "01kab", "01KB").lines == ["llmfail: 2 dropped"]
        assert [item["id"] for item in listed(llmfail)] == ["01KAA", "01KCC"]
        assert llmfail("queue", "drop", "--all").lines == ["llmfail: 2 dropped"]
        assert listed(llmfail) == []

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("01KZZ",), "no queued request is called 01KZZ; `llmfail queue list` shows their ids"),
            (("01KB", "01KZZ"), "no queued request is called 01KZZ; `llmfail queue list` shows their ids"),
            (("01KA",), "2 requests begin with 01KA; say more of the id, such as 01KAA"),
            ((), "say which: llmfail queue drop ID..., or --all; `llmfail queue list` shows the ids"),
            (("--all", "01KB"), "say which: llmfail queue drop ID..., or --all; `llmfail queue list` shows"),
        ],
    )
    def test_a_drop_that_is_not_clear_drops_nothing(self, llmfail, queue, arguments, said):
        put(queue, "01KAA", "01KAB", "01KBB")
        dropped = llmfail("queue", "drop", *arguments)
        assert dropped.code == 2
        assert said in dropped.err
        assert len(listed(llmfail)) == 3

    @pytest.mark.stores
    def test_a_request_that_is_dropped_while_it_is_asked_is_not_printed(self, llmfail, simulator, queue):
        (name,) = names_of(1)
        put(queue, name)
        is_dropped = threading.Event()
        simulator.set_answer(lambda seen: is_dropped.wait(PROCESS_TIMEOUT) and "an answer")
        with llmfail.start("queue", "run") as runner:
            wait_until(lambda: simulator.count() == 1)
            dropped = llmfail("queue", "drop", name)
            is_dropped.set()
            ended = finish(runner)
        assert dropped.code == 0
        assert (ended.code, ended.out) == (0, b"")
        assert name in ended.lines[0]


class TestTrouble:
    @pytest.mark.parametrize("command", [("list",), ("run",), ("drop", "--all")])
    def test_a_queue_that_cannot_be_used_is_one_line_that_says_why(self, llmfail, state, command):
        (state / "queue.sqlite3").mkdir(parents=True)
        ended = llmfail("queue", *command)
        assert (ended.code, ended.out, len(ended.lines)) == (2, b"", 1)
        assert "queue.sqlite3 is not a regular file" in ended.err

    def test_without_a_disk_there_is_no_queue(self, configure, document):
        ended = configure(document).with_environ(LLMFAIL_STORE="memory")("queue", "list")
        assert ended.code == 2
        assert "there is no queue" in ended.err

    def test_the_help_has_examples(self, llmfail):
        for name in ("list", "run", "drop"):
            text = llmfail("queue", name, "--help").out.decode()
            assert f"llmfail queue {name}" in text.partition("Examples:")[2]


def test_d1_queue_run_under_somebody_elses_file_sends_nothing(llmfail, simulator, here, document):
    simulator.set_faults(parse_faults(DOWN))
    assert llmfail.ask("--queue").code == 3
    simulator.set_faults(parse_faults("none"))
    calls = simulator.count()
    stranger = document | {"providers": {"openai": document["providers"]["openai"] | {"api_key": "none"}}}
    (here / "llmfail.yaml").write_text(json.dumps(stranger))
    cloned = replace(llmfail, before=())
    refused = cloned("queue", "run")
    assert (refused.code, refused.out) == (2, b"")
    assert "llmfail config trust" in refused.err
    assert "another" not in refused.err
    elsewhere = cloned.before_that("--config", "llmfail.yaml")
    ran = elsewhere("queue", "run")
    assert (ran.code, ran.out) == (0, b"")
    assert "1 wait for another configuration" in ran.err
    assert simulator.count() == calls
    shown = elsewhere("queue", "list").out.decode().split()
    assert str(llmfail.before[1]) in "".join(shown)
    assert [item["runs_here"] for item in listed(elsewhere)] == [False]
    assert llmfail("queue", "run").document["ok"]
