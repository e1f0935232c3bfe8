"""A key goes no further, whatever form it comes back in."""

import base64
import html
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.model import Secret
from llmfail.core.redaction import (
    MASK,
    StreamRedactor,
    is_masked_in_answers,
    mask_key,
)

KEYS = ["sk-ant-api03-abcDEF_123", "a/b+c=d&e<f>'g\"h\\i", "ключ-ключ-ключ"]
FORMS = [
    str,
    lambda key: json.dumps(key)[1:-1],
    lambda key: json.dumps(key, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    lambda key: repr(key)[1:-1],
    html.escape,
    quote,
    lambda key: quote(key, safe=""),
    lambda key: key.encode().hex(),
    lambda key: key.encode().hex().upper(),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_masked_and_what_stands_around_it_stays(key, form):
    assert mask_key(f"before {form(key)} after", Secret(key)) == f"before {MASK} after"


ENCODERS = [base64.b64encode, base64.urlsafe_b64encode]


@given(st.sampled_from(ENCODERS), st.sampled_from(KEYS), st.binary(max_size=8), st.binary(max_size=8))
def test_base64_is_masked_wherever_the_key_stands_in_it(encode, key, before, after):
    text = encode(before + key.encode() + after).decode()
    left, mask, right = mask_key(text, Secret(key)).partition(MASK)
    assert mask
    # Beside the mask stand the characters of the text around it, one at each edge shared with the key.
    assert len(left) <= -(-len(before) * 8 // 6)
    assert len(right.rstrip("=")) <= -(-len(after) * 8 // 6) + 1


PLACEHOLDERS = [
    "none",
    "ollama",
    "password",
    "lm-studio",
    "not-needed",
    "your_api_key",
    "CHANGE-ME",
    "Password",
]
REAL = [*KEYS, "sk-1234567890", "hunter22", "abcdefgHIJKLmnop", "a" * 24, "0123-4567"]


@pytest.mark.parametrize("key", PLACEHOLDERS)
def test_a_placeholder_stays_in_answers_and_is_masked_in_notes_as_far_as_it_is_long_enough(key):
    assert not is_masked_in_answers(Secret(key))
    assert MASK in mask_key(f"the key {key} is wrong", Secret(key))


@pytest.mark.parametrize("key", REAL)
def test_a_key_is_masked_in_answers(key):
    assert is_masked_in_answers(Secret(key))


def test_where_there_is_no_key_nothing_is_masked():
    assert not is_masked_in_answers(None)


@pytest.mark.parametrize("text", ["", "nothing here", "sk-ant"])
def test_what_is_not_the_key_stays(text):
    assert mask_key(text, Secret(KEYS[0])) == text
    assert mask_key(text, None) == text


def test_a_placeholder_is_no_key():
    assert mask_key("none of these", Secret("one")) == "none of these"


def test_a_secret_shows_itself_to_nobody_who_does_not_ask():
    secret = Secret("sk-very-secret")
    assert "very" not in f"{secret} {secret!r} {[secret]} {vars(type(secret)).get('x')}"
    assert secret.reveal() == "sk-very-secret"


@given(
    st.sampled_from(KEYS),
    st.lists(st.sampled_from(FORMS) | st.text(max_size=6), max_size=4),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_a_text_in_pieces_is_masked_like_a_whole_one(key, parts, places):
    text = "".join(part if isinstance(part, str) else part(key) for part in parts)
    cuts = sorted({0, *(place for place in places if place < len(text)), len(text)})
    veil = StreamRedactor(Secret(key))
    shown = [veil.feed(text[start:end]) for start, end in pairwise(cuts)]
    assert "".join([*shown, veil.flush()]) == mask_key(text, Secret(key))


@given(st.sampled_from(KEYS), st.text(max_size=10), st.data())
def test_of_a_key_that_is_still_coming_nothing_is_shown(key, before, data):
    begun = key[: data.draw(st.integers(1, len(key) - 1))]
    assert not StreamRedactor(Secret(key)).feed(f"{before}.{begun}").endswith(f".{begun}")


@pytest.mark.parametrize("key", [None, Secret("password"), Secret("lm-studio")])
def test_without_a_key_to_hide_nothing_waits(key):
    veil = StreamRedactor(key)
    assert (veil.feed("pass"), veil.feed("wor"), veil.flush()) == ("pass", "wor", "")
