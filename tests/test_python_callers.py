"""What Python callers write, and what they get: the names and the units of the JSON, and nobody blamed for
what a caller does.
"""

import asyncio
import threading
from decimal import Decimal

import pytest
from scripted_streams import ENDLESS, STALL

from llmfail import AsyncClient, Client, Unavailable, UsageError
from llmfail.core.classification.request_id import REQUEST_ID_HEADERS, find_request_id
from llmfail.core.model import Secret
from llmfail.simulator import parse_faults

PRIMARY = "openai/gpt-6.1-terra"
CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 1000, stall_timeout: 9m, first_token_timeout: 9m}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 1, output: 100}}}}
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
"""


def write_config(folder, server):
    file = folder / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: server.base_url(name) for name in ("openai", "anthropic")}))
    return file


@pytest.fixture
def config(tmp_path, simulator):
    return write_config(tmp_path, simulator)


@pytest.fixture
def stream_config(tmp_path, streams):
    return write_config(tmp_path, streams)


def primary_of(status):
    return status.to_json()["providers"][PRIMARY]


def test_j1_costs_are_dollars_by_the_name_that_the_json_has(config):
    with Client(config) as llm:
        receipt = llm.ask("hi")
    dollars = Decimal(receipt.usage.input_tokens + 100 * receipt.usage.output_tokens) / 10**6
    assert receipt.cost_usd == receipt.trail[0].cost_usd == dollars == Decimal(receipt.to_json()["cost_usd"])


def test_j1_an_unknown_price_is_none(config):
    config.write_text(config.read_text().replace("input: 1, output: 100", "input: null, output: null"))
    with Client(config) as llm:
        assert llm.ask("hi", model="openai/nobody-knows").cost_usd is None


@pytest.mark.parametrize("stream", [False, True])
def test_j3_the_id_that_support_asks_for_is_in_the_receipt_and_in_each_line_of_the_trail(
    config, simulator, stream
):
    simulator.set_faults(parse_faults("openai=503"))
    with Client(config) as llm:
        receipt = llm.ask("hi", stream=stream)
        simulator.set_faults(parse_faults("all=503"))
        with pytest.raises(Unavailable) as failed:
            llm.ask("hi", stream=stream)
    failed_id, answered_id = (entry.request_id for entry in receipt.trail)
    assert failed_id.startswith("req_")
    assert answered_id.startswith("req_")
    assert receipt.request_id == answered_id != failed_id
    written = receipt.to_json()
    assert [entry["request_id"] for entry in written["trail"]] == [failed_id, answered_id]
    assert failed.value.receipt.request_id == failed.value.receipt.trail[-1].request_id


@pytest.mark.parametrize("name", REQUEST_ID_HEADERS)
def test_j3_each_provider_has_its_header(name):
    assert find_request_id({name: "abc-1"}, None) == "abc-1"


def test_j3_an_id_from_outside_is_short_printable_and_shows_no_key():
    assert find_request_id({"request-id": "a\x1b[31m" + "b" * 500}, None).isprintable()
    assert len(find_request_id({"request-id": "b" * 500}, None)) <= 128
    assert "sk-secret-0123456789" not in find_request_id(
        {"x-request-id": "sk-secret-0123456789"}, Secret("sk-secret-0123456789")
    )
    assert find_request_id({}, None) is find_request_id({"request-id": ""}, None) is None


def test_j4_an_abandoned_stream_is_cancelled_and_counts_against_nobody(stream_config, streams):
    streams.plays("openai", *[["one", ENDLESS]] * 6)

    async def play():
        async with AsyncClient(stream_config) as llm:
            for _ in range(6):
                async for _text in llm.stream("hi"):
                    break

    asyncio.run(play())
    with Client(stream_config) as llm:
        status, logged = llm.status(), llm.log()
    assert primary_of(status)["failures"] == 0
    assert primary_of(status)["last_error"] is None
    assert [one for one in logged if one.get("error")] == []


HELD = {"a stream": (True, ENDLESS), "an answer in one piece": (False, STALL)}
"""What is under way when the client is closed."""


@pytest.mark.parametrize("held", HELD)
def test_j4_closing_an_async_client_while_it_asks_counts_against_nobody(stream_config, streams, held):
    stream, script = HELD[held]
    streams.plays("openai", [script])

    async def play():
        llm = AsyncClient(stream_config)
        asked = asyncio.create_task(llm.ask("hi", stream=stream))
        assert await asyncio.to_thread(streams.wait_for, lambda: streams.count("openai") == 1)
        await llm.close()
        with pytest.raises(UsageError, match="client is closed"):
            await asked

    asyncio.run(play())
    nobody_is_blamed(stream_config, streams)


@pytest.mark.parametrize("held", HELD)
def test_j4_closing_a_client_while_another_thread_asks_counts_against_nobody(stream_config, streams, held):
    stream, script = HELD[held]
    streams.plays("openai", [script])
    errors = []

    def ask():
        try:
            llm.ask("hi", stream=stream, timeout=3)
        except UsageError as error:
            errors.append(str(error))

    llm = Client(stream_config)
    thread = threading.Thread(target=ask)
    thread.start()
    assert streams.wait_for(lambda: streams.count("openai") == 1)
    llm.close()
    thread.join(30)
    assert errors == ["this client is closed"]
    nobody_is_blamed(stream_config, streams)


def nobody_is_blamed(stream_config, streams):
    """The target has no failure, and the next one was not asked."""
    with Client(stream_config) as llm:
        assert primary_of(llm.status())["failures"] == 0
    assert streams.count("anthropic") == 0
