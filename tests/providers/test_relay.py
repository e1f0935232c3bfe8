"""A program's own request for endpoints that speak its dialect: what is replaced in it, and that nothing else
is; and the events of a stream on their way back.
"""

import json

import msgspec
import pytest

from llmfail.core.answer_piece import OriginalRequest, TextPiece
from llmfail.core.conversation import (
    GenerationOptions,
    Message,
    Signature,
    Text,
    Thought,
    ToolCall,
    message_of,
)
from llmfail.core.model import Endpoint, Request, Secret
from llmfail.core.redaction import MASK
from llmfail.providers import load_wire_format
from llmfail.providers.relay import Relay
from llmfail.providers.relay_events import RelayedEvents
from llmfail.providers.relay_reply import pass_headers_on

KEY = Secret("key-of-a-0123456789")
WIRES = {
    "anthropic": ("anthropic", "chat", "https://api.anthropic.com"),
    "chat": ("openai", "chat", "https://api.openai.com/v1"),
    "responses": ("openai", "responses", "https://api.openai.com/v1"),
    "gemini": ("gemini", "chat", "https://generativelanguage.googleapis.com"),
}
ODD = '{"unknown":  {"z":1.10,"a":[1,\t2],"ü":"\\u00fc\\/"}}'
BODIES = {
    "anthropic": '{"zeta": %s, "model":"claude-x","max_tokens":2000, "messages":[{"content":%s}]}',
    "chat": '{"zeta":%s,"model":"gpt-x","max_completion_tokens":2000,"messages":[{"content":%s}]}',
    "responses": '{"zeta":%s,"model":"gpt-x","max_output_tokens": 2000,"input":[{"content":%s}]}',
    "gemini": '{"zeta":%s,"generationConfig":{"maxOutputTokens":2000,"odd":{"b": 1}},"contents":[%s]}',
}
REPLACED = {"model", "stream", "stream_options"}
REQUEST = Request((message_of("user", "hi"),))


def endpoint_for(dialect, **more):
    api, door, base = WIRES[dialect]
    return Endpoint(api=api, base_url=base, model="own-model", key=KEY, door=door, **{"vendor": api, **more})


def relay_of(dialect, body=None, request=REQUEST, **more):
    written = BODIES[dialect] % (ODD, ODD) if body is None else body
    configured = more.pop("configured", GenerationOptions())
    return Relay(OriginalRequest(dialect, written.encode(), **more), request, configured)


def values_of(body):
    return {name: bytes(raw) for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def encode(relay, dialect, *, stream=False, **endpoint):
    return relay.encode(endpoint_for(dialect, **endpoint), stream=stream)


@pytest.mark.parametrize("dialect", WIRES)
@pytest.mark.parametrize("stream", [False, True])
def test_every_value_keeps_its_bytes_and_its_place_but_for_the_model(dialect, stream):
    relay = relay_of(dialect)
    call = encode(relay, dialect, stream=stream)
    sent, own = values_of(call.body), values_of(relay.original.body)
    assert [name for name in sent if name in own] == list(own)
    assert {name: sent[name] for name in own if name not in REPLACED} == {
        name: value for name, value in own.items() if name not in REPLACED
    }
    assert sent.get("model") in {None, b'"own-model"'}
    assert set(sent) - set(own) <= REPLACED


@pytest.mark.parametrize("dialect", WIRES)
@pytest.mark.parametrize("stream", [False, True])
def test_it_goes_where_a_translated_request_goes(dialect, stream):
    endpoint = endpoint_for(dialect)
    wire = load_wire_format(endpoint.api, endpoint.door)
    translated = wire.encode(REQUEST, endpoint, stream=stream)
    relayed = relay_of(dialect).encode(endpoint, stream=stream)
    assert (relayed.url, dict(relayed.headers)) == (translated.url, dict(translated.headers))
    own, sent = json.loads(translated.body), json.loads(relayed.body)
    assert {name: sent.get(name) or False for name in REPLACED & own.keys()} == {
        name: own[name] for name in REPLACED & own.keys()
    }


def test_headers_and_query_go_along_but_none_that_tells_who_asks():
    headers = {
        "anthropic-beta": "one,two",
        "anthropic-version": "2099-01-01",
        "x-api-key": "theirs",
        "authorization": "Bearer theirs",
        "host": "evil.invalid",
        "content-length": "1",
    }
    relay = relay_of("anthropic", headers=headers, query="beta=true&key=theirs")
    call = encode(relay, "anthropic")
    assert call.url == "https://api.anthropic.com/v1/messages?beta=true"
    assert call.headers["anthropic-beta"] == "one,two"
    assert call.headers["anthropic-version"] == "2099-01-01"
    assert call.headers["x-api-key"] == KEY.reveal()
    assert not {"authorization", "host", "content-length"} & call.headers.keys()


@pytest.mark.parametrize("dialect", WIRES)
def test_the_longest_answer_is_the_one_that_budgets_hold(dialect):
    request = Request(REQUEST.messages, max_tokens=77)
    sent = json.loads(encode(relay_of(dialect, request=request), dialect).body)
    limits = sent.get("generationConfig", sent)
    assert 77 in limits.values()
    assert 2000 not in limits.values()


def test_a_body_without_a_limit_gets_the_one_of_its_endpoint():
    sent = json.loads(encode(relay_of("chat", '{"messages":[]}'), "chat").body)
    assert sent["max_completion_tokens"] == REQUEST.max_tokens
    refused = encode(relay_of("chat"), "chat", dropped_parameters=frozenset({"max_tokens"}))
    assert "max_completion_tokens" not in json.loads(refused.body)
    assert json.loads(refused.body)["max_tokens"] == REQUEST.max_tokens


def test_what_an_endpoint_refused_is_left_out():
    body = '{"temperature":1,"stop":["x"],"top_p":0.5,"messages":[]}'
    dropped = frozenset({"temperature", "stop", "top_p"})
    sent = json.loads(encode(relay_of("chat", body), "chat", dropped_parameters=dropped).body)
    assert not {"temperature", "stop", "top_p"} & sent.keys()


def test_what_the_configuration_says_stands_where_the_program_says_nothing():
    request = Request(REQUEST.messages, temperature=0.25)
    configured = GenerationOptions(effort="high", top_p=0.5)
    body = '{"top_p":0.75,"messages":[],"custom":{"a":1}}'
    relay = relay_of("chat", body, request, configured=configured)
    sent = json.loads(encode(relay, "chat", body={"custom": {"b": 2}, "more": True}).body)
    assert (sent["reasoning_effort"], sent["top_p"], sent["temperature"]) == ("high", 0.75, 0.25)
    assert (sent["custom"], sent["more"]) == ({"a": 1, "b": 2}, True)


def test_only_an_endpoint_of_its_dialect_takes_it():
    reached = {(own, other) for own in WIRES for other in WIRES if relay_of(own).reaches(endpoint_for(other))}
    assert reached == {(own, own) for own in WIRES}
    vertex = Endpoint(api="vertex", base_url="", model="claude-x", key=KEY, vendor="anthropic")
    assert not relay_of("anthropic").reaches(vertex)


@pytest.mark.parametrize("part", [Thought("hm"), ToolCall("c", "f", "{}"), Text("x")])
def test_a_signature_is_not_passed_on_to_another_vendor(part):
    def reaches(dialect, there, vendor):
        signed = msgspec.structs.replace(part, signature=Signature(vendor, "s"))
        request = Request((Message("assistant", (signed,)),))
        return relay_of(dialect, request=request).reaches(there)

    skin = msgspec.structs.replace(endpoint_for("anthropic"), vendor="deepseek")
    assert reaches("anthropic", endpoint_for("anthropic"), "anthropic")
    assert not reaches("anthropic", skin, "anthropic")
    assert not reaches("chat", endpoint_for("chat"), "google")


def test_a_schema_that_was_refused_has_to_be_translated():
    request = Request(REQUEST.messages, schema={"type": "object"})
    for name in ("schema", "response_format"):
        refusing = endpoint_for("chat", dropped_parameters=frozenset({name}))
        assert not relay_of("chat", request=request).reaches(refusing)
        assert relay_of("chat").reaches(refusing)


def test_what_only_the_original_has_is_part_of_its_identity():
    plain = '{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"user":"u"}'
    assert relay_of("chat", plain).digest() == ""
    bodies = [plain.replace('"user":"u"', more) for more in ('"n":2', '"n":3', '"zeta":{"a":1}')]
    digests = [relay_of("chat", one).digest() for one in bodies]
    digests += [relay_of("chat", plain, headers={"openai-beta": one}).digest() for one in ("a", "b")]
    assert len({*digests, ""}) == 6
    for same in ('"n":2,"user":"v"', '"n":2,"metadata":{}', '"n":2,"prompt_cache_key":"x"'):
        assert relay_of("chat", plain.replace('"user":"u"', same)).digest() == digests[0]


def text_event(text):
    return f"event: delta\ndata: {json.dumps({'id': 'x', 'delta': {'text': text}, 'odd': 1.10})}\n\n".encode()


def pass_on(*texts, key=KEY, hides_usage=False):
    relayed = RelayedEvents(key, hides_usage=hides_usage)
    passed = [relayed.pass_on(text_event(one), [TextPiece(one)]) for one in texts]
    return [*passed, relayed.flush()]


def text_of(events):
    lines = (line for line in events.decode().splitlines() if line.startswith("data: "))
    return "".join(json.loads(line[6:])["delta"]["text"] for line in lines)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 3, 7, 100, 10_000])
def test_events_are_passed_on_whole_and_byte_by_byte(end, size):
    body = (
        b"".join(f"event: e{end}data: {{}}{end}{end}: c{end}{end}".encode() for _ in range(50)) + b"data: x"
    )
    relayed = RelayedEvents(KEY, hides_usage=False)
    cut = [one for start in range(0, len(body), size) for one in relayed.cut(body[start : start + size])]
    assert all(one.endswith((end * 2).encode()) for one in cut)
    assert b"".join([*cut, *relayed.cut(b"")]) == body


def test_an_error_is_cut_off_from_what_came_before_it():
    relayed = RelayedEvents(KEY, hides_usage=False)
    assert list(relayed.cut(b"data: 1\n\nevent: error\ndata: 2\n\n")) == [
        b"data: 1\n\n",
        b"event: error\ndata: 2\n\n",
    ]


def test_events_without_the_key_are_passed_on_at_once():
    texts = ["Hel", "lo k", " there"]
    assert pass_on(*texts) == [*map(text_event, texts), b""]


@pytest.mark.parametrize("cut", range(1, len(KEY.reveal())))
def test_a_key_that_events_cut_in_two_is_not_passed_on(cut):
    key = KEY.reveal()
    passed = b"".join(pass_on(f"it is {key[:cut]}", f"{key[cut:]} fine", "."))
    said = text_of(passed)
    shown = said.replace(MASK, "")
    assert said.endswith(" fine.")
    assert MASK in said
    assert len(max(key[:4], shown[6:-6], key=len)) <= 4
    assert b'"odd":1.1' in passed


def test_a_key_in_single_characters_is_not_passed_on():
    passed = b"".join(pass_on(*f"it is {KEY.reveal()} fine"))
    said = text_of(passed)
    assert MASK in said
    assert KEY.reveal()[4:] not in said


def test_a_key_in_any_field_is_not_passed_on():
    relayed = RelayedEvents(KEY, hides_usage=False)
    passed = relayed.pass_on(f'data: {{"id":"{KEY.reveal()}"}}\n\n'.encode(), [])
    assert passed == f'data: {{"id":"{MASK}"}}\n\n'.encode()


def test_usage_that_was_asked_for_by_us_alone_is_not_passed_on():
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    last = b'data: {"choices":[{"delta":{}}],"usage":null}\n\n'
    for hides, passed in ((True, last + b"data: [DONE]\n\n"), (False, last + usage + b"data: [DONE]\n\n")):
        relayed = RelayedEvents(None, hides_usage=hides)
        assert relayed.pass_on(last + usage + b"data: [DONE]\n\n", []) == passed
    assert relay_of("chat").hides_usage
    asked = '{"stream_options":{"include_usage":true,"x":1},"messages":[]}'
    assert not relay_of("chat", asked).hides_usage
    assert values_of(encode(relay_of("chat", asked), "chat", stream=True).body)["stream_options"] == (
        b'{"include_usage":true,"x":1}'
    )


def test_headers_of_a_provider_are_passed_on_without_the_key():
    endpoint = Endpoint("openai", "https://x.example", "m", KEY)
    told = {"x-request-id": f"req of {KEY.reveal()}", "content-type": "text/event-stream"}
    passed = pass_headers_on({**told, "set-cookie": "a=b"}, endpoint)
    assert passed.keys() == told.keys()
    assert KEY.reveal() not in passed["x-request-id"]
