"""Our own wire formats against the simulator: what is asked is understood, what is played is recognised."""

import time
from urllib.parse import urlsplit

import httpx
import pytest
from msgspec.structs import replace

from llmfail.core.classification import body as payload
from llmfail.core.classification import classify
from llmfail.core.classification.outcome import Kind
from llmfail.core.conversation import Message, Tool
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Endpoint, Reply, Request, Secret
from llmfail.providers import load_wire_format
from llmfail.providers.stream import Finished, TextPiece
from llmfail.simulator import parse_faults

TARGETS = [
    ("anthropic", "anthropic", "claude-sonnet-5-5"),
    ("openai", "openai", "gpt-6.1-terra"),
    ("google", "gemini", "gemini-3.8-flash"),
    ("vertex", "vertex", "gemini-3.8-flash"),
    ("vertex", "vertex", "claude-haiku-4-5@20251001"),
    ("openrouter", "openai", "x-ai/grok-4.7"),
    ("groq", "openai", "openai/gpt-oss-20b"),
    ("deepseek", "openai", "deepseek-flash"),
    ("mistral", "openai", "mistral-small-latest"),
    ("xai", "openai", "grok-4.7"),
    ("local", "openai", "llama3.2"),
]
MEANINGS = {
    "400": Kind.BAD_REQUEST,
    "401": Kind.AUTH,
    "402": Kind.BILLING,
    "403": Kind.PERMISSION,
    "404": Kind.MODEL_NOT_FOUND,
    "413": Kind.CONTEXT_OVERFLOW,
    "429": Kind.RATE_LIMITED,
    "429:30": Kind.RATE_LIMITED,
    "500": Kind.SERVER_ERROR,
    "502": Kind.SERVER_ERROR,
    "504": Kind.TIMEOUT,
    "529": Kind.OVERLOADED,
    "quota": Kind.QUOTA,
    "billing": Kind.BILLING,
    "auth": Kind.AUTH,
    "garbage": Kind.MALFORMED,
    "empty": Kind.MALFORMED,
}
REQUEST = Request((Message("user", "Say hello"),), system="Be brief.")


def endpoint(simulator, provider, api, model):
    base_url = simulator.base_url(provider)
    return Endpoint(api, base_url, model, Secret("made-up"), project="p", location="global")


def reply_to(call):
    assert urlsplit(call.url).hostname == "127.0.0.1"
    # Without verify=False every call would load the certificates, for a plain connection.
    heard = httpx.request(call.method, call.url, headers=dict(call.headers), content=call.body, verify=False)
    return Reply(heard.status_code, dict(heard.headers), heard.content)


@pytest.mark.parametrize(("provider", "api", "model"), TARGETS)
def test_a_healthy_answer_is_read_whole(simulator, provider, api, model):
    wire = load_wire_format(api)
    reply = reply_to(wire.encode(REQUEST, endpoint(simulator, provider, api, model)))
    completion = wire.decode(payload.parse(reply.body))
    assert completion.text == f"Hello from {provider}/{model} (simulated). You said: Say hello"
    assert (completion.finish_reason, completion.model) == ("stop", model)
    assert completion.usage.input_tokens == len("Be brief.\nSay hello") // 4 + 1
    assert completion.usage.output_tokens == -(-len(completion.text) // 4)


@pytest.mark.parametrize(("provider", "api", "model"), TARGETS)
def test_a_streamed_answer_is_read_to_its_end(simulator, provider, api, model):
    wire = load_wire_format(api)
    reply = reply_to(wire.encode(REQUEST, endpoint(simulator, provider, api, model), stream=True))
    stream = wire.make_stream_decoder()
    events = [*stream.feed(reply.body), *stream.finish()]
    said = "".join(event.text for event in events if isinstance(event, TextPiece))
    assert said == f"Hello from {provider}/{model} (simulated). You said: Say hello"
    assert isinstance(events[-1], Finished)
    assert events[-1].completion.usage.output_tokens == -(-len(said) // 4)


@pytest.mark.parametrize(("provider", "api", "model"), TARGETS)
@pytest.mark.parametrize(("fault", "kind"), MEANINGS.items())
def test_a_fault_is_recognised_for_what_it_is(simulator, provider, api, model, fault, kind):
    simulator.set_faults(parse_faults(f"{provider}={fault}"))
    wire = load_wire_format(api)
    reply = reply_to(wire.encode(REQUEST, endpoint(simulator, provider, api, model)))
    body = payload.parse(reply.body)
    outcome = classify.classify_reply(reply, body, time.time())
    if outcome is None:
        with pytest.raises(MalformedReply) as caught:
            wire.decode(body)
        outcome = classify.classify_error(caught.value)
    assert outcome.kind is kind
    assert outcome.retry_after == (30 if fault == "429:30" else None)


@pytest.mark.parametrize(("provider", "api", "model"), TARGETS[:5])
def test_what_is_counted_has_the_tools_that_are_offered(simulator, provider, api, model):
    wire = load_wire_format(api)
    tool = Tool(
        "weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
    )

    def count(request):
        reply = reply_to(wire.encode_count(request, endpoint(simulator, provider, api, model)))
        return wire.decode_count(payload.parse(reply.body))

    assert count(replace(REQUEST, tools=(tool,))) > count(REQUEST) > 0
