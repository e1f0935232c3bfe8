"""A request that is kept for later: its form as text, and when it is asked again."""

import json
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.conversation import Attachment, GenerationOptions, Tool, ToolChoice, message_of
from llmfail.core.degrade.queue_item import (
    QueueItem,
    backoff,
    dump_ask,
    load_ask,
    reschedule,
)
from llmfail.core.model import Target
from llmfail.core.records.record import is_newer
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import Expectation

TEXTS = st.text(max_size=20)
SECONDS = st.floats(0, 1e9)
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.none() | st.dictionaries(TEXTS, DOCUMENTS, max_size=3)


def tuples(of):
    return st.lists(of, max_size=3).map(tuple)


ATTACHMENTS = st.builds(Attachment, TEXTS, st.sampled_from(["text/plain", "image/png"]), st.binary())
MESSAGES = st.builds(message_of, st.sampled_from(["user", "assistant"]), TEXTS, tuples(ATTACHMENTS))
EXPECTATIONS = st.builds(
    Expectation,
    nonempty=st.booleans(),
    complete=st.booleans(),
    json=st.booleans(),
    patterns=tuples(TEXTS),
    schema=SCHEMAS,
)
OPTIONS = {
    "feature": TEXTS,
    "targets": tuples(st.builds(Target, NAMES, NAMES)),
    "system": st.none() | TEXTS,
    "schema": SCHEMAS,
    "max_tokens": st.none() | st.integers(1, 10**6),
    "temperature": st.none() | st.floats(0, 2),
    "stop": tuples(TEXTS),
    "timeout": st.none() | SECONDS,
    "deadline": st.none() | SECONDS,
    "fallback": st.booleans(),
    "ref": st.none() | TEXTS | st.integers(0, 10**9),
    "max_cost": st.none() | st.integers(0, 10**18),
    "user": st.none() | TEXTS,
    "session": st.none() | TEXTS,
    "key": st.none() | TEXTS,
    "id": st.none() | TEXTS,
    "traceparent": st.none() | TEXTS,
    "template": st.none() | TEXTS,
    "parameters": st.dictionaries(TEXTS, TEXTS, max_size=3),
    "expect": EXPECTATIONS,
    "cache": st.sampled_from(["use", "refresh", "off"]),
    "strict": st.booleans(),
    "wait": SECONDS,
    "queue": st.booleans(),
    "stream": st.booleans(),
    "hedge": st.none() | SECONDS | st.just("p95"),
    "tools": tuples(st.builds(Tool, NAMES, st.none() | TEXTS, SCHEMAS, st.none() | st.booleans())),
    "tool_choice": st.none() | st.builds(ToolChoice, st.sampled_from(["auto", "none", "named"]), NAMES),
    "parallel_tools": st.none() | st.booleans(),
    "options": st.builds(
        GenerationOptions,
        effort=st.sampled_from([None, "low", "max"]),
        top_p=st.none() | st.floats(0, 1),
        seed=st.none() | st.integers(0, 10**9),
        service_tier=st.none() | TEXTS,
    ),
    "schema_name": TEXTS,
    "schema_strict": st.none() | st.booleans(),
    "json": st.booleans(),
    "marks": st.none() | st.dictionaries(NAMES, st.dictionaries(NAMES, DOCUMENTS, max_size=2), max_size=2),
    "dimensions": st.none() | st.integers(1, 10**4),
    "has_token_ids": st.booleans(),
}
ASKS = st.fixed_dictionaries({"messages": tuples(MESSAGES)}, optional=OPTIONS).map(lambda given: Ask(**given))


def test_the_property_below_is_of_every_option():
    assert {"messages", *OPTIONS} == set(Ask.__struct_fields__)


@given(ASKS)
def test_an_ask_comes_back_as_it_was(ask):
    assert load_ask(dump_ask(ask)) == ask


def test_the_text_is_json_of_a_version_with_attachments_in_base64():
    text = dump_ask(Ask(to_messages("Hi", Attachment("a.bin", "text/plain", b"\x00\xff"))))
    document = json.loads(text)
    assert document["v"] == 1
    assert document["ask"]["messages"][0]["content"][0]["data"] == "AP8="
    assert not is_newer(text)


def test_broken_characters_become_question_marks_and_any_mapping_will_do():
    ask = Ask(to_messages("a\ud800b"), parameters=MappingProxyType({"cv": "x"}))
    kept = load_ask(dump_ask(ask))
    assert (kept.prompt, kept.parameters) == ("a?b", {"cv": "x"})


def test_options_that_an_earlier_text_does_not_have_are_the_defaults():
    text = '{"v":1,"ask":{"messages":[{"role":"user","content":"Hi"}]}}'
    assert load_ask(text) == Ask(to_messages("Hi"))


WHOLE = dump_ask(Ask(to_messages("Hi"), max_tokens=5))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"v":1}',
        '{"v":1,"ask":null}',
        WHOLE[:-1],
        WHOLE.replace('"user"', '"somebody"'),
        WHOLE.replace('"max_tokens":5', '"max_tokens":"many"'),
        WHOLE.replace("Hi", "\ufffd\x00"),
        "[" * 100_000,
    ],
)
def test_a_damaged_text_is_no_ask_and_not_of_a_newer_version(text):
    assert load_ask(text) is None
    assert not is_newer(text)


def test_a_text_of_a_newer_version_is_known_as_that():
    text = WHOLE.replace('"v":1', '"v":2')
    assert load_ask(text) is None
    assert is_newer(text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("utf-8", "replace")))
def test_no_text_at_all_makes_it_fail(text):
    assert load_ask(text) is None


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (7, 1920), (8, 3600), (10**9, 3600)]
)
def test_the_rest_doubles_up_to_an_hour(attempts, seconds):
    assert backoff(attempts) == seconds


@pytest.mark.parametrize(
    ("item", "told", "called", "expected"),
    [
        (QueueItem("A", "vpr", 0, 1e6), None, True, (None, 130)),
        (QueueItem("A", "vpr", 0, 1e6, attempts=2), 500, True, (500, 220)),
        (QueueItem("A", "vpr", 0, 1e6, retry_at=900), 90, True, (90, 130)),
        (QueueItem("A", "vpr", 0, 1e6), 500, False, (500, None)),
        (QueueItem("A", "vpr", 0, 1e6, attempts=9), None, False, (3700, None)),
        (QueueItem("A", "vpr", 0, 1e6, retry_at=100), 100, False, (3700, None)),
        (QueueItem("A", "vpr", 0, 1e6, retry_at=101), 500, False, (500, 130)),
        (QueueItem("A", "vpr", 0, 1e6, retry_at=101), None, False, (3700, 130)),
    ],
)
def test_what_was_called_in_vain_rests_and_what_was_not_waits_for_its_moment(item, told, called, expected):
    assert reschedule(item, 100, told, called=called) == expected


@pytest.mark.parametrize(
    ("retry_at", "rests_until", "again_at", "rests", "has_come"),
    [
        (None, None, None, False, True),
        (50, None, 50, False, True),
        (150, None, 150, False, False),
        (None, 150, 150, True, True),
        (150, 120, 150, True, False),
        (120, 150, 150, True, False),
        (100, 100, 100, False, True),
    ],
)
def test_it_is_asked_again_when_both_moments_are_over(retry_at, rests_until, again_at, rests, has_come):
    item = QueueItem("A", "vpr", 0, 1000, retry_at=retry_at, rests_until=rests_until)
    assert (item.next_try_at, item.is_backing_off(100), item.has_reached_retry_at(100)) == (
        again_at,
        rests,
        has_come,
    )


def test_the_json_has_the_moments_in_utc_and_nothing_of_the_prompt():
    ask = Ask(to_messages("a secret"))
    item = QueueItem("A", "vpr", 0.0, 86400.0, 2, 60.0, 59.0, "a note", "an answer", ask)
    assert item.to_json() == {
        "id": "A",
        "created_at": "1970-01-01T00:00:00Z",
        "feature": "vpr",
        "attempts": 2,
        "retry_at": "1970-01-01T00:01:00Z",
        "expires_at": "1970-01-02T00:00:00Z",
        "configuration": None,
    }
    assert "secret" not in msgspec.json.encode(item.to_json()).decode()
