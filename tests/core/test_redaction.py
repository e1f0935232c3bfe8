"""A key goes no further, whatever form it comes back in."""

import base64
import html
import json
import time
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


REAL_KEY = "sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4yZ7_xC0-fL"
"""Some forty mixed characters."""


def mixed(key):
    """Every third character as it is, the others in two ways."""
    ways = (str, lambda letter: f"&#{ord(letter)};", lambda letter: f"\\u{ord(letter):04X}")
    return "".join(ways[place % 3](letter) for place, letter in enumerate(key))


def break_lines(text, length=76, end="\r\n"):
    return end.join(text[start : start + length] for start in range(0, len(text), length))


FURTHER_FORMS = {
    "decimal entities": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "padded entities without an end": lambda key: "".join(f"&#{ord(letter):07}" for letter in key),
    "hexadecimal entities": lambda key: "".join(f"&#x{ord(letter):X};" for letter in key),
    "a URL, every character": lambda key: "".join(f"%{ord(letter):02X}" for letter in key),
    "a URL twice": lambda key: "".join(f"%25{ord(letter):02x}" for letter in key),
    "quoted-printable": lambda key: "".join(f"={ord(letter):02X}" for letter in key),
    "JSON": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "JSON in JSON": lambda key: "".join(f"\\\\u{ord(letter):04x}" for letter in key),
    "JavaScript": lambda key: "".join(f"\\u{{{ord(letter):x}}}" for letter in key),
    "a program": lambda key: "".join(f"\\x{ord(letter):02x}" for letter in key),
    "several ways at once": mixed,
    "MIME": lambda key: break_lines(base64.b64encode(b"x" * 50 + key.encode() + b"y" * 50).decode()),
    "lines": lambda key: break_lines(key, 10, "\n"),
    "upper case": str.upper,
    "lower case": str.lower,
    "all but its last characters": lambda key: key[:-3],
    "all but its first characters": lambda key: key[9:],
    "its middle": lambda key: key[11:25],
    "a part in hex": lambda key: key[5:30].encode().hex(),
    "a part in base64": lambda key: base64.b64encode(key[5:30].encode()).decode(),
    "named entities": lambda key: key.replace("-", "&hyphen;").replace("_", "&lowbar;"),
}


@pytest.mark.parametrize("form", FURTHER_FORMS.values(), ids=FURTHER_FORMS)
def test_d4_a_key_is_masked_in_whatever_way_it_is_written(form):
    shown = mask_key(f"bad key {form(REAL_KEY)} !", Secret(REAL_KEY))
    assert MASK in shown
    remains = {shown[place : place + 8].lower() for place in range(len(shown) - 7)}
    written = form(REAL_KEY)
    masked = max(len(written) - len(shown) + len(f"bad key {MASK} !"), 0)
    assert masked >= min(len(written), 16) - 4
    assert not any(REAL_KEY[place : place + 8].lower() in remains for place in range(len(REAL_KEY) - 7))


@pytest.mark.parametrize("form", FURTHER_FORMS.values(), ids=FURTHER_FORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_d4_so_it_is_in_pieces_of_a_stream(form, size):
    text = f"bad key {form(REAL_KEY)} !"
    redactor = StreamRedactor(Secret(REAL_KEY))
    pieces = [redactor.feed(text[start : start + size]) for start in range(0, len(text), size)]
    shown = "".join([*pieces, redactor.flush()])
    assert MASK in shown
    remains = {shown[place : place + 12].lower() for place in range(len(shown) - 11)}
    assert not any(REAL_KEY[place : place + 12].lower() in remains for place in range(len(REAL_KEY) - 11))


@given(st.integers(0, 30), st.integers(0, 30))
def test_d4_twelve_characters_in_a_row_are_masked_and_eleven_are_not(start, length):
    part = REAL_KEY[start : start + length]
    assert (mask_key(f"<{part}>", Secret(REAL_KEY)) == f"<{MASK}>") == (len(part) >= 12)


@pytest.mark.parametrize(
    "text",
    [
        REAL_KEY[:11] * 40_000,
        REAL_KEY[3:9] * 70_000,
        "%73" * 150_000,
        "&#115;" * 70_000,
        "\n" * 400_000,
        "\\" * 400_000,
        "&" * 400_000,
        "an ordinary sentence, " * 20_000,
        "&#0000000" * 40_000,
        REAL_KEY * 10_000,
        "%73%6B" * 150_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_d4_a_search_takes_time_in_proportion_to_the_text(text):
    begun = time.process_time()
    mask_key(text, Secret(REAL_KEY))
    assert time.process_time() - begun < 10, "a search that grew with the square would take minutes"


def test_d4_behind_too_many_escapes_everything_is_masked():
    text = "%73" * 250_000 + REAL_KEY
    shown = mask_key(text, Secret(REAL_KEY))
    assert shown.endswith(MASK)
    assert REAL_KEY not in shown


def test_d4_a_stream_holds_back_no_more_than_a_few_characters():
    redactor = StreamRedactor(Secret(REAL_KEY))
    longest = 0
    for piece in ("\n", "&", "%7", "s", "&#11", "\\u00", REAL_KEY[:30], " plain text ", "\\\\\\") * 50:
        redactor.feed(piece)
        longest = max(longest, len(redactor.withheld))
    assert longest < 200
