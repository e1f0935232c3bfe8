"""What Python callers write, and what they get: the names and the units of the JSON, and nobody blamed for
what a caller does.
"""

import asyncio
import pydoc
import threading
from decimal import Decimal

import pytest
from scripted_streams import ENDLESS, STALL

import llmfail
from llmfail import AsyncClient, Client, EstimateRequest, Unavailable, UsageError
from llmfail.client.options import ask_of
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


CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
    {"role": "user", "content": "three"},
]


def test_j3_messages_are_mappings_as_everybody_has_them(config, simulator):
    with Client(config) as llm:
        llm.ask(CONVERSATION)
    sent = simulator.requests[-1].document["messages"]
    assert [(one["role"], one["content"]) for one in sent] == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]


def test_j3_attachments_are_named_as_files(config, simulator, tmp_path):
    (tmp_path / "notes.txt").write_text("the notes")
    with Client(config) as llm:
        llm.ask("read this", attachments=[tmp_path / "notes.txt", str(tmp_path / "notes.txt")])
    assert simulator.requests[-1].body.decode().count("the notes") == 2


def test_j3_durations_are_written_as_everywhere_else():
    ask = ask_of("hi", timeout="30s", deadline="2m", wait="0", hedge="1.5s")
    assert (ask.timeout, ask.deadline, ask.wait, ask.hedge) == (30.0, 120.0, 0.0, 1.5)


def test_j3_options_are_called_as_on_the_command_line():
    ask = ask_of("hi", params={"cv": 1}, refresh=True, no_fallback=True, stop="END")
    assert (ask.parameters, ask.cache, ask.fallback, ask.stop) == ({"cv": "1"}, "refresh", False, ("END",))
    assert ask_of("hi", no_cache=True).cache == "off"


@pytest.mark.parametrize(
    ("prompt", "options", "says"),
    [
        (None, {}, "a prompt is a text or a list of messages, got NoneType"),
        (b"hi", {}, "got bytes"),
        ({"role": "user", "content": "hi"}, {}, "a request is a list of messages, or an object"),
        (3, {}, "got int"),
        ([None], {}, "message 1 is a Message, or a mapping with role and content, got NoneType"),
        (["hi"], {}, "message 1 is a Message"),
        ([{"role": "user", "content": "a"}, {"role": "nobody", "content": "b"}], {}, "message 2: its role"),
        ([{"role": "user"}], {}, "message 1: its content"),
        (CONVERSATION, {"system": "x"}, "not both"),
        ("hi", {"attachments": ["nowhere.png"]}, "cannot read nowhere.png"),
        ("hi", {"attachments": "a.png"}, "attachments is a list of files"),
        ("hi", {"attachments": [3]}, "a file or an Attachment, got 3"),
        ("hi", {"timeout": "soon"}, "timeout: expected a duration such as 30"),
        ("hi", {"timeout": [3]}, "timeout: expected a duration"),
        ("hi", {"deadline": float("nan")}, "deadline"),
        ("hi", {"hedge": "p50"}, "or p95"),
        ("hi", {"options": {"top_p": "nan"}}, "options top_p: expected a number from 0 to 1, got 'nan'"),
        ("hi", {"options": {"effort": "hi"}}, "none or low or medium or high or max, got 'hi'"),
        ("hi", {"wait": -1}, "wait: expected a duration"),
        ("hi", {"max_tokens": 0}, "max_tokens must be a number above 0"),
        ("hi", {"max_tokens": "many"}, "max_tokens must be a number"),
        ("hi", {"temperature": "hot"}, "temperature is a number from 0 to 2"),
        ("hi", {"stop": 3}, "stop is a text or a list of texts"),
        ("hi", {"model": 3}, "model is a target or a list"),
        ("hi", {"model": "gpt"}, "provider/model"),
        ("hi", {"params": ["a=b"]}, "params is a mapping"),
        ("hi", {"schema": "x.json"}, "schema is a JSON Schema as a mapping"),
        ("hi", {"strict": "yes"}, "strict is True or False"),
        ("hi", {"no_cache": True, "refresh": True}, "no_cache stores nothing and refresh stores"),
        ("hi", {"feature": 3}, "feature is a text"),
    ],
)
def test_j3_what_cannot_be_meant_is_one_clear_error(prompt, options, says):
    with pytest.raises(UsageError) as raised:
        ask_of(prompt, **options)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_j3_an_empty_prompt_is_told_in_the_caller_s_terms(config):
    with Client(config) as llm:
        for empty in ("", " \n", []):
            with pytest.raises(UsageError, match=r"^the prompt is empty$"):
                llm.ask(empty)


def test_j3_an_option_that_does_not_exist_is_a_type_error_with_the_nearest_name():
    with pytest.raises(TypeError, match="there is no option 'modle'; did you mean model"):
        ask_of("hi", modle="x")


def test_j3_dir_shows_the_public_names():
    assert set(llmfail.__all__) <= set(dir(llmfail))
    assert all(getattr(llmfail, name) is not None for name in llmfail.__all__)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("method", ["ask", "stream", "batch", "embed", "plan"])
def test_j3_help_shows_the_options(client, method):
    text = pydoc.render_doc(getattr(client, method), renderer=pydoc.plaintext)
    assert "model: Instead of the chain" in text
    assert not [line for line in text.splitlines()[1:] if line.startswith(" " * 12)]
    assert ("params: What $K" in text) == (method != "embed")


def test_j3_both_clients_have_the_same_methods_and_none_of_the_engine_s():
    both = [{name for name in dir(client) if not name.startswith("_")} for client in (Client, AsyncClient)]
    assert both[0] - both[1] == {"clear_cache"}
    assert both[1] - both[0] == {"serve"}
    assert not {"ask_receipt", "stream_ask", "embed_ask", "embed_batch", "queue_runner"} & both[0]


def test_j3_an_async_client_plans_logs_probes_estimates_and_has_the_queue(config):
    async def play():
        async with AsyncClient(config) as llm:
            await llm.ask("hi")
            return (
                [str(step.target) for step in (await llm.plan("hi")).steps],
                [one["ok"] for one in await llm.log()],
                (await llm.probe(PRIMARY)).ok,
                (await llm.estimate(EstimateRequest())).to_json()["features"].keys(),
                list(llm.queue.items()),
            )

    assert asyncio.run(play()) == ([PRIMARY, "anthropic/claude-sonnet-5-5"], [True], True, {"default"}, [])


def test_j3_an_embedding_has_its_dimensions(config):
    with Client(config) as llm:
        receipt = llm.embed("one", model="openai/text-embedding-3-small")
    assert receipt.dimensions == len(receipt.embedding.vectors[0])


ITEMS = [
    "one",
    {"prompt": "two", "id": "b"},
    {"prompt": "x", "timeout": "never"},
    [{"role": "user", "content": "4"}],
]


def check_batch(receipts):
    assert [one.ref for one in receipts] == [1, "b", 3, 4]
    assert [one.ok for one in receipts] == [True, True, False, True]
    assert receipts[2].exit_code == 2
    assert "item 3: timeout" in receipts[2].error.message


def test_j3_a_client_has_batches(config):
    with Client(config) as llm:
        check_batch(list(llm.batch(ITEMS, concurrency=2)))
        assert {one.ref for one in llm.batch(iter(ITEMS), ordered=False)} == {1, "b", 3, 4}


def test_j3_an_async_client_has_batches_of_what_comes_as_it_comes(config):
    async def items():
        for item in ITEMS:
            yield item

    async def play():
        async with AsyncClient(config) as llm:
            check_batch([one async for one in llm.batch(items())])
            check_batch([one async for one in llm.batch(ITEMS)])

    asyncio.run(play())


def test_j1_the_limit_of_a_batch_is_in_dollars(config):
    with Client(config) as llm:
        one = llm.ask("hi", max_tokens=100)
        limit = float(one.cost_usd) + 0.0101
        receipts = list(
            llm.batch(["hi"] * 20, concurrency=1, max_cost=limit, max_tokens=100, no_fallback=True)
        )
    spent = sum(receipt.cost_usd for receipt in receipts)
    assert 0 < spent <= Decimal(str(limit))
    assert {receipt.exit_code for receipt in receipts} == {0, 4}


def test_j3_a_batch_says_at_once_what_is_wrong_with_all_of_it(config):
    with Client(config) as llm:
        for options in ({"concurrency": 0}, {"rate": 0}, {"max_cost": "x"}, {"timeout": "never"}):
            with pytest.raises(UsageError):
                llm.batch(["hi"], **options)


@pytest.mark.parametrize("held", HELD)
def test_j4_a_batch_that_is_left_early_counts_against_nobody(stream_config, streams, held):
    stream, script = HELD[held]
    streams.plays("openai", ["one"], [script])
    with Client(stream_config) as llm:
        for receipt in llm.batch(["hi"] * 3, concurrency=1, stream=stream):
            assert receipt.answer == "one"
            break
    nobody_is_blamed(stream_config, streams)
