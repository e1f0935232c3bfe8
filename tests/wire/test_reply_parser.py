"""Replies of HTTP/1.1, cut at any place."""

import pytest

from llmfail.wire.error_mapping import BrokenConnectionError
from llmfail.wire.reply_parser import MAX_HEAD_BYTES, ReplyParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: gzip, Chunked\r\n\r\n"


def read(*pieces):
    parser, behind = ReplyParser(), False
    for piece in pieces:
        behind = parser.feed(piece) or behind
    return parser, behind


def cut(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


WHOLE = {
    "with a length": (OK + b"content-length: 5\r\n\r\nhello", b"hello"),
    "without a body": (b"HTTP/1.1 204 None\r\n\r\n", b""),
    "of length 0": (OK + b"content-length: 0\r\n\r\n", b""),
    "behind a 103": (b"HTTP/1.1 103 Hints\r\na: b\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok", b"ok"),
    "in chunks": (CHUNKED + b'5\r\nhello\r\n00A;name="x"\r\n, world\r\n!\r\n0\r\n\r\n', b"hello, world\r\n!"),
    "in no chunks": (CHUNKED + b"0\r\n\r\n", b""),
    "with trailers": (CHUNKED + b"2\r\nok\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", b"ok"),
    "of lines without CR": (b"HTTP/1.1 200\na: b\ncontent-length: 5\n\nhello", b"hello"),
}


@pytest.mark.parametrize(("data", "body"), WHOLE.values(), ids=WHOLE)
def test_a_reply_is_the_same_wherever_it_is_cut_and_ends_where_it_ends(data, body):
    for size in (1, 2, 3, 7, len(data)):
        parser, behind = read(*cut(data, size), b"behind it")
        assert (parser.is_over, parser.keeps_connection, behind) == (True, True, True)
        assert b"".join(parser.pieces) == body
        parser, _ = read(*cut(data[:-1], size))
        assert not parser.is_over
        assert not parser.may_end()


def test_the_body_of_a_reply_without_a_length_is_all_that_comes_up_to_the_end_of_the_connection():
    parser, behind = read(OK + b"a: b\r\n\r\nhel", b"lo\r\n\r\n")
    assert (b"".join(parser.pieces), behind) == (b"hello\r\n\r\n", False)
    assert (parser.is_over, parser.may_end(), parser.keeps_connection) == (False, True, False)


def test_header_names_are_in_lower_case_and_of_one_that_came_twice_the_last_counts_unless_it_is_a_list():
    head = b"X-One: a\r\nx-ONE:  \tb \r\nContent-Encoding: gzip\r\ncontent-encoding: deflate\r\n"
    parser, _ = read(b"HTTP/1.1 429 Slow down\r\n" + head + b"X-Byte: \xe9\r\nx-none:\r\n\r\n")
    assert parser.status == 429
    assert parser.headers == {
        "x-one": "b",
        "content-encoding": "gzip, deflate",
        "x-byte": "é",
        "x-none": "",
    }


@pytest.mark.parametrize(
    ("version", "said", "keeps"),
    [("1", "", True), ("1", "upgrade, Close", False), ("0", "", False), ("0", "Keep-Alive", True)],
)
def test_whether_another_call_may_follow_is_said_by_version_and_connection(version, said, keeps):
    parser, _ = read(f"HTTP/1.{version} 200 OK\r\nconnection: {said}\r\ncontent-length: 0\r\n\r\n".encode())
    assert parser.keeps_connection is keeps


NO_HTTP = {
    "another protocol": [b"SSH-2.0-x"],
    "by its first byte": [b"{"],
    "HTTP/2": [b"HTTP/2 200 OK\r\n\r\n"],
    "no status": [b"HTTP/1.1 OK\r\n\r\n"],
    "four digits": [b"HTTP/1.1 2000 OK\r\n\r\n"],
    "another protocol was agreed on": [b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n"],
    "another protocol follows": [b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"],
    "a line without a name": [OK + b": x\r\n\r\n"],
    "a line that goes on in the next": [OK + b"a: b\r\n c\r\n\r\n"],
    "a line without a colon": [OK + b"hello\r\n\r\n"],
    "a blank behind the name": [OK + b"content-length : 5\r\n\r\n"],
    "a length that came twice": [OK + b"content-length: 5\r\nContent-Length:5\r\n\r\n"],
    "a length beside chunks": [OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"],
    "two lengths": [OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n"],
    "a length with a sign": [OK + b"content-length: +5\r\n\r\n"],
    "a length that is no number": [OK + b"content-length: 5, 5\r\n\r\n"],
    "a head without an end": [OK + b"x: " + b"y" * MAX_HEAD_BYTES],
    "a chunk without a size": [CHUNKED, b"\r\n"],
    "a size with a sign": [CHUNKED, b"+5\r\n"],
    "a size in another notation": [CHUNKED, b"0x5\r\nhello"],
    "an enormous size": [CHUNKED, b"f" * 17 + b"\r\n"],
    "a chunk that is longer than its size": [CHUNKED, b"2\r\nhello\r\n"],
    "a chunk without an end": [CHUNKED, b"2\r\nok5\r\n"],
    "an extension without an end": [CHUNKED, b"2;" + b"x" * MAX_HEAD_BYTES],
}


@pytest.mark.parametrize("pieces", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http_is_an_error_as_soon_as_it_shows(pieces):
    with pytest.raises(BrokenConnectionError):
        read(*pieces)
