"""Spans over OTLP to a collector on loopback: their tree, their names in both generations, and what goes on
to the provider.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys

import pytest
from trace_collector import Collector, attributes

from llmfail import AsyncClient, Client, LlmfailError
from llmfail.core.model import Usage
from llmfail.core.receipt import Receipt
from llmfail.simulator import parse_faults
from llmfail.tracing.span_attributes import ATTRIBUTES, describe_answer, name_attributes

A, B = "openai/gpt-6.1-terra", "anthropic/claude-sonnet-5-5"
CONFIG = """\
version: 1
traces: otlp
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 60s}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CLIENT_KIND, INTERNAL_KIND, ERROR_STATUS = 3, 1, 2


@pytest.fixture(scope="module")
def shared_collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def collector(shared_collector, monkeypatch):
    shared_collector.spans, shared_collector.status = [], 200
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", shared_collector.url)
    for name in ("OTEL_SEMCONV_STABILITY_OPT_IN", "TRACEPARENT"):
        monkeypatch.delenv(name, raising=False)
    return shared_collector


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("openai", "anthropic")}))
    return file


def ask_blocking(config, **options):
    with Client(config) as llm:
        return llm.ask("Say hello", **options)


def ask_async(config, **options):
    async def play():
        async with AsyncClient(config) as llm:
            return await llm.ask("Say hello", **options)

    return asyncio.run(play())


@pytest.mark.parametrize("ask", [ask_blocking, ask_async])
@pytest.mark.parametrize("generation", ["", "http,gen_ai_latest_experimental"])
def test_an_ask_is_a_span_with_one_for_each_call(config, simulator, collector, monkeypatch, ask, generation):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", generation)
    simulator.set_faults(parse_faults("openai=503"))
    receipt = ask(config, traceparent=TRACEPARENT, session="conversation-1")
    [root] = collector.find("llmfail.ask default")
    [failed] = collector.find("chat gpt-6.1-terra")
    [answered] = collector.find("chat claude-sonnet-5-5")
    assert {span.trace_id.hex() for span in (root, failed, answered)} == {TRACE}
    assert root.parent_span_id.hex() == PARENT
    assert failed.parent_span_id == answered.parent_span_id == root.span_id
    assert (root.kind, failed.kind, answered.kind) == (INTERNAL_KIND, CLIENT_KIND, CLIENT_KIND)
    assert root.start_time_unix_nano <= failed.start_time_unix_nano <= failed.end_time_unix_nano
    assert failed.end_time_unix_nano <= answered.start_time_unix_nano <= answered.end_time_unix_nano
    assert answered.end_time_unix_nano <= root.end_time_unix_nano
    said = attributes(failed)
    assert (said["error.type"], failed.status.code) == (receipt.trail[0].outcome, ERROR_STATUS)
    assert (said["gen_ai.provider.name"], said["http.response.status_code"]) == ("openai", 503)
    assert said["server.address"] == "127.0.0.1"
    said = attributes(answered)
    assert "error.type" not in said
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "claude-sonnet-5-5"
    assert said["gen_ai.usage.input_tokens"] == receipt.usage.input_tokens
    assert said["gen_ai.usage.output_tokens"] == receipt.usage.output_tokens
    said = attributes(root)
    assert (said["llmfail.ask.id"], said["llmfail.tier"]) == (receipt.id, 2)
    assert said["gen_ai.conversation.id"] == "conversation-1"


def test_the_two_generations_differ_where_the_conventions_do():
    [changed] = {names for names in ATTRIBUTES.values() if names.old != names.latest}
    assert changed == ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens")
    values = describe_answer(Receipt("r", "f", usage=Usage(10, cache_write_tokens=4, output_tokens=2)))
    for latest in (False, True):
        named = name_attributes(values, latest=latest)
        assert named[changed[latest]] == 4


def test_skipped_targets_and_changes_of_circuits_are_events_of_the_ask(config, simulator, collector):
    simulator.set_faults(parse_faults("openai=503"))
    with Client(config) as llm:
        for _ in range(3):
            llm.ask("hi")
    roots = collector.find("llmfail.ask default")
    told = [(event.name, attributes(event).get("llmfail.reason")) for span in roots for event in span.events]
    assert ("llmfail.circuit_changed", "closed -> open") in told
    assert ("llmfail.target_skipped", "circuit_open") in told
    assert ("llmfail.fell_back", "circuit_open") in told
    assert len(collector.find("chat gpt-6.1-terra")) == 2


def test_an_ask_without_an_answer_is_an_error_of_its_kind(config, simulator, collector):
    simulator.set_faults(parse_faults("all=503"))
    with Client(config) as llm, pytest.raises(LlmfailError):
        llm.ask("hi")
    [root] = collector.find("llmfail.ask default")
    assert (attributes(root)["error.type"], root.status.code) == ("unavailable", ERROR_STATUS)


def test_the_provider_is_told_of_the_span_of_its_call(config, simulator, collector):
    ask_blocking(config, traceparent=TRACEPARENT)
    [call] = collector.find("chat gpt-6.1-terra")
    [seen] = [one for one in simulator.requests if one.provider == "openai"][-1:]
    assert seen.headers["traceparent"] == f"00-{TRACE}-{call.span_id.hex()}-01"


def test_an_ask_that_is_broken_off_ends_its_spans_as_cancelled(config, simulator, collector):
    simulator.set_faults(parse_faults("openai=hang"))

    async def play():
        async with AsyncClient(config) as llm:
            asking = asyncio.ensure_future(llm.ask("hi"))
            await asyncio.to_thread(simulator.wait_for, lambda: simulator.count("openai") == 1)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    asyncio.run(play())
    [root], [call] = collector.find("llmfail.ask default"), collector.find("chat gpt-6.1-terra")
    assert (attributes(root)["error.type"], attributes(call)["error.type"]) == ("cancelled", "cancelled")


def test_a_collector_that_is_gone_costs_an_ask_nothing(config, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert ask_blocking(config).ok


def test_embeddings_have_spans_of_their_own_operation(config, collector):
    config.write_text(config.read_text().replace("gpt-6.1-terra", "text-embedding-3-small"))
    with Client(config) as llm:
        llm.embed("a text", no_fallback=True)
    [call] = collector.find("embeddings text-embedding-3-small")
    assert attributes(call)["gen_ai.operation.name"] == "embeddings"


def test_the_command_line_takes_the_parent_from_its_environment(config, collector):
    environ = os.environ | {"TRACEPARENT": TRACEPARENT}
    command = [sys.executable, "-m", "llmfail", "--config", config, "ask", "hi", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    [root] = collector.find("llmfail.ask default")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(root)["llmfail.ask.id"] == json.loads(done.stdout)["id"]


def test_within_a_program_that_traces_the_spans_are_its_own(config, collector):
    """Its provider gets them, below the span in which the ask was begun. In a process of its own, since a
    program sets one provider for good.
    """
    program = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from llmfail import Client
memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
with trace.get_tracer("mine").start_as_current_span("outer") as outer, Client({str(config)!r}) as llm:
    llm.ask("hi")
spans = {{span.name: span for span in memory.get_finished_spans()}}
root = spans["llmfail.ask default"]
assert root.parent.span_id == outer.get_span_context().span_id
assert spans["chat gpt-6.1-terra"].parent.span_id == root.context.span_id
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert collector.spans == []


def test_without_the_setting_nothing_of_it_is_imported(config, collector):
    config.write_text(config.read_text().replace("traces: otlp\n", ""))
    program = f"""
import sys
from llmfail import Client
with Client({str(config)!r}) as llm:
    llm.ask("hi")
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "llmfail.tracing"))]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert collector.spans == []


def test_without_the_extra_it_says_what_to_install(config):
    program = f"""
import sys
sys.modules["opentelemetry"] = None
from llmfail import Client, UsageError
try:
    Client({str(config)!r})
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'llmfail[otel]'" in done.stdout
