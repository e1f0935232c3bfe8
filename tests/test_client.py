"""The Python API, both faces, over real HTTP to the simulator."""

import asyncio
import os
import signal
import subprocess
import sys
import warnings
from decimal import Decimal

import pytest

from llmfail import (
    AsyncClient,
    Attachment,
    Client,
    CredentialsMissing,
    Message,
    OverBudget,
    RequestRefused,
    Unavailable,
    UsageError,
)
from llmfail.client.options import ask_of
from llmfail.simulator import parse_faults

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 5s}}
breaker: {{failure_threshold: 2, recovery_timeout: 60s}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-1}}
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
  keyless: {{api: openai, base_url: "{openai}", api_key: "${{NOT_SET_ANYWHERE}}"}}
features:
  default: {{primary: anthropic/claude-sonnet-5-5, fallbacks: [openai/gpt-6.1-terra]}}
  nobody: {{primary: keyless/x}}
  vectors: {{primary: openai/text-embedding-3-small, fallbacks: [anthropic/claude-sonnet-5-5]}}
"""


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    urls = {name: simulator.base_url(name) for name in ("anthropic", "openai")}
    file.write_text(CONFIG.format(**urls))
    return file


@pytest.fixture
def client(config):
    with Client(config) as opened:
        yield opened


def test_an_answer_is_a_receipt(client):
    receipt = client.ask("Say hello")
    assert (receipt.ok, receipt.tier, str(receipt.target)) == (True, 0, "anthropic/claude-sonnet-5-5")
    assert "Say hello" in receipt.answer
    assert receipt.usage.output_tokens > 0


def test_no_answer_is_an_error_that_carries_the_receipt(client, simulator):
    simulator.set_faults(parse_faults("all=503"))
    with pytest.raises(Unavailable) as raised:
        client.ask("Say hello")
    assert [entry.outcome for entry in raised.value.receipt.trail] == ["server_error", "overloaded"]
    assert raised.value.exit_code == 3


def test_each_reason_has_its_error(client, simulator):
    with pytest.raises(CredentialsMissing, match="NOT_SET_ANYWHERE"):
        client.ask("hi", feature="nobody")
    simulator.set_faults(parse_faults("all=400"))
    with pytest.raises(RequestRefused):
        client.ask("hi")
    with pytest.raises(UsageError, match="no feature 'nowhere'"):
        client.ask("hi", feature="nowhere")
    with pytest.raises(UsageError, match="provider/model"):
        client.ask("hi", model="gpt")


def test_a_conversation_and_an_attachment_reach_the_provider(client, simulator):
    turns = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
    client.ask(turns)
    assert [turn["role"] for turn in simulator.requests[-1].document["messages"]] == [
        "user",
        "assistant",
        "user",
    ]
    client.ask("read this", attachments=[Attachment("notes.txt", "text/plain", b"the notes")])
    assert "the notes" in simulator.requests[-1].body.decode()


def test_f2_a_file_is_sent_as_what_it_is_whatever_it_is_called(client, simulator, tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    for attached in (file, Attachment("a.jpg", "image/jpeg", file.read_bytes())):
        client.ask("look", attachments=[attached])
        [image, _text] = simulator.requests[-1].document["messages"][0]["content"]
        assert image["source"]["media_type"] == "image/png"


def test_f3_what_no_model_takes_is_refused_before_anybody_is_asked(client, simulator):
    asked = simulator.count()
    for said in ("text/plain", "application/octet-stream"):
        with pytest.raises(UsageError, match="a ZIP archive"):
            client.ask("read", attachments=[Attachment("a.txt", said, b"PK\x03\x04...")])
    assert simulator.count() == asked


def test_circuits_are_seen_held_and_closed(client, simulator):
    simulator.set_faults(parse_faults("anthropic=503"))
    for _ in range(2):
        client.ask("hi")
    primary = client.status().to_json()["providers"]["anthropic/claude-sonnet-5-5"]
    assert (primary["state"], primary["requests"]) == ("open", 2)
    assert client.routing_stats()["fallback_rate"] == 1.0
    assert client.reset("anthropic") == ("anthropic/claude-sonnet-5-5",)
    client.trip("openai/gpt-6.1-terra", 30)
    assert client.plan("hi").steps[1].reason == "held"
    assert client.reset() == ("openai/gpt-6.1-terra",)


def test_a_held_provider_is_held_whatever_the_model(client, simulator):
    assert client.trip("openai", 30) == ("openai",)
    with pytest.raises(Unavailable, match="forced open by the operator"):
        client.ask("hi", model="openai/some-other-model")
    assert client.status().to_json()["providers"]["openai/gpt-6.1-terra"]["state"] == "forced_open"
    assert simulator.count("openai") == 0
    assert client.reset("openai") == ("openai", "openai/some-other-model")
    assert client.ask("hi", model="openai/some-other-model").ok


def test_a_hold_on_a_target_that_nobody_names_is_seen_and_released(client):
    client.trip("openai/typo")
    assert client.status().to_json()["providers"]["openai/typo"]["state"] == "forced_open"
    assert client.reset() == ("openai/typo",)


def test_what_could_not_be_recorded_is_no_success(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with Client(config, state_dir=tmp_path / "file", warn=lambda text: None) as client:
        with pytest.raises(UsageError, match="nothing was recorded"):
            client.trip("openai")
        with pytest.raises(UsageError, match="nothing was recorded"):
            client.reset()
        assert client.status().health != "healthy"


def test_embeddings_stay_with_one_model(client, simulator):
    receipt = client.embed("one", "two", feature="vectors")
    assert len(receipt.embedding.vectors) == 2
    simulator.set_faults(parse_faults("openai=503"))
    assert client.embed("two", "one", feature="vectors").source == "cache"
    with pytest.raises(Unavailable) as raised:
        client.embed("three", feature="vectors")
    trail = raised.value.receipt.trail
    assert [entry.outcome for entry in trail] == ["overloaded", "other_model"]


def test_two_clients_share_their_state(config, simulator):
    simulator.set_faults(parse_faults("anthropic=503"))
    with Client(config) as one, Client(config) as two:
        one.ask("hi")
        two.ask("hi")
        assert one.ask("hi").trail[0].outcome == "circuit_open"
    assert simulator.count("anthropic") == 2


def test_a_store_that_is_down_is_told_and_costs_no_answer(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    heard = []
    with Client(config, state_dir=tmp_path / "file", warn=heard.append) as client:
        assert client.ask("hi").ok
        assert client.ask("hi").ok
    assert len(heard) == 1


def test_without_a_listener_warnings_are_pythons(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with Client(config, state_dir=tmp_path / "file") as client:
            client.ask("hi")
    assert [one.category for one in heard] == [RuntimeWarning]


def test_a_budget_that_is_spent_raises_over_budget(config):
    config.write_text(config.read_text() + "budgets: [{name: day, limit: 0, per: day}]\n")
    with Client(config) as llm, pytest.raises(OverBudget, match="budget day"):
        llm.ask("hi")


@pytest.mark.parametrize("most", [Decimal(-1), float("nan"), "x", 1e12])
def test_a_max_cost_that_is_no_amount_is_a_usage_error(most):
    with pytest.raises(UsageError, match="max_cost"):
        ask_of("hi", max_cost=most)


@pytest.mark.parametrize("name", ["user", "session"])
@pytest.mark.parametrize("written", ["", "x" * 257, "\udc80"])
def test_the_id_of_a_user_or_a_session_is_a_short_text(name, written):
    with pytest.raises(UsageError, match=f"{name} is a text"):
        ask_of("hi", **{name: written})


@pytest.mark.parametrize("ref", ["\udc80", object()])
def test_a_ref_that_no_receipt_can_carry_is_refused_before_anybody_is_paid(ref):
    with pytest.raises(UsageError, match="ref is a text or a number"):
        ask_of("hi", ref=ref)


def test_after_a_fork_each_process_has_connections_of_its_own(config, simulator):
    simulator.set_answer(lambda seen: seen.prompt)

    def wrong(llm, name):
        return sum(llm.ask(f"{name} {number}").answer != f"{name} {number}" for number in range(10))

    with Client(config) as llm:
        assert llm.ask("warm").answer == "warm"
        children = {}
        for name in "abc":
            ours, theirs = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
                child = os.fork()
            if child == 0:
                os.write(theirs, str(wrong(llm, name)).encode())
                os._exit(0)
            os.close(theirs)
            children[child] = ours
        assert wrong(llm, "parent") == 0
        for child, ours in children.items():
            with os.fdopen(ours) as answer:
                assert answer.read() == "0"
            os.waitpid(child, 0)


@pytest.mark.parametrize("write_delay", [0, 30])
def test_a_forked_child_has_its_own_part_of_an_asyncio_client(config, simulator, write_delay):
    simulator.set_answer(lambda seen: seen.prompt)

    async def ask_and_close(llm):
        answer = (await llm.ask("in the child")).answer
        await llm.close()
        return int(answer != "in the child")

    async def play():
        async with AsyncClient(config, write_delay=write_delay) as llm:
            await llm.ask("before")
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                os._exit(asyncio.run(ask_and_close(llm)))
            assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
            assert (await llm.ask("after")).answer == "after"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
        asyncio.run(play())
    with Client(config) as llm:
        assert llm.routing_stats()["total_requests"] == 3


def test_asyncio_has_the_same_engine(config, simulator):
    async def play():
        async with AsyncClient(config) as llm:
            answers = await asyncio.gather(*(llm.ask(f"question {number}") for number in range(20)))
            simulator.set_faults(parse_faults("all=503"))
            with pytest.raises(Unavailable):
                await llm.ask("hi")
            held = await llm.trip("openai", 30)
            reset = await llm.reset("openai")
            return answers, held[0] in reset, (await llm.routing_stats())["total_requests"]

    answers, same, total = asyncio.run(play())
    assert [f"question {number}" in receipt.answer for number, receipt in enumerate(answers)] == [True] * 20
    assert (same, total) == (True, 21)


def test_a_cancelled_task_gives_its_trial_back(config, simulator):
    config.write_text(
        config.read_text().replace("recovery_timeout: 60s", "recovery_timeout: 0s, half_open_limit: 1")
    )

    async def play():
        async with AsyncClient(config) as llm:
            simulator.set_faults(parse_faults("anthropic=503"))
            for _ in range(2):
                await llm.ask("hi")
            simulator.set_faults(parse_faults("anthropic=hang"))
            task = asyncio.create_task(llm.ask("hi"))
            await asyncio.to_thread(simulator.wait_for, lambda: simulator.count("anthropic") == 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            simulator.set_faults(parse_faults("none"))
            return await llm.ask("hi")

    assert asyncio.run(play()).tier == 0


def test_a_blocking_call_imports_nothing_of_asyncio(config, tmp_path):
    code = f"""import sys, llmfail
with llmfail.Client({str(config)!r}, state_dir={str(tmp_path)!r}) as client:
    client.ask("Say hello")
print([name for name in ("aiohttp", "asyncio") if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_the_package_imports_no_http():
    code = """import sys, llmfail
llmfail.Client
print([name for name in ("httpcore", "aiohttp", "yaml", "asyncio", "rich") if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
