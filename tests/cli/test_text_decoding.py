"""A prompt is UTF-8 text; another encoding is named, with what converts it."""

import pytest

from llmfail.cli.io.text_decoding import decode_text
from llmfail.client.options import ask_of
from llmfail.core.errors import UsageError

FOREIGN = {
    "UTF-16 with its mark": ("hé".encode("utf-16"), "it is UTF-16: iconv -f UTF-16 -t UTF-8"),
    "UTF-32 with its mark": ("hé".encode("utf-32"), "it is UTF-32: iconv"),
    "UTF-16 without its mark": ("hello".encode("utf-16-le"), "it is UTF-16LE: iconv -f UTF-16LE"),
    "the other UTF-16": ("hello".encode("utf-16-be"), "it is UTF-16BE: iconv -f UTF-16BE"),
    "Latin-1": (b"caf\xe9", "it looks like ISO-8859-1, as byte 3 (0xe9) shows: iconv -f ISO-8859-1"),
    "Windows": (b"\x93quoted\x94", "it looks like WINDOWS-1252, as byte 0 (0x93) shows"),
    "a program": (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\xd0", "is no text (byte 16 is 0xd0)"),
    "one NUL": (b"hello \0 world", "has a NUL character, which no provider takes"),
}


@pytest.mark.parametrize(("data", "message"), FOREIGN.values(), ids=FOREIGN)
def test_i16_what_is_no_utf_8_is_named(data, message):
    with pytest.raises(UsageError) as raised:
        decode_text("standard input", data)
    assert message in str(raised.value)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\n\r"])
def test_i16_line_ends_of_every_system_are_taken_off_the_end(end):
    assert decode_text("x", f"\ufeffa\r\nb{end}".encode()) == "a\r\nb"


def test_i16_a_user_with_white_space_around_it_is_the_same_user():
    assert ask_of("hi", user=" ann ").user == ask_of("hi", user="ann").user == "ann"
    with pytest.raises(UsageError, match="user is a text of 1 to 256 characters"):
        ask_of("hi", user="  ")
