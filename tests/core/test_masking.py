"""A key goes no further, whatever form it comes back in."""

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.masking import MASK, masked
from llmfail.core.model import Secret

KEYS = ["sk-ant-api03-abcDEF_123", "a/b+c=d&e<f>'g\"h\\i", "ключ-ключ-ключ"]
FORMS = [
    str,
    lambda key: json.dumps(key)[1:-1],
    lambda key: json.dumps(key, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    lambda key: repr(key)[1:-1],
    html.escape,
    quote,
    lambda key: quote(key, safe=""),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_masked_and_what_stands_around_it_stays(key, form):
    assert masked(f"before {form(key)} after", Secret(key)) == f"before {MASK} after"


@given(st.sampled_from(KEYS), st.binary(max_size=8), st.binary(max_size=8))
def test_base64_is_masked_wherever_the_key_stands_in_it(key, before, after):
    text = base64.b64encode(before + key.encode() + after).decode()
    hidden = masked(text, Secret(key))
    assert MASK in hidden
    assert len(hidden.replace(MASK, "")) <= len(text) - len(key)


@pytest.mark.parametrize("text", ["", "nothing here", "sk-ant"])
def test_what_is_not_the_key_stays(text):
    assert masked(text, Secret(KEYS[0])) == text
    assert masked(text, None) == text


def test_a_placeholder_is_no_key():
    assert masked("none of these", Secret("one")) == "none of these"


def test_a_secret_shows_itself_to_nobody_who_does_not_ask():
    secret = Secret("sk-very-secret")
    assert "very" not in f"{secret} {secret!r} {[secret]} {vars(type(secret)).get('x')}"
    assert secret.reveal() == "sk-very-secret"
