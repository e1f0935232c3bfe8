"""The table of ask's options, and what is written by hand beside it."""

import pytest

from llmfail.core.request.ask import Ask
from llmfail.core.request.ask_options import ASK_OPTIONS, Options, collect_options

PYTHON = [option for option in ASK_OPTIONS if option.scope != "command line"]
FROM_A_REQUEST = {
    "parallel_tools",
    "schema_name",
    "schema_strict",
    "json",
    "marks",
    "dimensions",
    "has_token_ids",
    "key",
    "id",
}
"""What only a whole request of OpenAI or Anthropic says, or a gateway of who sent it."""
KEYWORDS = {option.keyword or option.name for option in PYTHON}


def test_the_keywords_of_python_are_those_of_the_table():
    """A batch sets ``ref`` itself."""
    assert set(Options.__annotations__) == KEYWORDS | {"ref"}


def test_an_ask_has_a_field_for_every_keyword():
    under_another_name = {
        "model": "targets",
        "attachments": "messages",
        "params": "parameters",
        "no_cache": "cache",
        "refresh": "cache",
        "no_fallback": "fallback",
    }
    fields = {under_another_name.get(keyword, keyword) for keyword in KEYWORDS} | FROM_A_REQUEST
    assert fields | {"ref", "messages"} == set(Ask.__struct_fields__)


def test_no_name_and_no_flag_stands_twice():
    names = [option.name for option in ASK_OPTIONS]
    flags = [flag for option in ASK_OPTIONS for flag in (*option.flags, option.negation) if flag]
    assert len(names) == len(set(names))
    assert len(flags) == len(set(flags))
    assert all(option.long_flag.startswith("--") for option in ASK_OPTIONS)


def test_what_is_said_is_found_under_its_keyword_and_converted():
    said = {
        "params": "x",
        "no_fallback": True,
        "strict": False,
        "system": None,
        "stop": (),
        "temperature": 0.0,
    }
    found = collect_options(said, lambda option, value: (option.kind, value), by_flag=True)
    assert found == {"params": ("pairs", "x"), "no_fallback": True, "temperature": ("number", 0.0)}


@pytest.mark.parametrize(
    ("by_flag", "names"), [(True, ("--no-cache", "--refresh")), (False, ("no_cache", "refresh"))]
)
def test_two_options_that_contradict_each_other_are_an_error(by_flag, names):
    first, second = names
    with pytest.raises(ValueError, match=f"{first} stores nothing and {second} stores a new answer"):
        collect_options({"no_cache": True, "refresh": True}, lambda _, value: value, by_flag=by_flag)
