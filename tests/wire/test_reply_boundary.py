"""However the bytes come, no piece goes beyond the end of a reply, and none is lost."""

from hypothesis import given
from hypothesis import strategies as st

from llmfail.wire.reply_boundary import ReplyBoundary

HEADS = [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n", {"content-length": "12"}, b"one\r\n\r\ntwo\n\n"),
    (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        {"transfer-encoding": "Chunked"},
        b"9\r\na\r\n\r\nb\n\n\r\r\n0\r\nx: y\r\n\r\n",
    ),
    (b"HTTP/1.1 200 OK\n\n", {"content-length": "0"}, b""),
]


@given(st.sampled_from(HEADS), st.binary(max_size=30), st.lists(st.integers(1, 40), max_size=6))
def test_what_lies_behind_a_reply_is_left_over(reply, behind, sizes):
    head, headers, body = reply
    sent, parts = head + body + behind, []
    for size in [*sizes, len(sent)]:
        parts.append(sent[:size])
        sent = sent[size:]
    boundary = ReplyBoundary()
    boundary.start_reply()
    assert read(boundary, parts, len(head)) == head
    boundary.start_body(headers)
    assert read(boundary, parts, len(body)) == body
    boundary.start_reply()
    left = b""
    while boundary.has_bytes_left():
        left += boundary.take()
    assert left + b"".join(parts) == behind


def read(boundary, parts, size):
    got = b""
    while len(got) < size:
        if not boundary.has_bytes_left():
            boundary.receive(parts.pop(0))
        got += boundary.take()
    return got


def test_what_is_no_http_is_handed_on_as_it_came():
    boundary = ReplyBoundary()
    boundary.receive(b"\x05\x00\x00\x01\n\n\n\n\n\n")
    assert boundary.take() == b"\x05\x00\x00\x01\n\n\n\n\n\n"


def test_a_body_that_ends_with_its_connection_is_handed_on_as_it_comes():
    boundary = ReplyBoundary()
    boundary.start_body({})
    boundary.receive(b"data: one\r\n\r\ndata: two\r\n\r\n")
    assert boundary.take() == b"data: one\r\n\r\ndata: two\r\n\r\n"
