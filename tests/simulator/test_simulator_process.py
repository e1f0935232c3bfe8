"""``python -m llmfail.simulator``: a process of its own, counted and changed from outside."""

import signal
import socket
import subprocess
import sys

import pytest
import simulator_calls

COMMAND = [sys.executable, "-m", "llmfail.simulator"]


def test_it_says_where_it_is_counts_and_changes_its_faults():
    with simulator_calls.start_simulator_process("openai=503x1") as outside:
        question = simulator_calls.build_request("openai")
        statuses = [simulator_calls.post(outside.base_urls["openai"], *question).status for _ in range(2)]
        assert statuses == [503, 200]
        outside.set_faults("openai=refuse")
        with pytest.raises(ConnectionRefusedError):
            simulator_calls.post(outside.base_urls["openai"], *question)
        assert (
            simulator_calls.post(
                f"{outside.url}/anthropic", *simulator_calls.build_request("anthropic")
            ).status
            == 200
        )
        counts = outside.counts()
    assert counts["total"] == 3
    assert counts["providers"] == {"openai": 2, "anthropic": 1}
    assert counts["targets"]["openai/gpt-6.1-terra"] == 2
    assert counts["connections"]["openai"] == 2
    assert counts["connections"]["anthropic"] == 0


def test_a_provider_of_your_own_gets_a_port():
    with simulator_calls.start_simulator_process(
        "none", "--provider", "groq", "--provider", "mine"
    ) as outside:
        assert set(outside.base_urls) == {"groq", "mine"}
        assert (
            simulator_calls.post(outside.base_urls["mine"], *simulator_calls.build_request("openai")).status
            == 200
        )


def test_malformed_faults_are_refused_over_the_control_channel_and_change_nothing():
    with simulator_calls.start_simulator_process("openai=503") as outside:
        with pytest.raises(AssertionError, match="cannot read"):
            outside.set_faults("openai=hangg")
        assert (
            simulator_calls.post(outside.base_urls["openai"], *simulator_calls.build_request("openai")).status
            == 503
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_although_a_client_hangs(number):
    with simulator_calls.start_simulator_process("openai=hang") as outside:
        with pytest.raises(TimeoutError):
            simulator_calls.post(
                outside.base_urls["openai"], *simulator_calls.build_request("openai"), timeout=0.05
            )
        outside.process.send_signal(number)
        assert outside.process.wait(10) == 0


def test_the_end_of_its_input_ends_it():
    done = subprocess.run(COMMAND, input=b"", capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_malformed_faults_are_a_usage_error():
    done = subprocess.run([*COMMAND, "--faults", "x"], input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("drill: cannot read 'x'")
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--port", port], input="", capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot listen on port {port}: Address already in use")
