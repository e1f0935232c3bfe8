"""Prompt templates from the command line: the same text for every provider."""

import pytest
from program import ANTHROPIC, OPENAI, build_config

from llmfail.simulator import parse_faults


@pytest.fixture
def llmfail(simulator, configure):
    simulator.set_answer(lambda seen: seen.prompt)
    templates = {"letter": "Write to $name as a $job.", "sum": "Sum up:\n$${prompt}\nIn $lang."}
    document = build_config(simulator, OPENAI, ANTHROPIC, templates=templates)
    document["features"]["letters"] = {
        "primary": OPENAI,
        "fallbacks": [ANTHROPIC],
        "template": "letter",
        "degrade": [{"template": "sum"}],
    }
    return configure(document)


def test_a_template_is_filled_and_sent(llmfail):
    done = llmfail("ask", "-t", "letter", "-p", "name=Ann", "-p", "job=baker = cook")
    assert done.out == b"Write to Ann as a baker = cook.\n"


def test_a_prompt_has_its_place_or_follows(llmfail):
    done = llmfail("ask", "-t", "sum", "-p", "lang=Greek", stdin=b"a text\n")
    assert done.out == b"Sum up:\na text\nIn Greek.\n"
    done = llmfail("ask", "P.S.", "-t", "letter", "-p", "name=Ann", "-p", "job=baker")
    assert done.out == b"Write to Ann as a baker.\n\nP.S.\n"


def test_a_feature_has_its_own_template_and_every_provider_gets_the_same(llmfail, simulator):
    options = ("-f", "letters", "-p", "name=Ann", "-p", "job=cook")
    first = llmfail("ask", *options)
    simulator.set_faults(parse_faults("openai=503"))
    second = llmfail("ask", *options)
    assert first.out == second.out == b"Write to Ann as a cook.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-t", "letter"), ("name", "job")),
        (("-t", "letter", "-p", "name=Ann", "-p", "jb=x"), ("jb", "job")),
        (("-t", "lettre", "-p", "name=Ann"), ("lettre", "letter")),
        (("-p", "name=Ann", "hello"), ("template",)),
        (("-t", "letter", "-p", "name"), ("NAME=VALUE",)),
        (("-t", "letter", "-p", "name=a", "-p", "name=b"), ("twice",)),
        (("-t", "sum", "-p", "lang=x"), ("prompt",)),
        ((), ("prompt",)),
    ],
)
def test_what_does_not_fit_is_a_usage_error_that_names_it(llmfail, simulator, arguments, words):
    done = llmfail("ask", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert all(word in done.err for word in words)
    assert len(done.lines) == 1
    assert simulator.count() == 0


def test_a_parameter_may_be_for_the_text_that_answers_instead(llmfail, simulator):
    simulator.set_faults(parse_faults("all=503"))
    options = ("-p", "name=Ann", "-p", "job=cook", "-p", "lang=Greek")
    done = llmfail("ask", "a text", "-f", "letters", *options)
    assert (done.code, done.out) == (0, b"Sum up:\na text\nIn Greek.\n")


def test_other_parameters_are_another_question(simulator, configure):
    document = build_config(simulator, OPENAI, templates={"t": "Say $word"}, cache={"enabled": True})
    llmfail = configure(document)
    asked = [llmfail("ask", "-t", "t", "-p", f"word={word}", "--json") for word in ("a", "b", "a")]
    assert [one.document["source"] for one in asked] == ["model", "model", "cache"]
