"""How an ask ends when there is no answer, and when somebody ends it."""

import fcntl
import signal
import subprocess
import sys
import termios

import pytest
from program import (
    ANTHROPIC,
    GOOGLE,
    OPENAI,
    PIPE_CAPACITY,
    PROCESS_TIMEOUT,
    build_config,
    finish,
    parse_time,
    wait_until,
)

from llmfail.core.model import Reply
from llmfail.simulator import parse_faults


def is_told_in_one_line(ended, code, kind):
    """The same in the exit code, in the receipt and on standard error."""
    receipt = ended.document
    assert ended.code == code
    assert (receipt["ok"], receipt["answer"], receipt["source"], receipt["tier"]) == (False, None, "none", 5)
    assert (receipt["error"]["code"], receipt["error"]["kind"]) == (code, kind)
    assert ended.lines == [f"llmfail: {receipt['error']['message']}"]
    return True


def test_everybody_failed_is_exit_code_3(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=500,anthropic=529,google=garbage"))
    ended = llmfail.ask()
    assert is_told_in_one_line(ended, 3, "unavailable")
    assert [outcome for _, _, outcome in ended.trail] == ["server_error", "overloaded", "malformed"]
    assert all(target in ended.err for target in (OPENAI, ANTHROPIC, GOOGLE))


def test_without_json_nothing_is_on_standard_output(llmfail, simulator):
    simulator.set_faults(parse_faults("all=503"))
    ended = llmfail("ask", "Say hello")
    assert (ended.code, ended.out, len(ended.lines)) == (3, b"", 1)


def test_errors_are_told_although_it_is_quiet(llmfail, simulator):
    simulator.set_faults(parse_faults("all=503"))
    ended = llmfail.before_that("-q")("ask", "Say hello")
    assert (ended.code, ended.out, len(ended.lines)) == (3, b"", 1)


def test_rate_limited_everywhere_says_when_to_come_back(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=429:900,anthropic=429:700,google=503"))
    ended = llmfail.ask()
    assert is_told_in_one_line(ended, 3, "unavailable")
    assert parse_time(ended.document["retry_at"]) > 0
    assert ended.document["retry_at"] in ended.err


def test_a_request_that_two_endpoints_refuse_is_exit_code_5_and_no_third_one_is_asked(llmfail, simulator):
    simulator.set_faults(parse_faults("all=400"))
    ended = llmfail.ask()
    assert is_told_in_one_line(ended, 5, "bad_request")
    assert ended.trail == [(OPENAI, "called", "bad_request"), (ANTHROPIC, "called", "bad_request")]
    assert simulator.count_connections("google") == 0


def test_what_one_endpoint_refuses_another_one_may_answer(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=400"))
    assert llmfail.ask().trail == [(OPENAI, "called", "bad_request"), (ANTHROPIC, "called", "ok")]


def test_a_refusal_is_exit_code_5_unless_the_feature_goes_on(simulator, configure):
    refusal = (
        b'{"choices": [{"message": {"content": null, "refusal": "I will not."}, "finish_reason": "stop"}]}'
    )
    simulator.set_answer(
        lambda seen: (
            Reply(200, {"content-type": "application/json"}, refusal)
            if seen.provider == "openai"
            else "I will."
        )
    )
    document = build_config(simulator, OPENAI, ANTHROPIC)
    ended = configure(document).ask()
    assert is_told_in_one_line(ended, 5, "refusal")
    document["features"]["default"]["on_refusal"] = "next"
    ended = configure(document).ask()
    assert ended.trail == [(OPENAI, "called", "refusal"), (ANTHROPIC, "called", "ok")]


def test_too_long_for_every_target_is_exit_code_5(simulator, configure):
    overflow = (
        b'{"error": {"message": "This model\'s maximum context length is 100 tokens.", '
        b'"type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}'
    )
    simulator.set_answer(lambda _seen: Reply(400, {"content-type": "application/json"}, overflow))
    ended = configure(build_config(simulator, OPENAI)).ask()
    assert ended.code == 5
    assert ended.trail == [(OPENAI, "called", "context_overflow")]


def test_only_credentials_in_the_way_is_exit_code_6(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=auth,anthropic=billing,google=403"))
    assert is_told_in_one_line(llmfail.ask(), 6, "credentials")


def test_an_outage_beside_bad_credentials_is_exit_code_3(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=auth,anthropic=503,google=403"))
    assert is_told_in_one_line(llmfail.ask(), 3, "unavailable")


def test_the_deadline_over_hanging_targets_is_exit_code_7(simulator, configure):
    simulator.set_faults(parse_faults("all=hang"))
    ended = configure(build_config(simulator, OPENAI, ANTHROPIC)).ask("--deadline", "2")
    assert is_told_in_one_line(ended, 7, "deadline")
    assert [target for target, action, _ in ended.trail if action == "called"] == [OPENAI, ANTHROPIC]
    assert 1900 <= ended.document["latency_ms"] < 3000


def test_a_hanging_primary_leaves_its_fallback_time_within_the_deadline(simulator, configure):
    simulator.set_faults(parse_faults("openai=hang"))
    ended = configure(build_config(simulator, OPENAI, ANTHROPIC)).ask("--deadline", "4")
    assert ended.code == 0
    assert [target for target, _, _ in ended.trail] == [OPENAI, ANTHROPIC]
    assert ended.document["latency_ms"] < 4000


def test_a_server_that_sends_a_byte_now_and_then_does_not_outlive_its_timeout(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=slow:60000"))
    ended = llmfail.ask("--timeout", "1")
    assert ended.trail == [(OPENAI, "called", "timeout"), (ANTHROPIC, "called", "ok")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_call_ends_it_at_once(llmfail, simulator, number, code):
    simulator.set_faults(parse_faults("openai=hang"))
    with llmfail.start("ask", "Say hello", "--json") as process:
        assert simulator.wait_for(lambda: simulator.count() == 1)
        process.send_signal(number)
        ended = finish(process)
    assert (ended.code, ended.out) == (code, b"")
    assert "Traceback" not in ended.err
    assert len(ended.lines) <= 1
    assert simulator.count() == 1
    assert llmfail.status(OPENAI)["failures"] == 0


def test_a_signal_while_the_prompt_is_awaited_ends_it(llmfail, simulator):
    with llmfail.start("ask", stdin=subprocess.PIPE) as process:
        process.stdin.write(b"x" * (2 * PIPE_CAPACITY))
        process.stdin.flush()
        wait_until(lambda: bytes_in(process.stdin) == 0)
        process.send_signal(signal.SIGINT)
        process.wait(PROCESS_TIMEOUT)
        assert process.stderr.read() == b""
    assert process.returncode == 130
    assert simulator.count_connections() == 0


def bytes_in(pipe):
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_ctrl_c_leaves_a_file_as_it_was(llmfail, simulator, here):
    simulator.set_faults(parse_faults("openai=hang"))
    (here / "answer.txt").write_text("earlier")
    with llmfail.start("ask", "Say hello", "-o", "answer.txt") as process:
        assert simulator.wait_for(lambda: simulator.count() == 1)
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [("answer.txt", "earlier")]


def test_a_closed_pipe_ends_quietly(simulator, configure):
    document = build_config(simulator, "openai/home-made")
    document["defaults"]["max_tokens"] = 2_000_000
    simulator.set_answer(lambda _seen: "word " * 400_000)
    llmfail = configure(document)
    with llmfail.start("ask", "Say hello") as process:
        assert process.stdout.read(1) == b"w"
        process.stdout.close()
        process.wait(PROCESS_TIMEOUT)
        assert process.stderr.read() == b""
    assert process.returncode in {-signal.SIGPIPE, 128 + signal.SIGPIPE}
    assert llmfail.status()["routing"]["total_requests"] == 1


@pytest.mark.parametrize(
    "command", [["status", "--json"], ["config", "show"], ["--help"], ["config", "schema"]]
)
def test_a_pipe_that_is_closed_before_anything_is_said_ends_quietly(llmfail, command):
    with llmfail.start(*command) as process:
        process.stdout.close()
        process.wait(PROCESS_TIMEOUT)
        assert process.stderr.read() == b""


def test_a_standard_output_that_is_closed_is_no_bug(llmfail):
    ended = llmfail.under("sh", "-c", 'exec "$@" >&-', "sh")("ask", "Say hello")
    assert "bug" not in ended.err
    assert "Traceback" not in ended.err


def test_a_standard_error_that_is_closed_costs_no_answer(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    ended = llmfail.under("sh", "-c", 'exec "$@" 2>&-', "sh")("ask", "Say hello")
    assert (ended.code, ended.out) == (0, f"{ANTHROPIC} heard: Say hello\n".encode())


def test_a_standard_input_that_is_closed_is_none(llmfail):
    ended = llmfail.under("sh", "-c", 'exec "$@" <&-', "sh")("ask", "Say hello")
    assert (ended.code, ended.out) == (0, f"{OPENAI} heard: Say hello\n".encode())


def test_a_network_that_is_not_there_opens_no_circuit(simulator, configure):
    document = build_config(simulator, OPENAI, ANTHROPIC)
    document["providers"]["openai"]["base_url"] = "http://one.invalid/v1"
    document["providers"]["anthropic"]["base_url"] = "http://two.invalid"
    llmfail = configure(document | {"breaker": {"failure_threshold": 1}})
    ended = llmfail.ask()
    assert is_told_in_one_line(ended, 3, "network")
    assert llmfail.status(OPENAI)["state"] == llmfail.status(ANTHROPIC)["state"] == "closed"
