"""A smaller request: what is cut, where, and what stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.conversation import Attachment, Message, message_of
from llmfail.core.degrade.shorten import (
    MIN_SPLIT_CHARS,
    OMISSION_MARK,
    cut_middle,
    shorten_request,
)
from llmfail.core.model import Request


class Step(Struct, frozen=True):
    keep_chars: int | None = None
    max_tokens: int | None = None
    prefix: str = ""


def asked(*texts, attachments=(), **options):
    return Request((message_of("user", "\n".join(texts), tuple(attachments)),), **options)


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = "begin " + "x" * 1000 + " end"
    assert cut_middle(text, 25) == "begin xxxx" + OMISSION_MARK + "xxxxxx end"
    assert len(cut_middle(text, 25)) == 25


@given(st.text(), st.integers(1, 60))
def test_nothing_is_longer_than_it_may_be_and_nothing_short_is_touched(text, most):
    cut = cut_middle(text, most)
    assert len(cut) <= most
    assert (cut == text) == (len(text) <= most)


@given(st.text(min_size=1), st.text(min_size=1), st.integers(MIN_SPLIT_CHARS, 60))
def test_what_is_left_are_the_two_ends(head, tail, most):
    text = head + "x" * 200 + tail
    beginning, gap, end = cut_middle(text, most).rpartition(OMISSION_MARK)
    assert gap
    assert text.startswith(beginning)
    assert text.endswith(end)


@pytest.mark.parametrize("most", range(1, MIN_SPLIT_CHARS))
def test_where_there_is_no_room_for_two_ends_the_beginning_stays(most):
    assert cut_middle("abcdefghijkl", most) == "abcdefghijkl"[:most]


SIGNS = {
    "an accent": "e\u0301",
    "several accents": "a\u0323\u0302",
    "a surrogate pair": "\ud83d\ude00",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a colour of skin": "\U0001f44d\U0001f3fd",
    "a flag": "\U0001f1e9\U0001f1ea",
    "a variation": "\u2764\ufe0f",
    "an end of line": "\r\n",
}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
@pytest.mark.parametrize("most", range(20, 36))
def test_a_sign_is_not_taken_apart(sign, most):
    beginning, _, end = cut_middle(f"{'ab' * 5}{sign}{'x' * 99}{sign}{'cd' * 5}", most).partition(
        OMISSION_MARK
    )
    for half in (beginning, end):
        assert not half.replace(sign, "").strip("abcdx")


def test_a_sign_without_end_is_cut_after_all():
    text = "a" + "\u0301" * 1000
    assert len(cut_middle(text, 500)) == 500


def test_texts_of_both_roles_and_text_files_are_cut_each_by_itself():
    file = Attachment("notes.txt", "text/plain", ("ä" * 30 + "ö" * 30).encode())
    short = Attachment("short.txt", "text/plain", b"short")
    request = Request(
        (message_of("user", "u" * 60, (file, short)), Message("assistant", "a" * 60), Message("user", "last"))
    )
    first, second, last = shorten_request(request, Step(keep_chars=25)).messages
    assert first.text == "u" * 10 + OMISSION_MARK + "u" * 10
    assert first.attachments[0].data.decode() == "ä" * 10 + OMISSION_MARK + "ö" * 10
    assert first.attachments[1] is short
    assert second.text == "a" * 10 + OMISSION_MARK + "a" * 10
    assert last.text == "last"


def test_characters_are_counted_not_bytes():
    file = Attachment("notes.txt", "text/plain", ("ä" * 20).encode())
    request = asked("x", attachments=[file])
    assert shorten_request(request, Step(keep_chars=20)) == request


def test_images_and_files_that_are_no_text_stay():
    image = Attachment("a.png", "image/png", b"x" * 100)
    binary = Attachment("a.bin", "text/plain", b"\xff" * 100)
    request = asked("x", attachments=[image, binary])
    assert shorten_request(request, Step(keep_chars=20)) == request


def test_the_prefix_stands_before_the_last_message_of_the_user():
    request = Request((Message("user", "one"), Message("user", "two"), Message("assistant", "three")))
    texts = [message.text for message in shorten_request(request, Step(prefix="Briefly.\n")).messages]
    assert texts == ["one", "Briefly.\ntwo", "three"]


def test_the_prefix_is_never_cut():
    changed = shorten_request(asked("x" * 100), Step(keep_chars=7, prefix="Answer briefly.\n"))
    assert changed.messages[0].text == "Answer briefly.\nx" + OMISSION_MARK + "x"


def test_without_a_message_of_the_user_there_is_no_prefix():
    request = Request((Message("assistant", "a"),))
    assert shorten_request(request, Step(prefix="p")) == request


@pytest.mark.parametrize(("own", "most", "left"), [(2000, 1000, 1000), (500, 1000, 500), (500, None, 500)])
def test_the_answer_may_become_shorter_and_never_longer(own, most, left):
    assert shorten_request(asked("x", max_tokens=own), Step(max_tokens=most)).max_tokens == left


def test_everything_else_is_as_it_was():
    request = asked("x" * 100, system="s" * 100, temperature=0.5, stop=("a",), schema={"type": "object"})
    changed = shorten_request(request, Step(keep_chars=10, max_tokens=5, prefix="p"))
    assert replace(changed, messages=request.messages, max_tokens=request.max_tokens) == request
