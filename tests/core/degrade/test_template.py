"""Templates: what is put in, what is missing, and what a prompt template makes of a prompt."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.degrade.template import (
    MissingParameter,
    build_prompt,
    fill,
    parameter_names,
)
from llmfail.core.errors import UsageError

FILLED = {
    "$a": "1",
    "${a}": "1",
    "${a}b": "1b",
    "$ab": "2",
    "$a$ab": "12",
    "$$a": "$a",
    "$$$a": "$1",
    "$$$$": "$$",
    "$${a}": "${a}",
    "costs $5, ${ a}, ${a": "costs $5, ${ a}, ${a",
    "ends in $": "ends in $",
    "$ä and $_x1.": "$ä and 3.",
    "nothing": "nothing",
    "": "",
}
VALUES = {"a": "1", "ab": "2", "_x1": "3"}


@pytest.mark.parametrize(("template", "text"), FILLED.items())
def test_parameters_are_put_in_and_everything_else_stays(template, text):
    assert fill(template, VALUES) == text


def test_all_that_is_missing_is_told_once_in_the_order_of_the_template():
    with pytest.raises(MissingParameter, match="without a value: z, ab, y") as missing:
        fill("$z ${ab} $a $y $z $$q", {"a": "1"})
    assert missing.value.names == ("z", "ab", "y")


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
PIECES = st.one_of(
    st.text(alphabet="$${}ab _1", max_size=8), NAMES.map("${}".format), NAMES.map("${{{}}}".format), st.text()
)
TEMPLATES = st.lists(PIECES, max_size=6).map("".join)


@given(TEMPLATES, st.text())
def test_a_template_whose_names_all_have_values_can_be_filled(template, value):
    fill(template, dict.fromkeys(parameter_names(template), value))


@given(TEMPLATES, TEMPLATES)
def test_a_value_is_never_filled_itself(template, value):
    """The same as with a value without any dollar sign, which is then replaced by plain means."""
    mark = "\x00"
    template = template.replace(mark, "")
    filled, marked = (fill(template, dict.fromkeys(parameter_names(template), put)) for put in (value, mark))
    assert filled == marked.replace(mark, value)


@given(st.text())
def test_a_text_whose_dollar_signs_are_doubled_comes_out_as_it_was(text):
    assert fill(text.replace("$", "$$"), {}) == text
    assert parameter_names(text.replace("$", "$$")) == frozenset()


@given(TEMPLATES)
def test_exactly_the_names_that_have_no_value_are_missing(template):
    wanted = parameter_names(template)
    for name in wanted:
        with pytest.raises(MissingParameter) as missing:
            fill(template, dict.fromkeys(wanted - {name}, ""))
        assert missing.value.names == (name,)


PROMPTS = {
    "the prompt where the template says": ("Sum up: $prompt!", "this", {}, "Sum up: this!"),
    "else behind it, after a blank line": ("Sum up.", "this", {}, "Sum up.\n\nthis"),
    "one blank line, whatever ends the template": ("Sum up.\n\n\n", "this", {}, "Sum up.\n\nthis"),
    "the name of the feature": ("For $feature: $prompt", "this", {}, "For vpr: this"),
    "parameters": ("Write $a for ${b}.", "", {"a": "$b", "b": "$prompt"}, "Write $b for $prompt."),
    "parameters and a prompt": ("Write $a.", "Be kind.", {"a": "A"}, "Write A.\n\nBe kind."),
    "a parameter of another text": ("Write $a.", "", {"a": "A", "other": "B"}, "Write A."),
    "a template that comes to nothing, and a prompt": ("$a", "this", {"a": ""}, "this"),
    "no prompt that would be needed": ("Say hello.\n", " \n", {}, "Say hello."),
}


def given(prompt):
    return {"prompt": prompt, "feature": "vpr"}


@pytest.mark.parametrize(("template", "prompt", "parameters", "expected"), PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_template_makes_the_prompt(template, prompt, parameters, expected):
    assert build_prompt("t", template, given(prompt), parameters, {"other", "prompt"}) == expected


REFUSED = {
    "one is missing": ("$cv", "x", {}, "template t needs -p cv=…"),
    "several are missing": ("$cv ${job}", "x", {}, "template t needs -p cv=… and -p job=…"),
    "a name with a slip": ("$cv $job", "", {"jib": "x"}, "t has no parameter 'jib'; did you mean job?"),
    "a name of nobody": ("$cv", "", {"q": "x", "cv": "y"}, "'q'; its parameters: cv, other"),
    "a name that a terminal would obey": ("$cv", "", {"\x1b[2J": "x"}, r"no parameter '\x1b[2J'"),
    "the prompt as a parameter": ("$prompt", "x", {"prompt": "y"}, "-p prompt=…: $prompt is built in"),
    "the feature as a parameter": ("a", "x", {"feature": "y"}, "-p feature=…: $feature is built in"),
    "no prompt": ("Sum up $prompt", " \n", {}, "template t needs a prompt"),
    "nothing at all": ("$a", "", {"a": " "}, "template t comes to an empty prompt"),
}


@pytest.mark.parametrize(("template", "prompt", "parameters", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_prompt_is_refused_in_one_line(template, prompt, parameters, said):
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        build_prompt("t", template, given(prompt), parameters, {"other", "feature"})
    assert "\n" not in str(refused.value)


def test_a_template_without_parameters_says_that_it_has_none():
    with pytest.raises(UsageError, match="its parameters: none"):
        build_prompt("t", "Sum up $prompt", given("x"), {"q": "y"}, ())
