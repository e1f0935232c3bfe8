"""What an ask prints, and where: the answer and nothing else on standard output."""

import json
import os
import stat

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI, build_config

from llmfail.simulator import parse_faults

RECEIPT = {
    *("id", "ok", "answer", "source", "tier", "feature", "target", "provider", "model", "response_model"),
    *("finish_reason", "usage", "cost_usd", "latency_ms", "ref", "queued", "retry_at", "error", "trail"),
}


@pytest.fixture
def troubled(simulator, configure):
    """The primary answers 503, the second hangs beyond its second of time, the third is well."""
    simulator.set_faults(parse_faults("anthropic=503,openai=hang"))
    document = build_config(simulator, ANTHROPIC, OPENAI, GOOGLE)
    document["providers"]["openai"]["timeout"] = "1s"
    return configure(document)


def test_the_third_target_answers_when_the_first_fails_and_the_second_hangs(troubled):
    ended = troubled("ask", "Say hello")
    assert ended.code == 0
    assert ended.out == f"{GOOGLE} heard: Say hello\n".encode()
    assert [line.split()[1:3] for line in ended.lines] == [
        [ANTHROPIC, "failed"],
        [OPENAI, "failed"],
        [GOOGLE, "answered"],
    ]
    assert "server_error 503" in ended.lines[0]
    assert "timeout" in ended.lines[1]


def test_the_receipt_tells_the_story(troubled):
    ended = troubled.ask()
    receipt = ended.document
    assert ended.code == 0
    assert set(receipt) >= RECEIPT
    assert receipt["ok"] is True
    assert receipt["answer"] == f"{GOOGLE} heard: Say hello"
    assert (receipt["source"], receipt["tier"], receipt["feature"]) == ("model", 2, "default")
    assert (receipt["target"], receipt["provider"], receipt["model"]) == (GOOGLE, *GOOGLE.split("/"))
    assert receipt["finish_reason"] == "stop"
    assert receipt["error"] is None
    assert ended.trail == [
        (ANTHROPIC, "called", "server_error"),
        (OPENAI, "called", "timeout"),
        (GOOGLE, "called", "ok"),
    ]
    assert [entry["status"] for entry in receipt["trail"]] == [503, None, 200]
    assert receipt["trail"][1]["latency_ms"] >= 990  # two clocks, two roundings


def test_a_receipt_is_one_line(troubled):
    assert troubled.ask().out.count(b"\n") == 1


def test_a_healthy_primary_is_not_worth_a_word(llmfail, simulator):
    ended = llmfail("ask", "Say hello")
    assert (ended.code, ended.out, ended.err) == (0, f"{OPENAI} heard: Say hello\n".encode(), "")
    assert simulator.count() == 1


@pytest.mark.parametrize(
    ("arguments", "piped", "prompt"),
    [
        pytest.param(["by argument"], b"", "by argument", id="argument"),
        pytest.param([], b"by pipe\n", "by pipe", id="pipe"),
        pytest.param(["question"], b"text\n", "text\n\nquestion", id="both, standard input first"),
        pytest.param(["-"], b"by pipe\nin lines\n", "by pipe\nin lines", id="dash"),
        pytest.param(["Grüße 你好"], b"", "Grüße 你好", id="not ASCII"),
        pytest.param(["--", "--json"], b"", "--json", id="looks like an option"),
    ],
)
def test_the_prompt_is_the_argument_or_standard_input_or_both(llmfail, simulator, arguments, piped, prompt):
    ended = llmfail("ask", *arguments, stdin=piped)
    assert ended.code == 0
    assert [seen.prompt for seen in simulator.requests] == [prompt]


@pytest.mark.parametrize(
    ("arguments", "piped"),
    [
        pytest.param([], b"", id="nothing"),
        pytest.param([""], b"", id="empty"),
        pytest.param([" \t"], b"\n\n", id="only blanks"),
        pytest.param(["-"], b"", id="dash and nothing"),
        pytest.param([], b"caf\xe9", id="standard input is not UTF-8"),
        pytest.param(["question"], b"\xff\xfe", id="both, one of them not UTF-8"),
        pytest.param([b"caf\xe9"], b"", id="the argument is not UTF-8"),
    ],
)
def test_without_a_prompt_nobody_is_asked(llmfail, simulator, arguments, piped):
    ended = llmfail("ask", *arguments, stdin=piped)
    assert (ended.code, ended.out) == (2, b"")
    assert len(ended.lines) in {1, 2}
    assert "Traceback" not in ended.err
    assert simulator.count_connections() == 0


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        pytest.param("one", "one\n", id="a newline is added"),
        pytest.param("one\n", "one\n", id="and not doubled"),
        pytest.param("one\ntwo\n\n\n", "one\ntwo\n", id="there is one at the end"),
        pytest.param("  indented", "  indented\n", id="blanks in front stay"),
        pytest.param("word " * 400 + "end", "word " * 400 + "end\n", id="a long line is not folded"),
        pytest.param("[bold]你好[/bold] 🎉", "[bold]你好[/bold] 🎉\n", id="markup is text"),
        pytest.param("a\x1b[31mred\x00\r", "a\x1b[31mred\x00\r\n", id="a pipe gets every byte"),
    ],
)
def test_standard_output_is_the_answer_and_one_newline(llmfail, simulator, answer, printed):
    simulator.set_answer(lambda _seen: answer)
    ended = llmfail("ask", "Say hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == printed.encode()


def test_an_answer_that_was_cut_comes_with_a_warning(llmfail, simulator):
    simulator.set_answer(lambda _seen: "word " * 100)
    ended = llmfail("ask", "Say hello", "--max-tokens", "5")
    assert ended.code == 0
    assert ended.out.startswith(b"word word")
    assert len(ended.lines) == 1
    assert "max_tokens" in ended.err


def test_the_locale_does_not_matter(llmfail, simulator):
    simulator.set_answer(lambda _seen: "你好 — naïve")
    ended = llmfail.with_environ(LC_ALL="C", LANG="C")("ask", "Grüße")
    assert (ended.code, ended.out) == (0, "你好 — naïve\n".encode())
    assert simulator.requests[0].prompt == "Grüße"


def test_quiet_says_nothing(troubled):
    ended = troubled.before_that("-q")("ask", "Say hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{GOOGLE} heard: Say hello\n".encode()


def test_verbose_tells_who_answered_although_it_was_the_first(llmfail):
    ended = llmfail.before_that("-v")("ask", "Say hello")
    assert ended.code == 0
    assert any(f"{OPENAI} answered" in line for line in ended.lines)


def test_models_are_tried_in_the_order_given(llmfail, simulator):
    simulator.set_faults(parse_faults("google=500"))
    ended = llmfail.ask("-m", GOOGLE, "-m", ANTHROPIC, "-m", OPENAI)
    assert ended.code == 0
    assert ended.trail == [(GOOGLE, "called", "server_error"), (ANTHROPIC, "called", "ok")]
    assert [seen.target for seen in simulator.requests] == [GOOGLE, ANTHROPIC]


def test_without_fallback_only_the_first_is_asked(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    ended = llmfail.ask("--no-fallback")
    assert ended.code == 3
    assert [target for target, _, _ in ended.trail] == [OPENAI]
    assert simulator.count_connections("anthropic") == simulator.count_connections("google") == 0


def test_the_same_provider_has_tier_one(simulator, configure):
    simulator.set_faults(parse_faults(f"{OPENAI}=500"))
    ended = configure(build_config(simulator, OPENAI, "openai/gpt-6-luna", GOOGLE)).ask()
    assert (ended.document["tier"], ended.document["target"]) == (1, "openai/gpt-6-luna")


def test_the_chain_is_walked_again_when_all_have_failed_for_passing_reasons(simulator, configure):
    simulator.set_faults(parse_faults("all=500x1"))
    ended = configure(build_config(simulator, OPENAI, GOOGLE, defaults={"retries": 1})).ask()
    assert ended.code == 0
    assert [target for target, _, _ in ended.trail] == [OPENAI, GOOGLE, OPENAI]


def test_a_system_prompt_and_options_reach_the_provider(llmfail, simulator):
    arguments = ["-s", "Be brief.", "--temperature", "0.5", "--max-tokens", "77", "--stop", "END"]
    assert llmfail.ask(*arguments).code == 0
    (seen,) = simulator.requests
    assert seen.document["temperature"] == 0.5
    assert seen.max_tokens == 77
    assert seen.document["stop"] == ["END"]
    assert seen.document["messages"][0]["content"] == "Be brief."


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        pytest.param(["-f", "defualt"], "default", id="feature"),
        pytest.param(["-m", "opnai/gpt-6.1-terra"], "openai", id="provider of a model"),
        pytest.param(["-m", "gpt-6.1-tera"], "gpt-6.1-terra", id="a model that nobody has"),
        pytest.param(["--jsn"], "--json", id="option"),
        pytest.param(["--timeout", "0"], "--timeout", id="no time at all"),
        pytest.param(["--deadline", "nan"], "--deadline", id="not a number"),
        pytest.param(["-a", "missing.png"], "missing.png", id="attachment"),
    ],
)
def test_a_wrong_call_is_told_with_what_was_meant(llmfail, simulator, arguments, hint):
    ended = llmfail("ask", "Say hello", *arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert hint in ended.err
    assert "Traceback" not in ended.err
    assert simulator.count_connections() == 0


def test_an_unknown_command_is_told_with_what_was_meant(llmfail):
    ended = llmfail("aks", "Say hello")
    assert ended.code == 2
    assert "ask" in ended.err.replace("aks", "")


class TestOutputFile:
    def test_the_answer_goes_to_the_file_and_not_to_standard_output(self, llmfail, here):
        ended = llmfail("ask", "Say hello", "-o", "answer.txt")
        assert (ended.code, ended.out, ended.err) == (0, b"", "")
        assert (here / "answer.txt").read_text() == f"{OPENAI} heard: Say hello\n"
        assert list(here.iterdir()) == [here / "answer.txt"]

    def test_the_file_may_be_read_by_whom_the_umask_lets(self, llmfail, here):
        llmfail("ask", "Say hello", "-o", "answer.txt")
        (here / "other.txt").touch()
        assert stat.S_IMODE((here / "answer.txt").stat().st_mode) == stat.S_IMODE(
            (here / "other.txt").stat().st_mode
        )

    def test_the_receipt_goes_there_too(self, llmfail, here):
        assert llmfail.ask("-o", "receipt.json").out == b""
        assert json.loads((here / "receipt.json").read_text())["ok"] is True

    def test_a_file_that_is_there_stays_when_there_is_no_answer(self, llmfail, simulator, here):
        (here / "answer.txt").write_text("earlier")
        simulator.set_faults(parse_faults("all=503"))
        assert llmfail("ask", "Say hello", "-o", "answer.txt").code == 3
        assert (here / "answer.txt").read_text() == "earlier"
        assert list(here.iterdir()) == [here / "answer.txt"]

    def test_a_directory_that_is_missing_is_told_before_anybody_is_asked(self, llmfail, simulator):
        ended = llmfail("ask", "Say hello", "-o", "missing/answer.txt")
        assert ended.code == 2
        assert "missing/answer.txt" in ended.err
        assert simulator.count_connections() == 0

    def test_an_answer_that_was_paid_for_is_not_lost_in_a_directory(self, llmfail, simulator, here):
        (here / "answers").mkdir()
        ended = llmfail("ask", "Say hello", "-o", "answers")
        assert ended.code == 2
        assert simulator.count_connections() == 0 or b"heard" in ended.out
        assert (here / "answers").is_dir()

    def test_a_link_is_followed(self, llmfail, here):
        (here / "link").symlink_to("answer.txt")
        assert llmfail("ask", "Say hello", "-o", "link").code == 0
        assert (here / "link").is_symlink()
        assert "heard" in (here / "answer.txt").read_text()

    def test_what_is_no_plain_file_is_written_to_and_not_replaced(self, llmfail, here):
        """As /dev/stdout, /dev/null and a named pipe are."""
        os.mkfifo(here / "pipe")
        reader = os.open(here / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            ended = llmfail("ask", "Say hello", "-o", "pipe")
            heard = os.read(reader, 1000)
        finally:
            os.close(reader)
        assert ended.code == 0
        assert stat.S_ISFIFO((here / "pipe").stat().st_mode)
        assert heard == f"{OPENAI} heard: Say hello\n".encode()
