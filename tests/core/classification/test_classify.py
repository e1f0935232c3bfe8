"""Recorded answers of the providers (tests/data/replies), what they come to, and what follows."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.classification.body import parse
from llmfail.core.classification.classify import classify_completion, classify_error, classify_reply
from llmfail.core.classification.outcome import (
    CircuitEffect,
    DisabledScope,
    Kind,
    RoutingEffect,
)
from llmfail.core.errors import MalformedReply, WireError
from llmfail.core.model import Completion, Reply, Secret, Usage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
ROWS = [
    (path.stem, json.loads(line))
    for path in sorted((Path(__file__).parents[2] / "data" / "replies").glob("*.jsonl"))
    for line in path.read_text().splitlines()
]
# Contract, section 4: counts against the circuit, where the chain goes, what is disabled.
FOLLOWS = {
    "network": (CircuitEffect.FAILURE, RoutingEffect.NEXT, None),
    "timeout": (CircuitEffect.FAILURE, RoutingEffect.NEXT, None),
    "server_error": (CircuitEffect.FAILURE, RoutingEffect.NEXT, None),
    "overloaded": (CircuitEffect.FAILURE, RoutingEffect.NEXT, None),
    "rate_limited": (CircuitEffect.FAILURE, RoutingEffect.NEXT, None),
    "quota": (CircuitEffect.NEUTRAL, RoutingEffect.NEXT, DisabledScope.TARGET),
    "billing": (CircuitEffect.NEUTRAL, RoutingEffect.NEXT, DisabledScope.CREDENTIAL),
    "auth": (CircuitEffect.NEUTRAL, RoutingEffect.NEXT, DisabledScope.CREDENTIAL),
    "permission": (CircuitEffect.NEUTRAL, RoutingEffect.NEXT, DisabledScope.TARGET),
    "model_not_found": (CircuitEffect.NEUTRAL, RoutingEffect.NEXT, DisabledScope.TARGET),
    "context_overflow": (CircuitEffect.NEUTRAL, RoutingEffect.LARGER_CONTEXT, None),
    "content_blocked": (CircuitEffect.NEUTRAL, RoutingEffect.FEATURE_DECIDES, None),
    "refusal": (CircuitEffect.NEUTRAL, RoutingEffect.FEATURE_DECIDES, None),
    "bad_request": (CircuitEffect.NEUTRAL, RoutingEffect.STOP_AFTER_TWO_REFUSALS, None),
    "rejected_answer": (CircuitEffect.NEUTRAL, RoutingEffect.NEXT, None),
}


def reply_of(status, body, headers=None):
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply(status, headers or {}, raw)


def outcome_of(status, body, headers=None, hide=None):
    reply = reply_of(status, body, headers)
    return classify_reply(reply, parse(reply.body), NOW, hide)


def moment(text):
    return None if text is None else datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(("vendor", "row"), ROWS, ids=[f"{vendor}: {row['it']}" for vendor, row in ROWS])
def test_a_recorded_answer_comes_to_its_outcome(vendor, row):
    outcome = outcome_of(row["status"], row["body"], row.get("headers"))
    assert outcome.kind == row["kind"]
    assert outcome.status == row["status"]
    assert outcome.parameter == row.get("parameter")
    assert outcome.retry_after == pytest.approx(row["retry_after"]) if "retry_after" in row else True
    assert (outcome.retry_after is None) == ("retry_after" not in row)
    assert (
        outcome.quota_resets_at == pytest.approx(moment(row.get("until")), abs=1) if "until" in row else True
    )
    assert (outcome.quota_resets_at is None) == ("until" not in row)
    assert row.get("note", "") in outcome.note
    assert outcome.note
    then = outcome.consequence
    assert (then.circuit_effect, then.routing_effect, then.disables) == FOLLOWS[row["kind"]]


def test_there_are_enough_recorded_answers():
    assert len(ROWS) >= 90
    assert len({(vendor, row["it"]) for vendor, row in ROWS}) == len(ROWS)
    assert {row["kind"] for _, row in ROWS} == set(FOLLOWS)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [], "error": None},
        {"type": "message", "content": [], "message": "hello", "detail": "none"},
        {"choices": [{"message": {"content": "x"}, "error": None}]},
        [1, 2],
        "not JSON",
        "",
        "<html>a page</html>",
    ],
    ids=str,
)
def test_a_200_without_an_error_in_it_is_left_to_the_decoder(body):
    assert outcome_of(200, body) is None


@pytest.mark.parametrize(
    ("cause", "kind", "unreachable"),
    [
        ("resolve", Kind.NETWORK, True),
        ("route", Kind.NETWORK, True),
        ("refused", Kind.NETWORK, False),
        ("reset", Kind.NETWORK, False),
        ("tls", Kind.NETWORK, False),
        ("other", Kind.NETWORK, False),
        ("timeout", Kind.TIMEOUT, False),
        ("cut", Kind.MALFORMED, False),
        ("turn", Kind.CANCELLED, False),
    ],
)
def test_a_failure_on_the_wire_comes_to_its_outcome(cause, kind, unreachable):
    outcome = classify_error(WireError(cause, "no answer\nfrom \x1b[31mhost"))
    assert (outcome.kind, outcome.is_unreachable, outcome.status) == (kind, unreachable, None)
    assert outcome.note == "no answer from [31mhost"


def test_a_reply_that_cannot_be_decoded_is_malformed():
    assert classify_error(MalformedReply("the answer is an empty body")).kind is Kind.MALFORMED


@pytest.mark.parametrize(
    ("completion", "kind", "note"),
    [
        (Completion("hello", "stop"), Kind.OK, ""),
        (Completion("hel", "length"), Kind.OK, ""),
        (Completion("hello", "other"), Kind.OK, ""),
        (Completion("", "stop"), Kind.REJECTED_ANSWER, "no text"),
        (Completion(" \n", "stop"), Kind.REJECTED_ANSWER, "no text"),
        (Completion("", "length", Usage(5, output_tokens=9)), Kind.REJECTED_ANSWER, "reasoning"),
        (Completion("", "tool_calls"), Kind.REJECTED_ANSWER, "tool"),
        (Completion("", "refusal", detail="cyber: no"), Kind.REFUSAL, "cyber: no"),
        (Completion("I can", "refusal"), Kind.REFUSAL, "refused"),
        (Completion("", "content_filter", detail="SAFETY"), Kind.CONTENT_BLOCKED, "SAFETY"),
        (Completion("half", "other", detail="insufficient_system_resource"), Kind.OVERLOADED, "insufficient"),
        (Completion("half", "other", detail="error"), Kind.SERVER_ERROR, "error"),
        (Completion("", "other", detail="PUP_LIMITED_DISABLED"), Kind.PERMISSION, "PUP"),
        (Completion("", "other", detail="MALFORMED_RESPONSE"), Kind.MALFORMED, "MALFORMED"),
    ],
)
def test_a_decoded_answer_comes_to_its_outcome(completion, kind, note):
    outcome = classify_completion(completion)
    assert outcome.kind is kind
    assert note in outcome.note


def test_a_key_that_a_provider_echoes_is_masked_before_the_note_is_cut():
    key = "sk-" + "k" * 60
    for pad in range(120, 210):
        note = outcome_of(401, {"error": {"message": "x" * pad + key}}, hide=Secret(key)).note
        assert "kk" not in note
    assert "kk" not in outcome_of(500, " " * 9_985 + key, hide=Secret(key)).note
    taken_apart = "\x00".join(key)
    assert "kk" not in outcome_of(401, {"error": taken_apart}, hide=Secret(key)).note


def test_a_key_that_is_only_a_placeholder_is_not_masked():
    assert outcome_of(401, {"error": "no such key"}, hide=Secret("key")).note == "no such key"


def test_terminal_escapes_and_bidirectional_tricks_do_not_reach_the_note():
    note = outcome_of(500, {"error": {"message": "\x1b]0;owned\x07a\u202eb\r\n\tc\u2028d"}}).note
    assert note == "]0;ownedab c d"


WORDS = """error message detail details code type status metadata availability headers choices reason
param loc violations quotaId fieldViolations field retry_after resets_at raw object error_type
limit_source @type retryDelay innererror"""
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS.split()) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())
NAMES = """retry-after retry-after-ms location x-ratelimit-remaining x-ratelimit-reset
anthropic-ratelimit-tokens-remaining anthropic-ratelimit-tokens-reset"""
ODD = ["nan", "inf", "-1", "1e999", "0", "9" * 400, "1_0", "10000-01-01", "6m0s", "1e300"]
HEADERS = st.dictionaries(st.sampled_from(NAMES.split()), st.text(max_size=20) | st.sampled_from(ODD))


@given(st.integers(0, 1000), HEADERS, BODIES)
def test_no_reply_breaks_the_classification_and_every_note_is_one_printable_line(status, headers, body):
    outcome = classify_reply(Reply(status, headers, body), parse(body), NOW)
    if outcome is None:
        assert 200 <= status < 300
        return
    assert outcome.note.isprintable()
    assert 0 < len(outcome.note) <= 200
    assert outcome.retry_after is None or 0 < outcome.retry_after < 1e9
    assert (outcome.quota_resets_at is not None) == (outcome.kind is Kind.QUOTA)
    assert outcome.quota_resets_at is None or NOW < outcome.quota_resets_at < NOW + 1e9
