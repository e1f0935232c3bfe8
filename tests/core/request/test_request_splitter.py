"""Requests of a batch in one document, as Anthropic takes them, and as lines, in pieces of any size."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import UsageError
from llmfail.core.request.line_splitter import RawLine
from llmfail.core.request.request_splitter import MAX_HEAD_BYTES, RequestSplitter

REQUESTS = [
    {"custom_id": f"my-{number}", "params": {"messages": [{"role": "user", "content": 'a "]} b\n'}]}}
    for number in range(3)
]


def split(data, cuts=()):
    splitter = RequestSplitter()
    places = [0, *sorted(cuts), len(data)]
    lines = []
    for start, end in pairwise(places):
        lines += splitter.feed(data[start:end])
    return [*lines, *splitter.finish()]


@pytest.mark.parametrize("indent", [None, 2])
@given(data=st.data())
def test_each_request_of_a_document_is_a_line_with_its_place(indent, data):
    document = b"\xef\xbb\xbf \n" + json.dumps({"requests": REQUESTS, "more": 1}, indent=indent).encode()
    cuts = data.draw(st.lists(st.integers(0, len(document)), max_size=5))
    found = split(document, cuts)
    assert [line.number for line in found] == [1, 2, 3]
    assert [json.loads(line.text) for line in found] == REQUESTS


@given(
    lines=st.lists(
        st.sampled_from([b"{", b'{"requests"', b'{"requests":1}', b'"hi"', b"", b" ", b'{"prompt":"a"}'])
    ),
    data=st.data(),
)
def test_lines_stay_lines(lines, data):
    document = b"\n".join(lines) + b"\n"
    cuts = data.draw(st.lists(st.integers(0, len(document)), max_size=5))
    if b'{"requests":[' not in document.replace(b"\n", b"").replace(b" ", b""):
        wanted = [RawLine(number, line) for number, line in enumerate(document.split(b"\n")[:-1], 1)]
        assert split(document, cuts) == wanted


def test_a_line_is_there_as_soon_as_it_ends():
    splitter = RequestSplitter()
    assert splitter.feed(b'{"prompt":"a"}\n') == [RawLine(1, b'{"prompt":"a"}')]
    assert splitter.feed(b'{"requests":[]}\n') == [RawLine(2, b'{"requests":[]}')]


@pytest.mark.parametrize(
    "broken", [b'{"requests":[', b'{"requests":[{]}', b'{"requests": [] ', b'{"requests":[]}x']
)
def test_a_document_that_is_cut_is_told(broken):
    with pytest.raises(UsageError, match="the document of requests is broken"):
        split(broken)


def test_blanks_without_end_are_no_document():
    splitter = RequestSplitter()
    splitter.feed(b"\n" * MAX_HEAD_BYTES)
    assert splitter.feed(b'"a"\n')[-1].text == b'"a"'
