"""A file of prompts as a file of receipts: in order, once each, whoever stops or kills the run on its way."""

import json
import os
import signal
import subprocess
import sys

import pytest
from program import ANTHROPIC, GOOGLE, LLMFAIL, OPENAI, PROCESS_TIMEOUT, build_config, finish, wait_until
from terminal import Terminal

from llmfail.core.request.line_splitter import MAX_LINE_BYTES
from llmfail.simulator import parse_faults

PRICED = {OPENAI: {"price": {"input": 0, "output": 1000}}}
"""A thousandth of a dollar for each token of an answer."""


@pytest.fixture
def lines(here):
    """Writes the input: of prompts, objects or raw texts."""

    def write(*said):
        texts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in said]
        (here / "in.jsonl").write_bytes(b"".join(text + b"\n" for text in texts))

    return write


@pytest.fixture
def numbered(lines):
    """An input of so many lines, each with an id."""

    def write(number):
        lines(*({"prompt": f"Question {n}", "id": f"q{n}"} for n in range(number)))
        return [f"q{n}" for n in range(number)]

    return write


@pytest.fixture
def out(here):
    return here / "out.jsonl"


def batch(llmfail, *options, source="in.jsonl", stdin=b""):
    return llmfail("batch", source, *options, stdin=stdin)


def receipts(text):
    data = text if isinstance(text, bytes) else text.read_bytes()
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def refs(text):
    return [receipt["ref"] for receipt in receipts(text)]


def prompts(simulator):
    return [seen.prompt for seen in simulator.requests]


class TestReceipts:
    def test_each_line_has_one_in_the_order_of_the_input(self, llmfail, lines, simulator):
        simulator.set_faults(parse_faults("openai=slow:300x1"))
        lines("One", {"prompt": "Two"}, {"prompt": "Three", "id": "third"}, {"prompt": "Four", "id": 44})
        ran = batch(llmfail)
        assert ran.code == 0, ran
        assert refs(ran.out) == [1, 2, "third", 44]
        said = [receipt["answer"] for receipt in receipts(ran.out)]
        assert said == [f"{OPENAI} heard: {word}" for word in ("One", "Two", "Three", "Four")]
        assert ran.lines[0].startswith("llmfail: 4 answered, 0 failed, ")

    def test_they_are_those_of_ask(self, llmfail, lines):
        lines("Say hello")
        (receipt,) = receipts(batch(llmfail).out)
        assert set(receipt) == set(llmfail.ask().document)

    def test_unordered_a_slow_line_holds_up_nobody(self, llmfail, numbered, simulator):
        simulator.set_faults(parse_faults("openai=slow:500x1"))
        names = numbered(20)
        ran = batch(llmfail, "--unordered", "--concurrency", "2")
        assert sorted(refs(ran.out)) == sorted(names)
        assert refs(ran.out) != names

    def test_standard_input_is_read_as_it_comes(self, llmfail):
        with llmfail.start("batch", "-", stdin=subprocess.PIPE) as process:
            process.stdin.write(b'"One"\n')
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ref"] == 1
            process.stdin.write(b'"Two"')
            ended = finish(process)
        assert (ended.code, refs(ended.out)) == (0, [2])

    def test_blank_lines_are_counted_and_not_asked(self, llmfail):
        ran = batch(llmfail, source="-", stdin=b'\xef\xbb\xbf"One"\r\n\n  \n"Four"\n\n')
        assert (ran.code, refs(ran.out)) == (0, [1, 4])

    def test_an_empty_input_has_none(self, llmfail):
        ran = batch(llmfail, source="-")
        assert (ran.code, ran.out) == (0, b"")

    def test_standard_error_is_silent_when_asked_to_be(self, llmfail, lines):
        lines("One", b"{")
        assert batch(llmfail.before_that("-q")).err == ""

    def test_a_device_takes_them(self, llmfail, lines):
        lines("One", "Two")
        ran = batch(llmfail, "-o", "/dev/stdout")
        assert (ran.code, refs(ran.out)) == (0, [1, 2])


class TestWhatALineSays:
    def test_it_comes_before_the_options_of_the_command_line(self, llmfail, simulator, lines):
        lines("One", {"prompt": "Two", "model": ANTHROPIC, "system": "Be long.", "max_tokens": 77})
        options = ("-m", GOOGLE, "-s", "Be brief.", "--max-tokens", "55")
        ran = batch(llmfail, "--concurrency", "1", *options)
        assert [receipt["target"] for receipt in receipts(ran.out)] == [GOOGLE, ANTHROPIC]
        first, second = (json.dumps(seen.document) for seen in simulator.requests)
        assert all(word in first for word in ("Be brief.", "55", "One"))
        assert all(word in second for word in ("Be long.", "77", "Two"))

    def test_parameters_are_added_to_those_of_the_command_line(self, configure, simulator, lines):
        llmfail = configure(build_config(simulator, templates={"greet": "Say $word to $name"}))
        lines({}, {"params": {"name": "Ann"}}, {"params": {"word": 5}, "id": "x"})
        options = ("-t", "greet", "-p", "word=hello", "-p", "name=Bob")
        assert batch(llmfail, "--concurrency", "1", *options).code == 0
        assert prompts(simulator) == ["Say hello to Bob", "Say hello to Ann", "Say 5 to Bob"]

    def test_expectations_are_those_of_ask(self, configure, simulator, lines):
        llmfail = configure(build_config(simulator, OPENAI))
        lines("One", {"prompt": "Two", "expect": "regex:Two"})
        ran = batch(llmfail, "--expect", "json")
        assert [receipt["ok"] for receipt in receipts(ran.out)] == [False, True]
        assert ran.code == 3

    @pytest.mark.parametrize(
        ("line", "ref", "why"),
        [
            (b"{", 2, "line 2: "),
            (b"5", 2, "it is neither a text nor an object"),
            (b'{"promt": "hi", "id": "a"}', "a", "promt"),
            (b'{"prompt": "hi", "id": "a", "temperature": -1}', "a", "temperature is a number from 0 to 2"),
            (b'{"prompt": "hi", "timeout": "soon"}', 2, "timeout: expected a duration"),
            (b'{"prompt": "hi", "model": "nobody"}', 2, "provider/model"),
            (b'{"prompt": "hi", "id": 1}', 2, "1 is the id or the number of an earlier line"),
            (b'"\xff"', 2, "not UTF-8 text (byte 1)"),
            (b'"' + b"x" * MAX_LINE_BYTES + b'"', 2, "longer than 20 MiB"),
        ],
    )
    def test_a_malformed_line_is_a_receipt_and_not_the_end(self, llmfail, lines, line, ref, why):
        lines("One", line, "Three")
        ran = batch(llmfail)
        assert ran.code == 3
        one, two, three = receipts(ran.out)
        assert (one["ok"], two["ok"], three["ok"]) == (True, False, True)
        assert (two["ref"], two["error"]["code"], two["error"]["kind"]) == (ref, 2, "malformed_line")
        assert why in two["error"]["message"]
        assert "line 2: " in two["error"]["message"]

    def test_a_line_that_cannot_be_asked_is_a_receipt_too(self, llmfail, lines):
        lines("One", {"prompt": "Two", "feature": "nothing"}, {"prompt": "", "id": "empty"})
        ran = batch(llmfail)
        assert ran.code == 3
        assert [(one["ref"], (one["error"] or {}).get("kind")) for one in receipts(ran.out)] == [
            (1, None),
            (2, "usage"),
            ("empty", "usage"),
        ]

    def test_g6_what_is_refused_is_told_in_words_for_a_line(self, llmfail, lines):
        lines("One", {"prompt": ""}, b'"\\ud800"', {"prompt": "x", "temperature": 9})
        told = [(one["error"] or {}).get("message") for one in receipts(batch(llmfail).out)]
        assert told[1:] == [
            "the prompt is empty",
            "line 3: its text has half of a surrogate pair, which is no text",
            "line 4: temperature is a number from 0 to 2, got 9.0",
        ]

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"id,prompt\n1,Say hello\n", "line 1: not JSON (character 1)"),
            (b"Say hello\nSay bye\n", "line 1: not JSON (character 1)"),
            (b'{\n  "prompt": "hi"\n}\n', "line 1: not JSON (character 2)"),
            (b'["One", "Two"]\n', "`jq -c '.[]' in.jsonl` makes lines of an array"),
            (b'[\n  "One",\n  "Two"\n]\n', "`jq -c '.[]' in.jsonl` makes lines of an array"),
            ('"One"\n'.encode("utf-16"), "line 1: not UTF-8 text (byte 0)"),
        ],
    )
    def test_g6_an_input_that_is_no_json_lines_is_refused_as_a_whole(
        self, llmfail, here, simulator, data, why
    ):
        (here / "in.jsonl").write_bytes(data)
        ran = batch(llmfail, "-o", "out.jsonl")
        assert (ran.code, ran.out, simulator.count()) == (2, b"", 0)
        assert ran.lines == [
            line for line in ran.lines if line.startswith("llmfail: in.jsonl is not JSON Lines: ")
        ]
        assert why in ran.err
        assert not (here / "out.jsonl").read_bytes()

    def test_one_that_nobody_answers_says_why(self, llmfail, lines, simulator):
        simulator.set_faults(parse_faults("all=400"))
        lines("One")
        ran = batch(llmfail)
        (receipt,) = receipts(ran.out)
        assert (ran.code, receipt["error"]["code"]) == (3, 5)
        assert ran.lines[1].startswith("llmfail: the first failure is 1: ")


class TestWrongCommands:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (("--resume",), "-o FILE"),
            (("--retry-failed", "-o", "-"), "-o FILE"),
            (("-o", "in.jsonl"), "is the input"),
            (("-o", "nowhere/out.jsonl"), "No such file"),
            (("-f", "nothing"), "nothing"),
            (("-m", "nobody"), "provider/model"),
            (("--max-cost", "much"), "--max-cost"),
            (("--timeout", "soon"), "--timeout"),
            (("--no-cache", "--refresh"), "say one"),
            (("--concurrency", "0"), "concurrency"),
            (("--rate", "0"), "rate"),
        ],
    )
    def test_they_ask_nobody(self, llmfail, lines, simulator, options, why):
        lines("One")
        ran = batch(llmfail, *options)
        assert (ran.code, ran.out) == (2, b"")
        assert why in ran.err
        assert simulator.count() == 0

    @pytest.mark.parametrize("source", ["nothing.jsonl", "."])
    def test_so_does_an_input_that_cannot_be_read(self, llmfail, source):
        ran = batch(llmfail, source=source)
        assert ran.code == 2
        assert f"cannot read {source}" in ran.err

    def test_receipts_are_never_overwritten(self, llmfail, lines, simulator, out):
        lines("One")
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        before = out.read_bytes()
        again = batch(llmfail, "-o", "out.jsonl")
        assert again.code == 2
        assert "--resume" in again.err
        assert (out.read_bytes(), simulator.count()) == (before, 1)

    def test_two_do_not_write_to_one_file(self, llmfail, lines, simulator):
        simulator.set_faults(parse_faults("openai=hang"))
        lines("One")
        with llmfail.start("batch", "in.jsonl", "-o", "out.jsonl") as first:
            try:
                wait_until(lambda: simulator.count() == 1)
                second = batch(llmfail, "-o", "out.jsonl", "--resume")
            finally:
                first.kill()
        assert second.code == 2
        assert "another batch" in second.err


class TestResume:
    def test_no_line_that_has_a_receipt_is_asked_again(self, llmfail, numbered, simulator, out):
        names = numbered(6)
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        kept = out.read_bytes().splitlines(keepends=True)
        out.write_bytes(b"".join(kept[:2] + kept[4:5]))
        before = simulator.count()
        ran = batch(llmfail, "-o", "out.jsonl", "--resume")
        assert ran.code == 0
        assert refs(out) == ["q0", "q1", "q4", "q2", "q3", "q5"]
        assert simulator.count() == before + 3
        assert "3 had a receipt already" in ran.lines[0]
        assert sorted(refs(out)) == names

    def test_without_a_file_it_is_the_first_run(self, llmfail, numbered, out):
        names = numbered(3)
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 0
        assert refs(out) == names

    @pytest.mark.parametrize("half", [b"{", b'{"id": "01", "ok": tr', b"\n", b"garbage\n"])
    def test_what_is_no_receipt_is_nobodys_answer(self, llmfail, numbered, simulator, out, half):
        numbered(2)
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        first = out.read_bytes().splitlines(keepends=True)[0]
        out.write_bytes(first + half)
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 0
        assert simulator.count() == 3
        data = out.read_bytes()
        assert data.startswith(first + (half if half.endswith(b"\n") else b""))
        assert json.loads(data.splitlines()[-1])["ref"] == "q1"

    def test_a_whole_receipt_without_its_end_is_kept(self, llmfail, numbered, simulator, out):
        names = numbered(2)
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        first = out.read_bytes().splitlines()[0]
        out.write_bytes(first)
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 0
        assert (refs(out), simulator.count()) == (names, 3)

    def test_g2_a_line_that_is_not_what_its_receipt_answers_is_asked_again(self, llmfail, lines, out):
        lines("q1", "q2", "q3")
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        lines("q0 NEW", "q1", "q2", "q3")
        ran = batch(llmfail, "-o", "out.jsonl", "--resume")
        assert ran.code == 0
        assert ran.lines[0].startswith(
            "llmfail: warning: 1 is not what its receipt answers, and is asked again"
        )
        assert "a line without an id is known by its number" in ran.lines[0]
        assert "3 had changed since their receipts were written, and were asked again" in ran.err
        last = {one["ref"]: one["answer"] for one in receipts(out)}
        assert last == {
            n: f"{OPENAI} heard: {said}" for n, said in enumerate(("q0 NEW", "q1", "q2", "q3"), 1)
        }
        assert len(receipts(out)) == 7

    @pytest.mark.parametrize(
        ("line", "options"),
        [
            ({"prompt": "Two"}, ()),
            ({"prompt": "One", "system": "Be brief."}, ()),
            ({"prompt": "One", "max_tokens": 7}, ()),
            ({"prompt": "One", "temperature": 0.5}, ()),
            ({"prompt": "One", "model": ANTHROPIC}, ()),
            ({"prompt": "One", "expect": "json"}, ()),
            ({"prompt": "One"}, ("-s", "Be brief.")),
            ({"prompt": "One"}, ("-m", ANTHROPIC)),
        ],
    )
    def test_g2_whatever_shapes_the_answer_is_compared(self, llmfail, lines, simulator, out, line, options):
        lines({"prompt": "One", "id": "a"})
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        lines({"id": "a", **line})
        ran = batch(llmfail, "-o", "out.jsonl", "--resume", *options)
        assert 'warning: "a" is not what its receipt answers, and is asked again\n' in ran.err
        assert (refs(out), simulator.count() > 1) == (["a", "a"], True)
        again = batch(llmfail, "-o", "out.jsonl", "--resume", *options)
        assert refs(out) == ["a", "a"], again

    @pytest.mark.parametrize(
        ("line", "options"),
        [({"timeout": 20, "deadline": "50s", "user": "ann"}, ()), ({}, ("--no-cache", "--timeout", "9"))],
    )
    def test_g2_what_does_not_shape_it_is_not(self, llmfail, lines, simulator, out, line, options):
        lines({"prompt": "One", "id": "a"})
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        lines({"prompt": "One", "id": "a", **line})
        ran = batch(llmfail, "-o", "out.jsonl", "--resume", *options)
        assert (refs(out), simulator.count()) == (["a"], 1)
        assert "1 had a receipt already" in ran.err

    def test_g2_receipts_that_do_not_say_what_was_asked_are_known_by_their_ref(
        self, llmfail, lines, simulator, out
    ):
        lines("One")
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        (receipt,) = receipts(out)
        out.write_text(json.dumps({**receipt, "request": None}) + "\n")
        lines("Two")
        ran = batch(llmfail, "-o", "out.jsonl", "--resume")
        assert (ran.code, simulator.count()) == (0, 1)
        assert "warning: 1 receipts of out.jsonl do not say what was asked" in ran.err

    def test_g5_the_last_receipt_of_a_ref_counts(self, llmfail, lines, simulator, out):
        lines("One")
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        lines("Two")
        simulator.set_faults(parse_faults("all=400"))
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 3
        simulator.set_faults(parse_faults("none"))
        assert batch(llmfail, "-o", "out.jsonl", "--retry-failed").code == 0
        assert [(one["ref"], one["ok"]) for one in receipts(out)] == [(1, True), (1, False), (1, True)]

    @pytest.mark.parametrize(
        "edit",
        [
            lambda receipt: json.dumps(receipt, indent=2).encode(),
            lambda receipt: json.dumps(receipt).encode() + b"\r",
            lambda receipt: b"\xef\xbb\xbf" + json.dumps(receipt).encode(),
            lambda receipt: json.dumps({**receipt, "ref": 1.0, "cost_usd": 0.0001}).encode(),
            lambda receipt: json.dumps({**receipt, "answer": "caf\u00e9"}, ensure_ascii=False).encode(
                "latin-1"
            ),
            lambda receipt: json.dumps({name: receipt[name] for name in ("ref", "ok")}).encode(),
            lambda receipt: b"{\n" + json.dumps(receipt).encode(),
        ],
    )
    def test_g6_an_output_that_another_program_has_edited_is_read_as_far_as_it_goes(
        self, llmfail, lines, simulator, out, edit
    ):
        lines("One")
        assert batch(llmfail, "-o", "out.jsonl").code == 0
        (receipt,) = receipts(out)
        out.write_bytes(edit(receipt) + b"\n")
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 0
        assert simulator.count() == 1

    def test_a_line_that_failed_is_asked_again_when_that_is_asked_for(
        self, llmfail, numbered, simulator, out
    ):
        numbered(3)
        simulator.set_faults(parse_faults("all=400"))
        assert batch(llmfail, "-o", "out.jsonl").code == 3
        simulator.set_faults(parse_faults("none"))
        resumed = batch(llmfail, "-o", "out.jsonl", "--resume")
        assert (resumed.code, len(receipts(out))) == (3, 3)
        assert "3 failed in an earlier run; --retry-failed asks them again" in resumed.err
        assert batch(llmfail, "-o", "out.jsonl", "--retry-failed").code == 0
        assert [(one["ref"], one["ok"]) for one in receipts(out)[3:]] == [(f"q{n}", True) for n in range(3)]
        before = simulator.count()
        assert batch(llmfail, "-o", "out.jsonl", "--retry-failed").code == 0
        assert simulator.count() == before

    def test_a_malformed_line_is_told_of_once_and_asked_when_it_is_mended(self, llmfail, lines, out):
        lines("One", b"{", {"prompt": "Three", "id": 2})
        assert batch(llmfail, "-o", "out.jsonl").code == 3
        assert refs(out) == [1, 2, 2]
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 3
        assert refs(out) == [1, 2, 2]
        lines("One", {"prompt": "Two", "id": "b"}, {"prompt": "Three", "id": 2})
        assert batch(llmfail, "-o", "out.jsonl", "--resume").code == 0
        assert refs(out) == [1, 2, 2, "b"]

    @pytest.mark.parametrize("order", [(), ("--unordered",)])
    def test_a_killed_run_goes_on_and_no_receipt_is_paid_again(
        self, llmfail, numbered, simulator, out, order
    ):
        names = numbered(300)
        simulator.set_faults(parse_faults("openai=slow:5"))
        command = ("batch", "in.jsonl", "-o", "out.jsonl", "--concurrency", "8", *order)
        with llmfail.start(*command) as process:
            wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") >= 100)
            process.kill()
            process.wait(PROCESS_TIMEOUT)
        written = [json.loads(line)["ref"] for line in out.read_bytes().splitlines(keepends=True)[:100]]
        at_the_kill = simulator.count()
        assert len(written) < 300
        assert llmfail(*command, "--resume").code == 0
        assert sorted(refs(out)) == sorted(names)
        again = prompts(simulator)[at_the_kill:]
        assert not {f"Question {ref[1:]}" for ref in written} & set(again)
        assert len(again) == len(set(again))


class TestStopped:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_it_finishes_what_is_under_way_and_says_how_to_go_on(
        self, llmfail, numbered, simulator, out, number, code
    ):
        names = numbered(50)
        simulator.set_faults(parse_faults("openai=slow:500"))
        with llmfail.start("batch", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4") as process:
            wait_until(lambda: simulator.count() >= 4)
            process.send_signal(number)
            ended = finish(process)
        assert ended.code == code, ended
        assert ended.lines[0] == "llmfail: finishing 4 under way; once more stops at once"
        assert refs(out) == names[:4]
        assert simulator.count() == 4
        told = ended.lines[-1].partition("this goes on: ")[2]
        assert told.endswith("batch in.jsonl -o out.jsonl --concurrency 4 --resume")
        simulator.set_faults(parse_faults("none"))
        assert llmfail("batch", "in.jsonl", "-o", "out.jsonl", "--resume").code == 0
        assert refs(out) == names
        assert simulator.count() == 50

    def test_the_second_time_stops_at_once(self, llmfail, numbered, simulator, out):
        numbered(50)
        simulator.set_faults(parse_faults("openai=hangx1"))
        with llmfail.start("batch", "in.jsonl", "-o", "out.jsonl", "--concurrency", "4") as process:
            wait_until(lambda: simulator.count() >= 16)
            process.send_signal(signal.SIGINT)
            assert b"once more" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            ended = finish(process)
        assert ended.code == 130
        numbers = [int(ref[1:]) for ref in refs(out)]
        assert numbers == sorted(numbers)
        assert len(numbers) <= numbers[-1], "answers that waited for the one that hangs are written"
        assert llmfail.status()["providers"][OPENAI]["state"] == "closed"

    def test_without_a_file_there_is_nothing_to_go_on_with(self, llmfail, numbered, simulator):
        numbered(50)
        simulator.set_faults(parse_faults("openai=slow:300"))
        with llmfail.start("batch", "in.jsonl", "--concurrency", "2") as process:
            wait_until(lambda: simulator.count() >= 2)
            process.send_signal(signal.SIGINT)
            ended = finish(process)
        assert (ended.code, len(receipts(ended.out))) == (130, 2)
        assert "with -o FILE" in ended.lines[-1]

    def test_while_it_waits_for_standard_input_too(self, llmfail):
        with llmfail.start("batch", "-", stdin=subprocess.PIPE) as process:
            process.stdin.write(b'"One"\n')
            process.stdin.flush()
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(PROCESS_TIMEOUT) == 130

    def test_a_closed_pipe_ends_it_quietly(self, llmfail, numbered, simulator):
        numbered(500)
        with llmfail.start("batch", "in.jsonl", "--concurrency", "4") as process:
            assert process.stdout.readline()
            process.stdout.close()
            process.stdout = None
            ended = finish(process)
        assert (ended.code, ended.err) == (-signal.SIGPIPE, "")
        assert simulator.count() < 500

    def test_a_slow_reader_holds_it_up_and_costs_nothing(self, llmfail, numbered, simulator):
        names = numbered(400)
        with llmfail.start("batch", "in.jsonl", "--concurrency", "4") as process:
            wait_until(lambda: simulator.count() > 50)
            ended = finish(process)
        assert (ended.code, refs(ended.out)) == (0, names)
        assert simulator.count() == 400

    def test_receipts_that_the_file_does_not_take_go_to_standard_output(self, llmfail, numbered, out):
        names = numbered(40)
        limited = llmfail.under("prlimit", "--fsize=8192:8192")
        ran = batch(limited.before_that("--state-dir", "/nowhere"), "-o", "out.jsonl", "--concurrency", "2")
        assert ran.code == 2
        assert "cannot write out.jsonl: File too large; the last receipts went to standard output" in ran.err
        assert refs(ran.out)
        both = refs(out) + refs(ran.out)
        assert both == names[: len(both)]
        assert len(both) < 40


class TestPauses:
    @pytest.mark.stores
    def test_g6_while_no_target_can_be_asked_the_run_pauses_and_says_so(self, configure, simulator, lines):
        simulator.set_faults(parse_faults("openai=429:1x1"))
        lines("One", "Two", "Three")
        ran = batch(configure(build_config(simulator, OPENAI)), "--concurrency", "1")
        assert (ran.code, refs(ran.out)) == (0, [1, 2, 3])
        assert ran.lines[0].startswith(
            "llmfail: no target of default can be asked now: the run pauses until 2"
        )
        assert "; paused " in ran.lines[-1]

    def test_g6_with_wait_0_lines_fail_at_once(self, configure, simulator, lines):
        simulator.set_faults(parse_faults("openai=429:60"))
        lines("One", {"prompt": "Two"}, "Three")
        ran = batch(configure(build_config(simulator, OPENAI)), "--concurrency", "1", "--wait", "0")
        assert (ran.code, [one["ok"] for one in receipts(ran.out)]) == (3, [False] * 3)
        assert all(one["retry_at"] for one in receipts(ran.out))
        assert "pauses" not in ran.err

    def test_ctrl_c_in_a_pause_ends_the_run_which_can_go_on(self, configure, simulator, lines, out):
        simulator.set_faults(parse_faults("openai=429:60"))
        lines("One", "Two")
        llmfail = configure(build_config(simulator, OPENAI))
        with llmfail.start("batch", "in.jsonl", "-o", "out.jsonl") as process:
            assert b"the run pauses until" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            ended = finish(process)
        assert (ended.code, refs(out)) == (130, [])
        assert ended.lines[-1].endswith("batch in.jsonl -o out.jsonl --resume")
        simulator.set_faults(parse_faults("none"))
        assert llmfail("reset", "--all").code == 0
        assert llmfail("batch", "in.jsonl", "-o", "out.jsonl", "--resume").code == 0
        assert refs(out) == [1, 2]


class TestMoney:
    @pytest.mark.stores
    def test_the_whole_run_costs_no_more_and_the_rest_has_receipts_that_say_so(
        self, configure, simulator, numbered, out
    ):
        llmfail = configure(build_config(simulator, OPENAI, models=PRICED))
        numbered(40)
        ran = batch(llmfail, "-o", "out.jsonl", "--max-tokens", "50", "--max-cost", "0.2")
        assert ran.code == 3
        spent = sum(float(one["cost_usd"]) for one in receipts(out))
        refused = [one for one in receipts(out) if not one["ok"]]
        assert 0.15 < spent <= 0.2
        assert refused
        assert {one["error"]["code"] for one in refused} == {4}
        again = batch(llmfail, "-o", "out.jsonl", "--max-tokens", "50", "--max-cost", "0.2", "--retry-failed")
        assert again.code == 3
        assert sum(float(one["cost_usd"]) for one in receipts(out)) == spent
        assert batch(llmfail, "-o", "out.jsonl", "--max-cost", "100", "--retry-failed").code == 0

    def test_lines_can_be_slowed_down(self, llmfail, numbered):
        names = numbered(4)
        ran = batch(llmfail, "--rate", "6000")
        assert (ran.code, refs(ran.out)) == (0, names)


class TestOnATerminal:
    def test_a_bar_tells_how_it_comes_along(self, llmfail, numbered, simulator, out):
        numbered(30)
        simulator.set_faults(parse_faults("openai=slow:200"))
        with Terminal() as screen:
            process = llmfail.start(
                "batch", "in.jsonl", "-o", "out.jsonl", "--concurrency", "2", stderr=screen.fd
            )
            with process:
                screen.wait_for("/30 done")
                screen.wait_for("fallbacks")
                screen.wait_for("left")
                assert process.wait(PROCESS_TIMEOUT) == 0
            screen.wait_for("30 answered")

    def test_receipts_on_the_terminal_have_it_for_themselves(self, llmfail, numbered):
        numbered(2)
        with Terminal() as screen:
            with llmfail.start("batch", "in.jsonl", stdout=screen.fd, stderr=screen.fd) as process:
                assert process.wait(PROCESS_TIMEOUT) == 0
            screen.wait_for("2 answered")
            assert "\x1b[?25l" not in screen.text

    def test_elsewhere_there_is_none(self, llmfail, numbered):
        numbered(2)
        assert len(batch(llmfail).lines) == 1


PEAK = """\
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)
"""


def peak(llmfail, source):
    """The peak of a run's memory, in KiB."""
    command = [sys.executable, "-c", PEAK, LLMFAIL, *map(str, llmfail.before), "batch", source]
    environ = os.environ | llmfail.environ
    done = subprocess.run(
        command, env=environ, cwd=llmfail.directory, capture_output=True, text=True, check=True
    )
    memory, code = map(int, done.stdout.split())
    assert code == 3
    return memory


def test_memory_does_not_grow_with_the_file(configure, simulator, here):
    """Of lines that go every way but that to a provider, which would take longer; most are malformed."""
    chain = {"primary": OPENAI, "degrade": [{"text": "nobody is there"}]}
    llmfail = configure(build_config(simulator, features={"default": chain})).without("OPENAI_API_KEY")
    for number in (2000, 20_000):
        lines = ({"id": f"id-{n}", "promt" if n % 5 else "prompt": "x" * 1000} for n in range(number))
        (here / f"{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert peak(llmfail, "20000.jsonl") <= 1.3 * peak(llmfail, "2000.jsonl")
