"""The scripted provider of the tests: what it says is what each wire format promises."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest
from scripted_streams import (
    BREAKS,
    CLOSE,
    CUT,
    ERROR,
    HEAD,
    PING,
    PLAIN,
    STALL,
    STOP,
    SplitToken,
    ThinkingToken,
)
from simulator_calls import PROVIDERS, build_request, post
from stream_events import INPUT, OUTPUT

from llmfail.providers import load_wire_format
from llmfail.providers.stream import BrokenStream, Finished, StreamError, TextPiece


def heard(streams, provider, *, stream=True):
    """The events of a stream, as the decoder of its format has them."""
    api = {"google": "gemini"}.get(provider, provider)
    decoder = load_wire_format(api).make_stream_decoder()
    path, document = build_request(provider, stream=stream)
    url = urlsplit(streams.base_url(provider))
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    try:
        connection.request("POST", url.path + path, json.dumps(document))
        reply, found = connection.getresponse(), []
        try:
            while data := reply.read1():
                found += decoder.feed(data)
        except http.client.HTTPException:
            pass
        return found + decoder.finish()
    finally:
        connection.close()


def text_of(found):
    return [one.text for one in found if isinstance(one, TextPiece)]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_script_is_an_answer_with_its_usage(streams, provider):
    streams.plays(provider, [PING, ThinkingToken(), "one", " two", PING, SplitToken("你"), " three"])
    *said, last = heard(streams, provider)
    assert text_of(said) == ["one", " two", "你", " three"]
    assert isinstance(last, Finished)
    assert last.completion.text == "one two你 three"
    assert (last.completion.usage.input_tokens, last.completion.usage.output_tokens) == (INPUT, OUTPUT)
    assert streams.asked(provider)[0].streamed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_may_never_be_told(streams, provider):
    streams.reports = False
    assert heard(streams, provider)[-1].completion.usage is None


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("end", BREAKS)
def test_a_script_breaks_off(streams, provider, end):
    streams.plays(provider, ["one", " two", BREAKS[end]])
    *said, last = heard(streams, provider)
    assert text_of(said) == ["one", " two"]
    assert isinstance(last, StreamError if BREAKS[end] is ERROR else BrokenStream)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("script", [[STOP], [HEAD, CUT], [CLOSE]], ids=["STOP", "CUT", "CLOSE"])
def test_a_stream_may_be_empty(streams, provider, script):
    streams.plays(provider, script)
    assert [type(one) for one in heard(streams, provider)] == [BrokenStream]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_whole_document_may_come_instead(streams, provider):
    streams.plays(provider, ["one", " two", PLAIN])
    assert heard(streams, provider)[-1].completion.text == "one two"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_asks_for_no_stream_gets_the_same_in_one(streams, provider):
    streams.plays(provider, ["one", ThinkingToken(), " two"], ["one", STOP], ["one", ERROR])
    answers = [post(streams.base_url(provider), *build_request(provider)) for _ in range(3)]
    assert '"one two"' in answers[0].body.decode()
    with pytest.raises(json.JSONDecodeError):
        json.loads(answers[1].body)
    assert "overloaded" in answers[2].body.decode().lower()
    assert not streams.asked(provider)[0].streamed


def test_a_client_that_goes_away_is_noticed(streams):
    streams.plays("openai", ["one", STALL])
    url = urlsplit(streams.base_url("openai"))
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    path, document = build_request("openai", stream=True)
    connection.request("POST", url.path + path, json.dumps(document))
    reply = connection.getresponse()
    assert streams.wait_for(lambda: streams.asked()[0].said == ["one"])
    assert not streams.asked()[0].left.is_set()
    reply.close()
    connection.close()
    assert streams.asked()[0].left.wait(10)


def test_a_test_holds_a_stream_by_an_event(streams):
    go = threading.Event()
    streams.plays("openai", ["one", go, " two"])
    threading.Timer(0.05, go.set).start()
    assert text_of(heard(streams, "openai")) == ["one", " two"]
