"""R5 and R6: a stream that breaks before its first sign of life is somebody else's answer, and one that
breaks behind it is an error to every client. Nobody takes half an answer for a whole one.
"""

import http.client
import json
import subprocess
import threading

import pytest
from gateway import KEY, TARGETS
from running_gateway import run_gateway
from scripted_streams import CUT, ERROR, GARBLED, HEAD, STALL, STOP, ThinkingToken

PROVIDERS = {"anthropic": "anthropic", "chat": "openai", "responses": "openai", "gemini": "google"}
"""Who speaks a wire."""
OTHERS = {"chat": "anthropic", "responses": "chat", "anthropic": "gemini", "gemini": "chat"}
"""For each dialect a wire to which it is translated."""
BREAKS = {"cut": CUT, "error event": ERROR, "garbled event": GARBLED, "early end": STOP, "stall": STALL}
SHOWN = 0.05
"""Seconds after which what was said has reached the client, if it is ever to."""
CLIENTS = {
    "chat": ("python openai", "node openai", "node ai-chat", "frameworks langchain-openai"),
    "responses": (
        "python responses",
        "node responses",
        "node ai-responses",
        "frameworks langchain-responses",
    ),
    "anthropic": (
        "python anthropic",
        "node anthropic",
        "node ai-anthropic",
        "frameworks langchain-anthropic",
    ),
    "gemini": ("python google", "node google", "node ai-google"),
}
"""Those that read a dialect."""
CASES = [(dialect, wire) for dialect in CLIENTS for wire in (dialect, OTHERS[dialect])]
EVERY_CASE = pytest.mark.parametrize(("dialect", "wire"), CASES, ids=lambda one: one)
EVERY_BREAK = pytest.mark.parametrize("end", BREAKS)
EVERY_CASE_AND_BREAK = pytest.mark.parametrize(
    ("dialect", "wire", "end"),
    [(*case, end) for case in CASES for end in BREAKS if end != "stall" or case[0] == case[1]],
)
"""A stall, which takes a second, only where the dialect is the target's own."""


def build_body(dialect, model):
    turn = {"role": "user", "content": "hi"}
    match dialect:
        case "chat":
            return "/v1/chat/completions", {"model": model, "messages": [turn], "stream": True}
        case "responses":
            return "/v1/responses", {"model": model, "input": "hi", "stream": True}
        case "anthropic":
            return "/v1/messages", {"model": model, "max_tokens": 100, "messages": [turn], "stream": True}
        case _:
            contents = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
            return f"/v1beta/models/{model}:streamGenerateContent?alt=sse", contents


def post(gateway, dialect, model):
    """A connection on which the answer is awaited."""
    path, body = build_body(dialect, model)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    return connection


@EVERY_CASE_AND_BREAK
def test_before_the_first_token_another_target_answers_and_the_client_sees_nothing(
    ask, streams, dialect, wire, end
):
    saved_by = TARGETS["gemini" if wire == "anthropic" else "anthropic"]
    streams.plays(PROVIDERS[wire], [HEAD, BREAKS[end]])
    for client in CLIENTS[dialect][: 1 if end == "stall" else 2]:
        said = ask(client, "text", model=f"saved-{wire}", stream=True, retries=0)
        assert said.get("text") == f"Hello from {saved_by} (simulated). You said: hi", (client, said)


@EVERY_CASE_AND_BREAK
def test_behind_it_every_client_raises(ask, gateway, streams, dialect, wire, end):
    """openai-node gives a response whose status is failed."""
    streams.plays(PROVIDERS[wire], ["one", " two", SHOWN, BREAKS[end]])
    for client in CLIENTS[dialect][: 1 if end == "stall" else None]:
        said = ask(client, "text", model=f"broken-{wire}", stream=True, retries=0)
        assert "error" in said or said["finish"] == "failed", (client, said)
        assert said["pieces"] > 0, (client, said)
    assert gateway.newest_receipt()["error"]["code"] == 8


@EVERY_BREAK
@pytest.mark.parametrize("dialect", ["chat", "anthropic", "gemini"])
def test_who_reads_the_events_themselves_is_told_too(ask, streams, dialect, end):
    streams.plays(PROVIDERS[dialect], ["one", " two", SHOWN, BREAKS[end]])
    said = ask(CLIENTS[dialect][0], "chunks", model=f"broken-{dialect}", stream=True, retries=0)
    assert "error" in said, said


def test_the_events_of_responses_end_with_one_that_says_it_failed(ask, streams):
    for end in (CUT, ERROR, GARBLED, STOP):
        streams.plays("openai", ["one", " two", SHOWN, end])
        said = ask("python responses", "chunks", model="broken-responses", retries=0)
        assert said["finish"] == "response.failed"


@pytest.mark.parametrize("dialect", CLIENTS)
def test_curl_is_told_by_the_connection(gateway, streams, dialect):
    """But for Responses, whose last event says it."""
    streams.plays(PROVIDERS[dialect], ["one", " two", SHOWN, CUT])
    path, body = build_body(dialect, f"broken-{dialect}")
    headers = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    said = subprocess.run(
        ["curl", "-sN", *headers, "-d", json.dumps(body), gateway.url + path],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == (0 if dialect == "responses" else 18)
    assert b"one" in said.stdout
    assert b"error" in said.stdout.split(b"two")[-1]


@EVERY_CASE
def test_the_head_of_an_answer_leaves_with_the_first_thought(gateway, streams, dialect, wire):
    goes_on = threading.Event()
    streams.plays(PROVIDERS[wire], [ThinkingToken("hm"), goes_on, "one"])
    connection = post(gateway, dialect, f"broken-{wire}")
    try:
        reply = connection.getresponse()
        first = reply.read1()
        assert reply.status == 200
        assert first
        goes_on.set()
        assert b"one" in reply.read()
    finally:
        goes_on.set()
        connection.close()


SILENT = 0.2
"""Seconds of silence in which there are several keep-alives."""
ASKED = {"chat": "chat", "responses": "chat", "anthropic": "default", "gemini": "both"}
"""The features of a gateway in this process, by the dialect of the client."""


@pytest.fixture(scope="module")
def talkative(tmp_path_factory, providers):
    """A gateway whose clients hear something fifty times a second."""
    more = "  both: {primary: google/gemini-3.8-flash, fallbacks: [openai/gpt-6.1-terra]}"
    with run_gateway(tmp_path_factory.mktemp("talk"), providers[1], more, silence_seconds=0.02) as running:
        yield running


@pytest.mark.parametrize(
    ("script", "text"),
    [([SILENT, "one ", SILENT, "two"], "one two"), ([SILENT, ERROR], "heard: hi")],
    ids=["the same target", "another target"],
)
@pytest.mark.parametrize("dialect", CLIENTS)
def test_no_client_minds_what_it_hears_while_a_target_is_silent(
    ask, talkative, streams, dialect, script, text
):
    for client in CLIENTS[dialect]:
        streams.plays(PROVIDERS[dialect], script)
        said = ask(client, "text", model=ASKED[dialect], stream=True, retries=0, base=talkative.url)
        assert said.get("text", "").endswith(text), (client, said)
