"""Passes over the queue, in memory but for its file, on a clock that moves only when told."""

import contextlib
import json
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.degrade.queue_item import QueueOrigin, dump_ask
from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.bulk.queue_runner import PRINT_LEASE, PassResult, QueueRunner
from llmfail.engine.engine import Engine
from llmfail.engine.planning.queue_origin import origin_of
from llmfail.engine.ports.execution import run_sync
from llmfail.settings import load
from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.store.disk_queue import DiskQueue

NEVER = 1e12


@dataclass
class Output:
    """Keeps the lines; ``before`` happens when somebody wants to know whether it is ready."""

    before: list = field(default_factory=list)
    lines: list = field(default_factory=list)

    def ready(self, max_wait):
        if not self.before:
            return True
        self.before.pop(0)()
        return False

    def write(self, line, meanwhile):
        self.lines.append(json.loads(line))

    @property
    def queued(self):
        return [line["queued"] for line in self.lines]


@pytest.fixture
def play(tmp_path):
    return ScriptedEngine(tmp_path, {"a": [answer()], "b": [answer()], "c": [answer()]})


@pytest.fixture
def queue(tmp_path, play):
    with contextlib.closing(DiskQueue(tmp_path, 100, NEVER, 5, lambda: play.now)) as made:
        yield made


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def said():
    return []


@pytest.fixture
def runner(play, queue, output, said):
    return QueueRunner(play.engine, queue, output, said.append)


def once(runner):
    return run_sync(runner.run_pass())


def put(queue, /, *names, retry_at=None, origin=None, **options):
    """``origin``: under which configuration; that of this directory by default."""
    for name in names:
        ask = Ask(to_messages(name), **options)
        queue.put(name, "default", dump_ask(ask), retry_at, origin or own_origin(queue, ask))


def own_origin(queue, ask):
    directory = queue._file.path.parent
    return origin_of(load(directory / "llmfail.yaml", {}, directory, directory), ask)


def down(play):
    for host in "abc":
        play.script[host] = [error(503)]


def item_of(queue, item_id="A"):
    return next(item for item in queue.items() if item.id == item_id)


def test_each_item_is_asked_once_in_a_pass_the_oldest_first(play, queue, runner, output):
    put(queue, "C", "A", "B")
    assert once(runner) == PassResult(answered=3, failed=0)
    assert output.queued == ["A", "B", "C"]
    assert len(play.calls) == 3
    assert once(runner) == PassResult()


def test_what_comes_in_meanwhile_has_its_turn_in_the_same_pass(play, queue, runner, output):
    put(queue, "A")
    play.watch = lambda: put(queue, "B")
    assert once(runner).answered == 2
    assert output.queued == ["A", "B"]


def test_what_is_taken_over_while_nobody_reads_is_not_printed(play, queue, runner, output, said):
    put(queue, "A")

    def taken_over():
        play.now += PRINT_LEASE
        assert queue.take("A", "another", 30)

    play.watch = lambda: output.before.append(taken_over)
    assert once(runner) == PassResult()
    assert output.lines == []
    assert "A was dropped, or taken over" in said[0]
    assert item_of(queue).receipt is not None
    assert queue.remove("A", "another")


def test_while_nobody_reads_the_item_stays_its_own(play, queue, runner, output):
    put(queue, "A")

    def pass_time():
        play.now += PRINT_LEASE - 1
        assert queue.take("A", "another", 30) is None

    play.watch = lambda: output.before.extend([pass_time] * 3)
    assert once(runner).answered == 1
    assert output.queued == ["A"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_stops_a_pass_the_item_is_given_back(play, queue, runner, output, stop):
    put(queue, "A", "B")
    play.script["a"] = [answer(), stop()]
    with pytest.raises(stop):
        once(runner)
    assert output.queued == ["A"]
    assert [item.id for item in queue.items()] == ["B"]
    assert queue.take("B", "another", 30).attempts == 0


@pytest.mark.parametrize(
    ("deadline", "lease"), [(None, 60 + 30), (5.0, 5 + 30)], ids=["the feature's", "its own"]
)
def test_a_lease_is_as_long_as_the_ask_may_take_and_half_a_minute(play, queue, runner, deadline, lease):
    put(queue, "A", deadline=deadline)
    began = play.now
    seen = []

    def look():
        play.now = began + lease - 0.5
        seen.append(queue.take("A", "another", 30))
        play.now = began + lease
        seen.append(queue.take("A", "another", 30))

    play.watch = look
    once(runner)
    assert [item and item.id for item in seen] == [None, "A"]


def test_a_failure_is_printed_counted_and_rests(play, queue, runner, output):
    put(queue, "A")
    down(play)
    assert once(runner) == PassResult(failed=1)
    (line,) = output.lines
    assert (line["ok"], line["queued"], line["error"]["kind"]) == (False, "A", "unavailable")
    item = item_of(queue)
    assert (item.attempts, item.rests_until) == (1, play.now + 30)
    assert "no target could answer" in item.error
    calls = len(play.calls)
    play.now += 29
    assert once(runner) == PassResult()
    assert len(play.calls) == calls


def test_a_moment_that_was_told_is_waited_for_and_no_longer(play, queue, runner, output):
    down(play)
    for _ in range(2):
        play.ask()
    until = play.now + 50
    put(queue, "A", "B", retry_at=until)
    assert once(runner) == PassResult(), "every circuit is open"
    for host in "abc":
        play.script[host] = [answer()]
    play.now = until + 30
    assert once(runner).answered == 2


def test_a_moment_is_not_waited_for_once_a_target_would_be_called(play, queue, runner, output):
    put(queue, "A", retry_at=play.now + 1e6)
    assert once(runner).answered == 1


def test_requests_of_one_kind_do_not_hold_up_those_of_another(play, queue, runner, output):
    down(play)
    for _ in range(2):
        play.ask()
    play.script["b"] = [answer()]
    other = Target.parse("b/another")
    put(queue, "A", "C", retry_at=play.now + 1e6)
    put(queue, "B", "D", retry_at=play.now + 1e6, targets=(other,), fallback=False)
    assert once(runner).answered == 2
    assert output.queued == ["B", "D"]


def test_the_degrade_steps_answer_nothing_in_the_queue(tmp_path):
    play = ScriptedEngine(
        tmp_path, {host: [error(503)] for host in "abc"}, feature=", degrade: [text: sorry]"
    )
    output = Output()
    with contextlib.closing(DiskQueue(tmp_path, 100, NEVER, 5, lambda: play.now)) as queue:
        put(queue, "A", queue=True)
        assert once(QueueRunner(play.engine, queue, output, print)) == PassResult(failed=1)
        assert [item.id for item in queue.items()] == ["A"]
    assert play.ask().answer == "sorry"


def test_a_damaged_item_is_told_once_however_many_passes_there_are(queue, runner, said):
    queue.put("A", "default", "{", None, own_origin(queue, Ask(())))
    assert [once(runner) for _ in range(3)] == [PassResult(failed=1)] * 3
    assert said == ["A cannot be asked: it is damaged; `llmfail queue drop A` removes it"]


def test_warnings_of_an_answer_are_told_with_its_id(play, queue, runner, said):
    play.script["a"] = [answer("cut", finish_reason="length")]
    put(queue, "A")
    assert once(runner).answered == 1
    assert said == ["warning: A: the answer was cut at max_tokens (2000)"]


class TestOrigins:
    """A request waits for the configuration that it was asked under."""

    OTHER = QueueOrigin("/elsewhere/llmfail.yaml", frozenset({"0" * 16}))

    @pytest.fixture
    def mine(self, queue):
        return own_origin(queue, Ask(()))

    def test_d1_what_was_asked_elsewhere_is_not_asked_here(self, runner, queue, play, output):
        put(queue, "A", origin=self.OTHER)
        queue.put("B", "default", dump_ask(Ask(to_messages("of version 0.1"))), None)
        put(queue, "C")
        assert once(runner) == PassResult(answered=1, others=2)
        assert output.queued == ["C"]
        assert [item.id for item in queue.items()] == ["A", "B"]
        assert len(play.calls) == 1

    def test_d1_an_answer_that_waits_to_be_printed_waits_there_too(self, runner, queue, output):
        put(queue, "A", origin=self.OTHER)
        assert queue.take("A", "one", 30) is not None
        assert queue.store_answer("A", "one", "{}", 0)
        assert once(runner) == PassResult(others=1)
        assert output.lines == []

    def test_d1_a_server_that_is_new_in_the_chain_gets_no_older_request(self, runner, queue, mine, play):
        fewer = frozenset(sorted(mine.addresses)[1:])
        put(queue, "A", origin=replace(mine, addresses=fewer))
        assert once(runner) == PassResult(others=1)
        assert play.calls == []

    def test_d1_a_chain_that_has_lost_a_target_asks_the_rest(self, runner, queue, mine):
        put(queue, "A", origin=replace(mine, addresses=mine.addresses | {"0" * 16}))
        assert once(runner) == PassResult(answered=1)

    def test_d1_everything_is_asked_where_that_is_wanted(self, play, queue, output, said):
        put(queue, "A", origin=self.OTHER)
        runner = QueueRunner(play.engine, queue, output, said.append, everything=True)
        assert once(runner) == PassResult(answered=1)

    def test_d1_a_configuration_that_merely_lies_here_gets_no_request(self, play, queue, output):
        source = ConfigSource(path=play.settings.source.path, origin=Origin.DIRECTORY)
        engine = Engine(replace(play.settings, source=source), play.ports)
        with pytest.raises(UsageError, match="llmfail config trust"):
            QueueRunner(engine, queue, output, print)
        trusted = Engine(replace(play.settings, source=replace(source, is_trusted=True)), play.ports)
        assert QueueRunner(trusted, queue, output, print)


class TestClosedChains:
    def test_d9_once_no_target_may_be_called_the_rest_of_the_pass_waits(
        self, runner, queue, play, said, output
    ):
        down(play)
        put(queue, *(f"{number:03}" for number in range(50)))
        result = once(runner)
        assert result.failed < 6, "two failures open a circuit here"
        assert result.failed + result.passed_over == 50
        assert len(play.calls) <= 8
        told = "feature default: no target may be called before 2023-"
        assert [line.startswith(told) for line in said] == [True]
        calls, lines = len(play.calls), len(output.lines)
        again = once(runner)
        assert (again.failed, len(play.calls), len(output.lines), len(said)) == (0, calls, lines, 1)
        assert again.passed_over == result.passed_over
        play.now += 3700
        for host in "abc":
            play.script[host] = [answer()]
        assert once(runner).answered == 50

    def test_d9_another_chain_is_asked_all_the_same(self, runner, queue, play):
        play.script["a"] = play.script["b"] = [error(503)]
        put(queue, "A", "B", "C", "D", targets=(Target("a", "one"),), fallback=False)
        put(queue, "E", targets=(Target("c", "one"),), fallback=False)
        result = once(runner)
        assert (result.answered, result.failed, result.passed_over) == (1, 3, 1)
