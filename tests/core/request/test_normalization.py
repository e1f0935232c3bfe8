"""Each rule takes away what it names, and nothing of the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.request.normalization import (
    RULES,
    find_fenced_block,
    iter_fenced_blocks,
    normalize_text,
)

FENCED = "Here:\n```python\nprint(1)\n```\nand\n~~~json\n{}\n~~~"


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("thoughts", "<think>hm</think>\nyes", "yes"),
        ("fence", "```json\n{}\n```", "{}"),
        ("fence", "\n~~~\na\n~~~\n", "a"),
        ("fence", "```\na\n```\nand more", "```\na\n```\nand more"),
        ("fence", "```\na\n```\n```\nb\n```", "```\na\n```\n```\nb\n```"),
        ("json_keys", '{"b": 1, "a": [1, 2]}', '{"a":[1,2],"b":1}'),
        ("json_keys", "no JSON", "no JSON"),
        ("characters", "\ufb01ne \u201cyes\u201d \u2013 no", 'fine "yes" - no'),
        ("white_space", "  a\n\n b\t", "a b"),
        ("case", "Stra\u00dfe", "strasse"),
    ],
)
def test_a_rule_takes_away_what_it_names(rule, text, expected):
    assert RULES[rule](text) == expected
    assert normalize_text(text, (rule,)) == (expected, (rule,) if text != expected else ())


def test_the_rules_that_changed_a_text_are_named_in_their_order():
    said = '<think>so</think>```json\n{"b": 1,\n "a": 2}\n```'
    assert normalize_text(said) == ('{"a":2,"b":1}', ("thoughts", "fence", "json_keys"))


def test_a_block_is_found_by_its_language():
    assert [one.language for one in iter_fenced_blocks(FENCED)] == ["python", "json"]
    assert find_fenced_block(FENCED) == "print(1)"
    assert find_fenced_block(FENCED, "JSON") == "{}"
    assert find_fenced_block(FENCED, "rust") is None
    assert find_fenced_block("none") is None


def test_a_longer_fence_holds_a_shorter_one_and_an_unclosed_one_ends_with_the_text():
    assert find_fenced_block("````md\n```\na\n```\n````") == "```\na\n```"
    assert find_fenced_block("```\na\nb") == "a\nb"
    assert find_fenced_block("```a``` is inline") is None


@given(st.text(alphabet='ab`~\n {}":1<think>/'))
def test_any_text_can_be_normalized(text):
    normalized = normalize_text(text)
    assert set(normalized.rules) <= set(RULES)
    if not normalized.rules:
        assert normalized.text == text
