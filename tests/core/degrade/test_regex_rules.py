"""What the patterns of a set find in a prompt, and what the step says about it."""

from __future__ import annotations

import json

import pytest

from llmfail.core.degrade.regex_rules import Match, apply_rules, render_answer
from llmfail.core.request.regex_limit import PatternTimeout
from llmfail.settings.schema.degrade_steps import RulesStep

LIMIT = 5.0
PII = {"email": r"[\w.+-]+@[\w-]+\.[\w.]+", "phone": r"\+?\d[\d ]{5,}\d", "word": r"d@e"}
RUNAWAY = r"(a|aa)+$"
HOSTILE = "a" * 45 + "!"
PLAIN = RulesStep(rules="pii")


def test_each_match_has_its_kind_text_and_place():
    text = "née: a@b.example, 030 1234567"
    found = apply_rules(PII, [(None, text)], LIMIT)
    assert found == [Match("email", "a@b.example", 5, 16), Match("phone", "030 1234567", 18, 29)]
    assert all(text[match.start : match.end] == match.text for match in found)


def test_matches_stand_in_the_order_of_their_places_whatever_their_kind():
    texts = [
        (None, "call 030 1234567 or d@e.example"),
        ("b.txt", "x@y.example"),
        ("a.txt", "12 34 56 78, d@e.example"),
        ("b.txt", "+49 30 12345"),
    ]
    found = apply_rules(PII, texts, LIMIT)
    assert [(match.attachment, match.start, match.end, match.kind) for match in found] == [
        (None, 5, 16, "phone"),
        (None, 20, 23, "word"),
        (None, 20, 31, "email"),
        ("b.txt", 0, 11, "email"),
        ("a.txt", 0, 11, "phone"),
        ("a.txt", 13, 16, "word"),
        ("a.txt", 13, 24, "email"),
        ("b.txt", 0, 12, "phone"),
    ]


def test_the_answer_is_json_and_names_an_attachment_only_where_there_is_one():
    found = apply_rules({"nr": r"\d+"}, [(None, 'é "1"'), ("a.txt", "2")], LIMIT)
    assert json.loads(render_answer(PLAIN, found)) == [
        {"kind": "nr", "text": "1", "start": 3, "end": 4},
        {"kind": "nr", "text": "2", "start": 0, "end": 1, "attachment": "a.txt"},
    ]


@pytest.mark.parametrize("texts", [[], [(None, "")], [(None, "nothing of the kind"), ("a.txt", "")]])
def test_without_a_match_the_answer_is_an_empty_list(texts):
    assert render_answer(PLAIN, apply_rules(PII, texts, LIMIT)) == "[]"


def test_without_a_pattern_there_is_no_match():
    assert apply_rules({}, [(None, "a@b.example")], LIMIT) == []


@pytest.mark.parametrize(
    ("step", "matched", "unmatched"),
    [
        (RulesStep(rules="pii", on_match="yes"), "yes", "[]"),
        (RulesStep(rules="pii", on_none="no"), None, "no"),
        (RulesStep(rules="pii", on_match="yes", on_none="no"), "yes", "no"),
        (RulesStep(rules="pii", on_match="", on_none=""), "", ""),
    ],
)
def test_a_step_may_have_texts_of_its_own(step, matched, unmatched):
    found = apply_rules(PII, [(None, "a@b.example")], LIMIT)
    said = render_answer(step, found)
    assert said == matched if matched is not None else json.loads(said)[0]["kind"] == "email"
    assert render_answer(step, []) == unmatched


def test_a_pattern_that_runs_away_ends_the_step_and_is_named():
    patterns = {"email": r"\S+@\S+", "slow": RUNAWAY, "phone": r"\d+"}
    with pytest.raises(PatternTimeout, match=r"^slow takes too long on this text \(limit: 0\.05 s\)$"):
        apply_rules(patterns, [(None, "fine"), ("a.txt", HOSTILE)], 0.05)


def test_one_slow_pattern_among_many_has_most_of_the_time():
    """It takes more than the two hundredth part of the limit that would be its equal share."""
    quick = {f"quick{n}": "b" for n in range(199)}
    found = apply_rules({**quick, "slow": r"(a|aa)+c|!"}, [(None, "a" * 27 + "!")], 10.0)
    assert [(match.kind, match.text) for match in found] == [("slow", "!")]


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_without_time_there_is_no_answer(limit):
    with pytest.raises(PatternTimeout, match="email"):
        apply_rules(PII, [(None, "a@b.example")], limit)


def test_what_is_no_pattern_is_named():
    with pytest.raises(
        ValueError, match=r"^broken: '\(\?:a\{1000\}\)\{1000\}' is not a regular expression: "
    ):
        apply_rules({"fine": "a", "broken": "(?:a{1000}){1000}"}, [(None, "a")], LIMIT)


def test_half_a_character_does_not_spoil_the_answer():
    (match,) = found = apply_rules({"any": r"x.*"}, [(None, "\ud800x\ud800y")], LIMIT)
    assert (match.text, match.start, match.end) == ("x?y", 1, 4)
    assert json.loads(render_answer(PLAIN, found))[0]["text"] == "x?y"
