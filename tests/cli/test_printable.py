"""What a terminal would obey is not shown to it."""

import pytest

from llmfail.cli.io.output import make_printable


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\r", "\u202e", "\u2067", "\u2069", "\ud800"])
def test_what_a_terminal_obeys_or_what_turns_the_text_around_is_replaced(sign):
    assert make_printable(f"a{sign}b") == "a\ufffdb"


@pytest.mark.parametrize("text", ["a\n\tb", "\U0001f469\u200d\U0001f680", "\u0645\u06cc\u200c\u062e"])
def test_lines_and_joined_characters_stay_as_they_are(text):
    assert make_printable(text) == text
