"""The official SDKs read what is written for programs, whole, streamed and broken off."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from llmfail.core.answer_piece import AnswerBegun, TextPiece
from llmfail.core.conversation import Signature, Text, Thought, ToolCall
from llmfail.core.model import Embedding, Target, Usage
from llmfail.core.receipt import Failure, Receipt, TrailEntry
from llmfail.providers.dialects.client_request import read_client_request
from llmfail.providers.dialects.embedding_request import read_embedding_request
from llmfail.providers.replies.answer_blocks import list_pieces
from llmfail.providers.replies.embedding_reply import write_embeddings
from llmfail.providers.replies.error_reply import ErrorReply, error_from_receipt, write_error
from llmfail.providers.replies.model_list import write_model_list
from llmfail.providers.replies.reply_writer import AskedReply, make_reply_writer

TARGET = Target("there", "served")
PARTS = (
    Thought("hm", Signature("x.example", "SEAL")),
    Text("Hello"),
    ToolCall("call_1", "weather", '{"city":"Rome"}', Signature("google", "U0VBTA==")),
    ToolCall("call_2", "time", "{}"),
)
USAGE = Usage(input_tokens=10, cached_input_tokens=4, output_tokens=7, reasoning_tokens=2)
RECEIPT = Receipt(
    "01H",
    "chat",
    answer="Hello",
    parts=PARTS,
    source="model",
    target=TARGET,
    response_model="served",
    finish_reason="tool_calls",
    usage=USAGE,
)
BROKEN = Receipt("01H", "chat", error=Failure(8, "incomplete", "there/served: the answer broke off"))
VECTORS = ((0.5, -0.25), (1.0, 2.0))


class Replies(ThreadingHTTPServer):
    """Answers each request with what ``reply`` makes of it: a status, headers, a body, and whether it ends as
    HTTP wants it. ``bodies`` are what was asked.
    """

    daemon_threads = True

    def __init__(self):
        self.reply = None
        self.bodies = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.bodies.append(body)
        status, headers, pieces, is_clean = self.server.reply(self.path, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in filter(None, pieces):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if is_clean:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with Replies() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def dialect_of(path):
    if "/messages" in path:
        return "anthropic"
    if ":" in path:
        return "gemini"
    return "responses" if "/responses" in path else "chat"


def read_asked(path, body):
    """As the gateway does it."""
    head, _, query = path.partition("?")
    model, _, verb = head.rpartition("/models/")[2].partition(":")
    pairs = dict(one.split("=") for one in query.split("&") if one)
    found = read_client_request(dialect_of(path), body, model=model, verb=verb, query=pairs)
    asked = found.asked
    return AskedReply(
        asked.dialect, asked.model, "01H", 1_700_000_000, asked.stream, asked.include_usage, asked.as_array
    )


def answer(path, body):
    asked = read_asked(path, body)
    writer = make_reply_writer(asked)
    if not asked.stream:
        return 200, {"content-type": "application/json"}, [writer.write_whole(RECEIPT)], True
    begun = AnswerBegun(TARGET, "served", is_relayed=False)
    pieces = [writer.keep_alive, writer.begin(begun), writer.keep_alive]
    pieces += [one for piece in list_pieces(PARTS) for one in (writer.write_piece(piece), writer.keep_alive)]
    return 200, {"content-type": "text/event-stream"}, [*pieces, writer.finish(RECEIPT)], True


def break_off(path, body):
    writer = make_reply_writer(read_asked(path, body))
    begun = AnswerBegun(TARGET, "served", is_relayed=False)
    frame, is_clean = writer.break_off(BROKEN)
    pieces = [writer.begin(begun), writer.write_piece(TextPiece("Hel")), frame]
    return 200, {"content-type": "text/event-stream"}, pieces, is_clean


def refuse(error):
    def reply(path, _body):
        status, body, headers = write_error(dialect_of(path), error)
        return status, headers, [body], True

    return reply


@pytest.fixture
def chat(server):
    with openai.OpenAI(api_key="made-up", base_url=f"{server.url}/v1") as client:
        yield client


@pytest.fixture
def claude(server):
    with anthropic.Anthropic(api_key="made-up", base_url=server.url) as client:
        yield client


@pytest.fixture
def gemini(server):
    with genai.Client(api_key="made-up", http_options=types.HttpOptions(base_url=server.url)) as client:
        yield client


HI = [{"role": "user", "content": "Hi"}]
BASICS = {"model": "m", "max_tokens": 99, "messages": HI}


def ask_chat(client, *, streamed):
    if not streamed:
        return client.chat.completions.create(model="m", messages=HI)
    with client.chat.completions.stream(
        model="m", messages=HI, stream_options={"include_usage": True}
    ) as stream:
        return stream.get_final_completion()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_openai_reads_a_chat(server, chat, streamed):
    server.reply = answer
    found = ask_chat(chat, streamed=streamed)
    (choice,) = found.choices
    assert (choice.message.content, choice.finish_reason, found.model) == ("Hello", "tool_calls", "served")
    assert choice.message.reasoning_content == "hm"
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert calls == [("weather", {"city": "Rome"}), ("time", {})]
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (10, 7)
    assert (found.usage.prompt_tokens_details.cached_tokens, found.usage.cost_usd) == (4, "0")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_openai_reads_a_response(server, chat, streamed):
    server.reply = answer
    if streamed:
        with chat.responses.stream(model="m", input="Hi") as stream:
            found = stream.get_final_response()
    else:
        found = chat.responses.create(model="m", input="Hi")
    assert (found.output_text, found.status, found.model) == ("Hello", "completed", "served")
    assert [item.type for item in found.output] == ["reasoning", "message", "function_call", "function_call"]
    assert found.output[0].summary[0].text == "hm"
    assert [json.loads(item.arguments) for item in found.output[2:]] == [{"city": "Rome"}, {}]
    assert found.usage.input_tokens_details.cached_tokens == 4


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_anthropic_reads_a_message(server, claude, streamed):
    server.reply = answer
    if streamed:
        with claude.messages.stream(**BASICS) as stream:
            found = stream.get_final_message()
    else:
        found = claude.messages.create(**BASICS)
    assert (found.stop_reason, found.model) == ("tool_use", "served")
    kinds = [block.type for block in found.content]
    assert kinds == ["thinking", "text", "redacted_thinking", "tool_use", "tool_use"]
    thought, text, _, *calls = found.content
    assert (thought.thinking, bool(thought.signature), text.text) == ("hm", True, "Hello")
    assert [call.input for call in calls] == [{"city": "Rome"}, {}]
    assert (found.usage.input_tokens, found.usage.output_tokens) == (6, 7)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_google_reads_an_answer_and_gives_back_what_signs_it(server, gemini, streamed):
    server.reply = answer
    if streamed:
        found = list(gemini.models.generate_content_stream(model="m", contents="Hi"))
        parts = [part for one in found for part in one.candidates[0].content.parts]
        last = found[-1]
    else:
        last = gemini.models.generate_content(model="m", contents="Hi")
        parts = last.candidates[0].content.parts
    assert "".join(part.text for part in parts if part.text and not part.thought) == "Hello"
    assert "".join(part.text for part in parts if part.thought) == "hm"
    calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
    assert calls == [("weather", {"city": "Rome"}), ("time", {})]
    assert (last.candidates[0].finish_reason.name, last.usage_metadata.prompt_token_count) == ("STOP", 10)
    gemini.models.generate_content(model="m", contents=[types.Content(role="model", parts=parts)])
    (again,) = read_client_request("gemini", server.bodies[-1], model="m").document.messages
    signatures = [(type(part), part.signature) for part in again.parts if part != Text("Hello")]
    call = Signature("google", "U0VBTA==")
    assert signatures == [
        (Thought, Signature("x.example", "SEAL")),
        (ToolCall, call),
        (ToolCall, None),
    ]


def test_no_sdk_takes_half_an_answer_for_a_whole_one(server, chat, claude, gemini):
    server.reply = break_off
    with pytest.raises(openai.APIError, match="broke off"):
        list(chat.chat.completions.create(model="m", messages=HI, stream=True))
    with pytest.raises(RuntimeError), chat.responses.stream(model="m", input="Hi") as stream:
        stream.get_final_response()
    *_, last = chat.responses.create(model="m", input="Hi", stream=True)
    assert (last.type, "broke off" in last.response.error.message) == ("response.failed", True)
    with (
        pytest.raises(anthropic.APIStatusError, match="broke off"),
        claude.messages.stream(**BASICS) as stream,
    ):
        stream.get_final_message()
    with pytest.raises(errors.ServerError, match="broke off"):
        list(gemini.models.generate_content_stream(model="m", contents="Hi"))


DOWN = Receipt(
    "01H",
    "chat",
    error=Failure(3, "unavailable", "no target could answer"),
    trail=(TrailEntry(TARGET, "called", "server_error", status=500, note="on fire"),),
)
ERRORS = {
    "unauthorized": (
        ErrorReply("unauthorized", "no key"),
        (openai.AuthenticationError, anthropic.AuthenticationError, errors.ClientError),
    ),
    "unknown model": (
        ErrorReply("unknown_model", "no such model"),
        (openai.NotFoundError, anthropic.NotFoundError, errors.ClientError),
    ),
    "over budget": (
        ErrorReply("over_budget", "no money"),
        (openai.APIStatusError, anthropic.APIStatusError, errors.ClientError),
    ),
    "unreadable": (
        ErrorReply("unreadable", "no JSON"),
        (openai.BadRequestError, anthropic.BadRequestError, errors.ClientError),
    ),
    "down": (
        error_from_receipt(DOWN, 0.0),
        (openai.InternalServerError, anthropic.APIStatusError, errors.ServerError),
    ),
    "deadline": (
        ErrorReply("deadline", "too late"),
        (openai.InternalServerError, anthropic.APIStatusError, errors.ServerError),
    ),
    "rate limit for an hour": (
        ErrorReply("rate_limited", "slow down", retry_after=3600.0),
        (openai.RateLimitError, anthropic.RateLimitError, errors.ClientError),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_the_one_of_its_family_and_no_sdk_asks_again(server, chat, claude, gemini, name):
    error, (of_openai, of_anthropic, of_google) = ERRORS[name]
    server.reply, server.bodies[:] = refuse(error), []
    said = error.message.split(" (", maxsplit=1)[0]
    with pytest.raises(of_openai, match=said):
        ask_chat(chat, streamed=False)
    with pytest.raises(of_openai, match=said):
        chat.responses.create(model="m", input="Hi")
    with pytest.raises(of_anthropic, match=said):
        claude.messages.create(**BASICS)
    with pytest.raises(of_google, match=said):
        gemini.models.generate_content(model="m", contents="Hi")
    assert len(server.bodies) == 4


def test_vectors_are_read_in_the_way_in_which_they_were_asked_for(server, chat, gemini):
    receipt = Receipt("01H", "embed", embedding=Embedding(VECTORS), usage=Usage(input_tokens=3))

    def embed(path, body):
        model, _, verb = path.partition("?")[0].rpartition("/models/")[2].partition(":")
        asked = read_embedding_request(dialect_of(path), body, model=model, verb=verb)
        return 200, {"content-type": "application/json"}, [write_embeddings(asked, receipt)], True

    server.reply = embed
    for more in ({}, {"encoding_format": "float"}):
        found = chat.embeddings.create(model="m", input=["a", "b"], **more)
        assert [tuple(one.embedding) for one in found.data] == list(VECTORS)
    found = gemini.models.embed_content(model="m", contents=["a", "b"])
    assert [tuple(one.values) for one in found.embeddings] == list(VECTORS)


def test_the_models_are_listed(server, chat, claude):
    body = write_model_list("chat", ("chat", "vpr"), 1_700_000_000)
    server.reply = lambda _path, _body: (200, {"content-type": "application/json"}, [body], True)
    assert [model.id for model in chat.models.list()] == ["chat", "vpr"]
    assert [model.display_name for model in claude.models.list()] == ["chat", "vpr"]
