"""A line of a batch: what it asks, or what is wrong with it."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.request.batch_line import (
    PROMPT_LINES,
    TEXT_LINES,
    BatchLine,
    MalformedLine,
    parse_line,
)
from llmfail.core.request.line_splitter import LineSplitter, RawLine


def said(text, number=3, form=PROMPT_LINES):
    return parse_line(RawLine(number, text if isinstance(text, bytes) else text.encode()), form)


def lines_of(pieces, longest=100):
    splitter = LineSplitter(longest)
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()


class TestSplitter:
    @given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
    def test_lines_are_the_same_however_the_bytes_come(self, data, cuts):
        places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
        pieces = [data[start:end] for start, end in pairwise(places)]
        whole = data.split(b"\n")
        expected = whole[:-1] + ([whole[-1]] if whole[-1] else [])
        assert lines_of(pieces) == [RawLine(number, text) for number, text in enumerate(expected, 1)]

    def test_a_line_that_is_too_long_is_told_and_not_kept(self):
        pieces = [b"one\n", b"x" * 60, b"y" * 60, b"z" * 60, b"\nthree\n"]
        assert lines_of(pieces) == [RawLine(1, b"one"), RawLine(2, None), RawLine(3, b"three")]

    def test_so_is_the_last_one(self):
        assert lines_of([b"x" * 101]) == [RawLine(1, None)]

    def test_as_long_as_it_may_be_is_not_too_long(self):
        assert lines_of([b"x" * 100 + b"\n"]) == [RawLine(1, b"x" * 100)]


class TestWhatItAsks:
    @pytest.mark.parametrize(
        ("text", "ref", "prompt", "options"),
        [
            ('"Say hello"', 3, "Say hello", {}),
            ('{"prompt": "Say hello"}', 3, "Say hello", {}),
            ('  {"prompt": "hi", "id": "a"}\r', "a", "hi", {}),
            ('{"prompt": "hi", "id": 7}', 7, "hi", {}),
            ('{"template": "t", "params": {"n": 5, "x": "y"}}', 3, "", None),
            ('{"prompt": "hi", "system": null, "id": null}', 3, "hi", {}),
            ('{"prompt": "hi", "no_cache": true}', 3, "hi", {"no_cache": True}),
            ('{"prompt": "hi", "refresh": true}', 3, "hi", {"refresh": True}),
            (
                '{"prompt": "hi", "no_fallback": true, "strict": true}',
                3,
                "hi",
                {"no_fallback": True, "strict": True},
            ),
            ('{"prompt": "hi", "stop": "END"}', 3, "hi", {"stop": ("END",)}),
            ('{"prompt": "hi", "stop": ["A", "B"]}', 3, "hi", {"stop": ("A", "B")}),
            ('{"prompt": "hi", "timeout": "30s", "deadline": 5}', 3, "hi", {"timeout": "30s", "deadline": 5}),
            ('{"prompt": "hi", "model": ["a/x", "b/y"]}', 3, "hi", {"model": ("a/x", "b/y")}),
        ],
    )
    def test_a_line_is_a_text_or_names_options_of_an_ask(self, text, ref, prompt, options):
        line = said(text)
        if options is None:
            options = {"template": "t", "params": {"n": "5", "x": "y"}}
        assert line == BatchLine(3, ref, prompt, options, has_id=ref != 3)

    def test_every_option_that_has_one_value_is_passed_on_as_it_is(self):
        options = {
            "feature": "f",
            "model": "a/x",
            "system": "s",
            "template": "t",
            "max_tokens": 5,
            "temperature": 0.5,
            "schema": {"type": "object"},
            "expect": "json",
            "timeout": 1.5,
            "deadline": 2.5,
            "wait": 3.5,
            "max_cost": "0.05",
            "user": "ann",
            "session": "s1",
        }
        texts = {"model": ("a/x",), "expect": ("json",)}
        assert said(json.dumps({"prompt": "hi", **options})).options == options | texts

    @pytest.mark.parametrize("text", ["", "  ", "\t\r"])
    def test_a_blank_line_asks_nothing(self, text):
        assert said(text) is None

    def test_a_byte_order_mark_may_begin_the_first_line_only(self):
        assert said(b'\xef\xbb\xbf"hi"', number=1).prompt == "hi"
        assert isinstance(said(b'\xef\xbb\xbf"hi"', number=2), MalformedLine)


class TestTexts:
    """Lines of texts that are to be embedded."""

    @pytest.mark.parametrize(
        ("text", "ref", "prompt"),
        [
            ('"one"', 3, "one"),
            ('{"text": "two", "id": "b"}', "b", "two"),
            ('{"prompt": "three", "id": 7}', 7, "three"),
            ('{"text": "four", "id": null, "prompt": null}', 3, "four"),
        ],
    )
    def test_a_text_is_called_text_or_prompt(self, text, ref, prompt):
        assert said(text, form=TEXT_LINES) == BatchLine(3, ref, prompt, {}, has_id=ref != 3)

    def test_it_names_the_options_of_embed_and_no_others(self):
        line = said('{"text": "x", "model": "a/x", "deadline": "5s"}', form=TEXT_LINES)
        assert line.options == {"model": ("a/x",), "deadline": "5s"}
        assert "unknown key 'system'" in said('{"text": "x", "system": "s"}', form=TEXT_LINES).error

    def test_it_has_one_text(self):
        line = said('{"text": "x", "prompt": "y"}', form=TEXT_LINES)
        assert line.error == "line 3: it has text and prompt; say one of them"


class TestMalformed:
    @pytest.mark.parametrize(
        ("text", "ref", "why"),
        [
            ("{", 3, "not JSON (character 2); a line is a JSON text, or an object such as"),
            ("not json", 3, "not JSON (character 1); a line is"),
            ("5", 3, "it is neither a text nor an object; a line is"),
            ('["hi"]', 3, "it is neither a text nor an object; a line is"),
            (
                '{"promt": "hi"}',
                3,
                "unknown key 'promt' (did you mean 'prompt'?); a line knows prompt, messages, ",
            ),
            ('{"prompt": "hi", "temperature": NaN}', 3, "not JSON: NaN is no number of JSON"),
            ('{"prompt": "hi", "id": true}', 3, "id is not a text or a whole number"),
            ('{"prompt": "hi", "max_tokens": "5"}', 3, "max_tokens is not a whole number"),
            ('{"promt": "hi", "id": "a"}', "a", "promt"),
            ('{"prompt": 5, "id": 8}', 8, "prompt"),
            ('{"prompt": "hi", "id": 1.5}', 3, "id"),
            ('{"prompt": "hi", "params": {"x": [1]}}', 3, "params"),
            ('{"prompt": "hi", "schema": "pii.json"}', 3, "schema"),
            ('{"prompt": "hi", "no_cache": true, "refresh": true}', 3, "say one"),
            (b'"\xff"', 3, "not UTF-8 text (byte 1)"),
            (b'"\\udc00x"', 3, "its text has half of a surrogate pair, which is no text"),
            ('{"prompt": "hi", "schema": ' + '{"a":' * 5000 + "1" + "}" * 5001, 3, "nested too deep"),
        ],
    )
    def test_it_has_its_ref_and_says_where_and_why(self, text, ref, why):
        line = said(text)
        assert isinstance(line, MalformedLine)
        assert line.ref == ref
        assert line.error.startswith("line 3: ")
        assert why in line.error

    def test_a_line_that_was_too_long_to_keep_is_one(self):
        assert parse_line(RawLine(3, None), PROMPT_LINES) == MalformedLine(
            3, "line 3: longer than 20 MiB, which no model takes"
        )

    def test_g6_what_is_no_line_at_all_is_told_from_a_line_that_is_wrong(self):
        assert [said(text).is_foreign for text in ("prompt,id", "[1]", "5", b"\xff\xfe")] == [True] * 4
        assert [said(text).is_foreign for text in ('{"promt": "hi"}', '{"id": 1.5}')] == [False] * 2

    @pytest.mark.parametrize("line", ['{"modl": "a/x"}', '{"id": [1]}', "{", b'"\xff"', '"\\udc00"', "7"])
    def test_g6_texts_and_prompts_are_told_of_in_the_same_words(self, line):
        prompt, text = said(line), said(line, form=TEXT_LINES)
        assert prompt.ref == text.ref
        assert prompt.error.partition(";")[0] == text.error.partition(";")[0]

    @given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
    def test_no_bytes_are_more_than_malformed(self, text):
        assert isinstance(said(text), BatchLine | MalformedLine | None)
