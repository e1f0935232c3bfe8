"""Whose money and whose limits an ask over HTTP counts in, and what the request log tells of it."""

import json
import re
from datetime import date

import jsonschema
import pytest
from running_gateway import run_gateway

from llmfail.core.reports.figures import duration
from llmfail.server.program_keys import ProgramKeys
from llmfail.settings.schema.serve_settings import ServeKey, ServeSettings
from llmfail.settings.schema.settings import Settings
from llmfail.simulator import Simulator, parse_faults

CHAT = "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
EMBED = "/v1/embeddings", {"model": "vectors", "input": "one"}
MESSAGES = "/v1/messages", {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
KEYS = """\
serve:
  user_from: {user_from}
  keys:
    - name: ann
      key: key-of-ann
      limits: {{requests_per_minute: {rate}, burst: {rate}}}
      may_name_users: true
    - {{name: bob, key: key-of-bob, limits: {{tokens_per_minute: 30}}}}
    - {{name: eve, key: key-of-eve}}
budgets:
  - {{name: of-keys, limit: 3, unit: requests, per: day, each: key}}
  - {{name: of-users, limit: 2, unit: requests, per: day, each: user}}
"""
ANN, BOB, EVE = ({"x_api_key": f"key-of-{name}"} for name in ("ann", "bob", "eve"))


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


@pytest.fixture
def start(tmp_path, simulator):
    def start(user_from="key", rate=100, more=""):
        return run_gateway(tmp_path, simulator, KEYS.format(user_from=user_from, rate=rate) + more)

    yield start
    simulator.set_faults(parse_faults("none"))


def test_a_key_asks_as_often_as_it_may(start):
    with start(rate=2) as gateway:
        statuses = [gateway.post(*one, **ANN).status for one in (CHAT, MESSAGES, CHAT)]
        refused = gateway.post(*CHAT, **ANN)
        assert (statuses, refused.status) == ([200, 200, 429], 429)
        assert refused.json["error"]["type"] == "rate_limit_exceeded"
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        assert re.fullmatch(
            r"the key ann has asked as often as it may \(2 requests per minute\); it may ask again in \d+s",
            refused.json["error"]["message"],
        )
        assert gateway.post(*CHAT, **EVE).status == 200


def test_a_key_uses_as_many_tokens_as_it_may(start):
    with start() as gateway:
        assert gateway.post(*CHAT, **BOB).status == 200
        refused = gateway.post(*CHAT, **BOB)
        assert refused.status == gateway.post(*CHAT, **BOB).status == 429
        message = refused.json["error"]["message"]
        told = (
            r"the key bob has used as many tokens as it may \(30 tokens per minute\); it may ask again in \S+"
        )
        assert re.fullmatch(told, message)
        assert message.endswith(f" {duration(int(refused.headers['retry-after']))}")


@pytest.mark.parametrize("asks", [[CHAT, MESSAGES, CHAT], [EMBED, CHAT, EMBED]], ids=["answers", "vectors"])
def test_a_budget_of_the_key_covers_every_route(start, asks):
    with start(user_from="header") as gateway:
        names = iter("abcdef")
        statuses = [gateway.post(*one, **ANN, x_llmfail_user=next(names)).status for one in (*asks, *asks)]
        assert statuses == [200, 200, 200, 402, 402, 402]
        assert gateway.post(*CHAT, **EVE).status == 200


@pytest.mark.parametrize(
    ("user_from", "key", "header", "field", "user"),
    [
        ("key", ANN, "header", "body", "ann"),
        ("header", ANN, "header", "body", "header"),
        ("header", ANN, None, "body", "ann"),
        ("header", EVE, "header", "body", "eve"),
        ("body", ANN, "header", "body", "body"),
        ("body", ANN, "header", None, "ann"),
        ("body", EVE, "header", "body", "eve"),
    ],
)
def test_whose_budget_it_is(start, user_from, key, header, field, user):
    with start(user_from=user_from) as gateway:
        body = CHAT[1] if field is None else {**CHAT[1], "user": field}
        named = {} if header is None else {"x_llmfail_user": header}
        for _ in range(2):
            assert gateway.post(CHAT[0], body, **key, **named).status == 200
        assert gateway.post(CHAT[0], body, **key, **named).status == 402
        assert {line["user"] for line in gateway.log} == {user}


def test_what_claude_code_says_of_its_device_is_no_user(start):
    with start(user_from="body") as gateway:
        body = {**MESSAGES[1], "metadata": {"user_id": '{"device_id": "secret"}'}}
        assert gateway.post(MESSAGES[0], body, **ANN).status == 200
        assert "secret" not in json.dumps(gateway.log)


def test_a_key_is_in_force_through_its_last_day():
    key = ServeKey(name="a", sha256="0" * 64, expires=date(2027, 1, 2))
    assert not key.has_expired(date(2027, 1, 2))
    assert key.has_expired(date(2027, 1, 3))


def test_a_key_whose_variable_is_not_set_lets_nobody_in():
    keys = ProgramKeys(Settings(serve=ServeSettings(keys=(ServeKey(name="a"),))))
    assert not keys.is_open
    assert keys.find({"x-api-key": ""}) is None


NULLABLE_TEXT, NULLABLE_COUNT = {"type": ["string", "null"]}, {"type": ["integer", "null"], "minimum": 0}
LINE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "time": {"type": "string", "format": "date-time"},
        "id": {"type": "string", "minLength": 26},
        "method": {"type": "string"},
        "path": {"type": "string"},
        "dialect": {"enum": ["chat", "responses", "anthropic", "gemini", None]},
        "tier": {"type": ["integer", "null"]},
        "status": {"type": "integer", "minimum": 200, "maximum": 599},
        "ms": {"type": "integer", "minimum": 0},
        "attempts": {"type": "integer", "minimum": 0},
        "dropped": {"type": "array", "items": {"type": "string"}},
        "stream": {"type": "boolean"},
        "client_gone": {"type": "boolean"},
        **dict.fromkeys(("first_token_ms", "input_tokens", "output_tokens"), NULLABLE_COUNT),
        **dict.fromkeys(
            ("key", "user", "feature", "model", "target", "source", "error", "cost_usd", "tags"),
            NULLABLE_TEXT,
        ),
    },
}
LINE["required"] = list(LINE["properties"])


def test_every_line_of_the_log_has_the_same_form_and_no_text_of_a_request(start, simulator):
    with start() as gateway:
        gateway.post(*CHAT, **EVE)
        gateway.post(CHAT[0], {**CHAT[1], "stream": True}, **EVE)
        gateway.post(*EMBED, **EVE)
        gateway.post(CHAT[0], b"{", **ANN)
        gateway.post(*CHAT)
        gateway.get("/v1/nothing?secret-of-the-query", **ANN)
        simulator.set_faults(parse_faults("all=503"))
        gateway.post(*CHAT, **ANN)
        lines = gateway.log
    for line in lines:
        jsonschema.validate(line, LINE)
    assert [line["status"] for line in lines] == [200, 200, 402, 400, 401, 404, 503]
    assert [line["key"] for line in lines] == ["eve", "eve", "eve", "ann", None, None, "ann"]
    told = json.dumps(lines)
    assert not [
        word for word in ("hi", "secret", "key-of", "Hello") if f'"{word}' in told or word == "secret" in told
    ]


def test_two_gateways_tell_of_an_alert_once(tmp_path, simulator):
    """In ``serve`` as in ``watch``: the first that judges tells."""
    simulator.set_faults(parse_faults("all=503"))
    more = "alerts: {min_requests: 1, window: 1m}"
    with run_gateway(tmp_path, simulator, more) as one, run_gateway(tmp_path, simulator, more) as two:
        for _ in range(3):
            assert one.post(*CHAT).status == 503
        told = [
            gateway.run(gateway.gateway.configuration.client.judge_alerts()) for gateway in (one, two, one)
        ]
        assert [bool(notices) for _, notices in told] == [True, False, False]
