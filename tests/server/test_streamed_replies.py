"""How a streamed answer ends: whole, or so that nobody takes half of it for the whole; and what is done while
its target is silent or its program has left.
"""

import asyncio
import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from running_gateway import run_gateway
from scripted_streams import BREAKS, ERROR, PING, STALL, ScriptedStreams, ThinkingToken

from llmfail.core.answer_piece import RelayedBytes, ServedAnswer
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.http_server import http_app
from llmfail.server.served_configuration import SILENCE_SECONDS
from llmfail.server.served_request import RequestLine
from llmfail.server.streamed_reply import StreamedReply

ONE_USER = [{"role": "user", "content": "hi"}]
ASKS = {
    "chat": ("/v1/chat/completions", {"model": "chat", "messages": ONE_USER, "stream": True}),
    "anthropic": (
        "/v1/messages",
        {"model": "default", "max_tokens": 50, "messages": ONE_USER, "stream": True},
    ),
    "responses": ("/v1/responses", {"model": "chat", "input": "hi", "stream": True}),
    "gemini": (
        "/v1beta/models/gem:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    ),
}
PRIMARY = {"chat": "openai", "anthropic": "anthropic", "responses": "openai", "gemini": "google"}
MORE = """\
  both: {primary: google/gemini-3.8-flash, fallbacks: [openai/gpt-6.1-terra]}
"""


@pytest.fixture(scope="module")
def provider():
    with ScriptedStreams() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, provider):
    with run_gateway(tmp_path_factory.mktemp("streams"), provider, MORE) as running:
        yield running


@pytest.fixture(scope="module")
def talkative(tmp_path_factory, provider):
    """A gateway whose programs hear something twenty times a second."""
    with run_gateway(tmp_path_factory.mktemp("talk"), provider, MORE, silence_seconds=0.05) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(provider):
    yield
    for name in ("openai", "anthropic", "google"):
        provider.plays(name)


def text_of(reply):
    """All of the text that the events of a reply have."""
    return "".join(_iter_texts(reply.events))


def _iter_texts(events):
    for event in events:
        if not isinstance(event, dict):
            continue
        for choice in event.get("choices", ()):
            yield choice["delta"].get("content") or ""
        delta = event.get("delta")
        if isinstance(delta, dict):
            yield delta.get("text", "")
        elif event.get("type") == "response.output_text.delta":
            yield delta
        for candidate in event.get("candidates", ()):
            yield "".join(part.get("text", "") for part in candidate.get("content", {}).get("parts", ()))


def error_of(dialect, reply):
    """The sentence of the error with which a stream ends."""
    last = reply.events[-1]
    if dialect == "responses":
        assert last["type"] == "response.failed"
        return last["response"]["error"]["message"]
    assert dialect != "anthropic" or last["type"] == "error"
    return last["error"]["message"]


@pytest.mark.parametrize("dialect", ASKS)
def test_a_whole_stream_ends_as_http_and_its_dialect_have_it(gateway, provider, dialect):
    provider.plays(PRIMARY[dialect], ["one ", "two"])
    reply = gateway.post(*ASKS[dialect])
    assert (reply.status, reply.is_whole, text_of(reply)) == (200, True, "one two")


@pytest.mark.parametrize("dialect", ASKS)
@pytest.mark.parametrize("step", BREAKS.values(), ids=BREAKS)
def test_what_breaks_off_ends_with_an_error_and_without_the_last_chunk(gateway, provider, dialect, step):
    provider.plays(PRIMARY[dialect], ["one ", step])
    reply = gateway.post(*ASKS[dialect])
    assert (reply.status, text_of(reply)) == (200, "one ")
    assert error_of(dialect, reply)
    assert reply.is_whole is (dialect == "responses")
    assert gateway.log[-1]["error"] is not None


@pytest.mark.parametrize("dialect", ["chat", "anthropic", "responses"])
@pytest.mark.parametrize("step", BREAKS.values(), ids=BREAKS)
def test_what_breaks_off_before_the_first_word_is_answered_by_the_next(gateway, provider, dialect, step):
    provider.plays(PRIMARY[dialect], [step])
    reply = gateway.post(*ASKS[dialect])
    assert (reply.status, reply.is_whole) == (200, True)
    assert text_of(reply).endswith("heard: hi")
    assert reply.headers["x-llmfail-target"].partition("/")[0] != PRIMARY[dialect]


@pytest.mark.parametrize("dialect", ASKS)
def test_nobody_answers_before_the_first_word_so_the_status_tells(gateway, provider, dialect):
    for name in ("openai", "anthropic", "google"):
        provider.plays(name, [ERROR])
    reply = gateway.post(*ASKS[dialect])
    assert (reply.status, reply.headers["content-type"]) == (503, "application/json")


@pytest.mark.parametrize("dialect", ASKS)
def test_a_silent_target_is_covered_and_may_still_be_replaced(talkative, provider, dialect):
    silence = threading.Event()
    provider.plays("google", [silence, ERROR])
    path, body = ASKS[dialect]
    body = {**body, "model": "both"}
    timer = threading.Timer(0.4, silence.set)
    timer.start()
    reply = talkative.post(path.replace("gem", "both"), body)
    timer.join()
    assert (reply.status, reply.is_whole) == (200, True)
    assert text_of(reply).endswith("heard: hi")
    begin = {"chat": b": ", "responses": b": ", "anthropic": b"event: ping", "gemini": b"\n"}
    assert reply.body.startswith(begin[dialect])


def test_after_a_keep_alive_a_failure_is_an_event(talkative, provider):
    silence = threading.Event()
    provider.plays("google", [silence, ERROR])
    timer = threading.Timer(0.3, silence.set)
    timer.start()
    reply = talkative.post(*ASKS["gemini"])
    timer.join()
    assert (reply.status, reply.is_whole, reply.events[-1]["error"]["code"]) == (200, False, 503)


def test_a_thought_is_a_sign_of_life(gateway, provider):
    held = threading.Event()
    provider.plays("anthropic", [ThinkingToken(), held, "done"])
    path, body = ASKS["anthropic"]
    with open_stream(gateway, path, body) as stream:
        assert b"message_start" in stream.readline() + stream.readline()
        held.set()
        assert b"message_stop" in stream.read()


@pytest.mark.parametrize("events", [PING, ThinkingToken("more")], ids=["ping", "thought"])
def test_what_a_target_says_while_it_thinks_is_not_held_back(gateway, provider, events):
    held = threading.Event()
    provider.plays("anthropic", [ThinkingToken(), events, held, "done"])
    said = {PING: b"event: ping"}.get(events, b"more")
    with open_stream(gateway, *ASKS["anthropic"]) as stream:
        assert any(said in line for line in iter(stream.readline, b""))
        assert not held.is_set()
        held.set()
        assert b"message_stop" in stream.read()


class SilentTarget:
    """In the place of a client: it says something after so many seconds, and is done after as many more."""

    def __init__(self, *waits):
        self.waits = waits

    async def serve(self, ask, *, original, on_piece):
        for seconds in self.waits[:-1]:
            await asyncio.sleep(seconds)
            await on_piece(RelayedBytes(b"said"))
        await asyncio.sleep(self.waits[-1])
        return ServedAnswer(Receipt("1", "default", target=Target("openai", "gpt"), source="model"), None)


class WrittenReply:
    """In the place of an exchange: what is written, and when."""

    is_begun = False

    def __init__(self):
        self.written = []

    async def begin(self, status, _headers):
        self.is_begun = True
        self.written.append((asyncio.get_running_loop().time(), status))

    async def write(self, data):
        self.written.append((asyncio.get_running_loop().time(), data))


def test_a_keep_alive_goes_out_whenever_a_target_was_silent_for_ten_seconds():
    exchange = WrittenReply()
    writer = SimpleNamespace(keep_alive=b"alive", finish=lambda _receipt: b"end")
    configuration = SimpleNamespace(client=SilentTarget(33, 4, 12), silence_seconds=SILENCE_SECONDS)
    served = SimpleNamespace(
        exchange=exchange,
        configuration=configuration,
        id="1",
        reply_headers={},
        line=RequestLine("", "1", "POST", "/"),
    )

    async def answer():
        await StreamedReply(served, writer).run(None, None)

    SimulatedClock(0.0).run(answer())
    alive = [(at, b"alive") for at in (10, 20, 30)]
    said = [(33, b"said"), (37, b"said"), (47, b"alive"), (49, b"end")]
    assert exchange.written == [(10, 200), *alive, *said]


def open_stream(gateway, path, body):
    """The bytes behind the head of a reply, as they come."""
    data = json.dumps(body).encode()
    talk = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    head = f"POST {path} HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    talk.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(data) + data)
    stream = talk.makefile("rb")
    talk.close()
    while stream.readline() != b"\r\n":
        pass
    return stream


def ask_and_read_nothing(gateway, **more):
    """The connection of a program that wants a stream."""
    path, body = ASKS["chat"]
    data = json.dumps({**body, **more}).encode()
    talk = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    head = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" % path.encode()
    talk.sendall(head + b"content-length: %d\r\n\r\n" % len(data) + data)
    return talk


@pytest.fixture(scope="module")
def counting(tmp_path_factory, provider):
    """A gateway whose one budget tells what was counted."""
    more = """\
models: {openai/gpt-6.1-terra: {price: {input: 0.001, output: 1}}}
budgets: [{name: all, limit: 1000, per: total}]
"""
    with run_gateway(tmp_path_factory.mktemp("counting"), provider, more) as running:
        yield running


def budget_of(gateway):
    """What is spent, and what is held."""
    status = gateway.run(gateway.gateway.configuration.client.status())
    [budget] = status.to_json()["budgets"]
    return float(budget["spent_usd"]), float(budget["held_usd"])


HEARD_TOKENS, MANY_TOKENS = 100, 32_000
LEFT = pytest.mark.parametrize(
    ("stream", "script", "tokens"),
    [
        (True, ["one ", STALL], HEARD_TOKENS),
        (True, [ThinkingToken(), STALL], HEARD_TOKENS),
        (True, [PING, STALL], MANY_TOKENS),
        (True, [STALL], MANY_TOKENS),
        (False, [STALL], MANY_TOKENS),
    ],
    ids=["behind the first word", "within a thought", "before a sign of life", "before the head", "whole"],
)
"""When a program leaves, and for at most how many tokens it pays: all that it asked for, where nobody has
heard how many there were.
"""


@LEFT
def test_the_call_ends_when_its_program_leaves(counting, provider, stream, script, tokens):
    provider.plays("openai", script)
    asked, lines, (before, _) = provider.count("openai"), len(counting.log), budget_of(counting)
    talk = ask_and_read_nothing(counting, stream=stream, max_tokens=MANY_TOKENS)
    assert provider.wait_for(lambda: provider.count("openai") > asked)
    call = provider.asked("openai")[-1]
    assert provider.wait_for(lambda: len(call.said) == len(script) - 1)
    talk.close()
    assert call.left.wait(10)
    wait_until(lambda: len(counting.log) > lines)
    line = counting.log[-1]
    assert (line["status"], line["client_gone"]) == (499, True)
    spent, held = budget_of(counting)
    assert held == 0
    assert tokens / 10 < (spent - before) * 1_000_000 < 2 * tokens


def wait_until(is_so):
    ends_at = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def test_the_call_ends_when_the_program_reads_no_more(gateway, provider, monkeypatch):
    monkeypatch.setattr(http_app, "UNREAD_SECONDS", 0.2)
    provider.plays("openai", ["x" * 100_000] * 200 + [STALL])
    asked = provider.count("openai")
    talk = ask_and_read_nothing(gateway)
    assert provider.wait_for(lambda: provider.count("openai") > asked)
    assert provider.asked("openai")[-1].left.wait(20)
    talk.close()


def test_a_stored_answer_is_streamed_in_one_piece(tmp_path, provider):
    with run_gateway(
        tmp_path, provider, "  kept: {primary: openai/gpt-6.1-terra, cache: {enabled: true}}"
    ) as own:
        path, body = ASKS["chat"]
        first = own.post(path, {**body, "model": "kept"})
        again = own.post(path, {**body, "model": "kept"})
        assert text_of(again) == text_of(first)
        assert (again.headers["x-llmfail-source"], again.events[-1]) == ("cache", "[DONE]")
        assert float(again.headers["x-llmfail-cost-usd"]) == 0
