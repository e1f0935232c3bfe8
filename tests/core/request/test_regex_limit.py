"""Regular expressions end, whatever pattern and text: a test that hangs has found one that does not."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.request.regex_limit import (
    PatternTimeout,
    check_pattern,
    find_matches,
    has_match,
)

LIMIT = 0.05
AMPLE = 5.0

RUNAWAYS = {
    "alternatives that overlap": (r"(a|aa)+$", "a" * 45 + "!"),
    "repetitions that overlap": (r"(x+x+)+y", "x" * 5_000),
    "references back": (r"(.*)\1\1$", "xy" * 5_000 + "z"),
    "a well-known one for addresses": (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 50_000),
}


@pytest.mark.parametrize(("pattern", "text"), RUNAWAYS.values(), ids=RUNAWAYS)
def test_a_pattern_that_runs_away_ends_with_its_limit(pattern, text):
    with pytest.raises(PatternTimeout, match=r"^the expression '.*' takes longer than 0\.05 s on this text$"):
        has_match(pattern, text, LIMIT)
    with pytest.raises(PatternTimeout):
        list(find_matches(pattern, text, LIMIT))


def test_it_is_the_limit_that_ends_it():
    assert has_match(r"(a|aa)+$", "a" * 20, AMPLE)
    assert not has_match(r"(a|aa)+$", "a" * 20 + "!", AMPLE)


def test_a_pattern_that_frightens_other_engines_is_simply_answered():
    assert not has_match(r"(a+)+$", "a" * 45 + "!", AMPLE)


def test_the_limit_holds_in_every_thread():
    def ended(_: int) -> bool:
        with pytest.raises(PatternTimeout):
            has_match(*RUNAWAYS["alternatives that overlap"], LIMIT)
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ended, range(4)))


@pytest.mark.parametrize("limit", [0, 0.0, -1, -0.5])
def test_without_time_nothing_is_searched(limit):
    with pytest.raises(PatternTimeout):
        has_match("a", "a", limit)
    with pytest.raises(PatternTimeout):
        list(find_matches("a", "a", limit))


def test_the_limit_is_for_all_matches_together():
    pattern, text = r"(a|aa)+\d", ("a" * 22 + "! ") * 2_000
    assert list(find_matches(pattern, text[:24] + "a1", AMPLE)) == [(24, 26)]
    with pytest.raises(PatternTimeout):
        list(find_matches(pattern, text, LIMIT))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_pattern_that_takes_all_memory_is_ended_too():
    program = """if True:
        import resource
        import regex
        from llmfail.core.request.regex_limit import PatternTimeout, has_match
        text = "a" * 5_000_000 + "!"
        resource.setrlimit(resource.RLIMIT_AS, (300_000_000, 300_000_000))
        try:
            has_match("(a|aa)+$", text, 60)
        except PatternTimeout as error:
            print(error)
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "the expression '(a|aa)+$' takes too much memory on this text\n"


TEXT = "Mail a.b@c.example or d@e.example, 12 times, née Ünal 👩‍🚀 x1 — $5.00\nand again: d@e.example"
PATTERNS = [
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"\d+",
    r"(?i)MAIL|times",
    r"(?m)^and",
    r"\bx\d\b",
    r"(?P<name>n)é\w*",
    r"(?<=\$)\d\.\d{2}",
    r"\w{3,5}",
    r"[^\s]+$",
    r"(?s)again.*",
    r"x*",
    r"",
    r"nowhere",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_what_it_means_to_re(pattern):
    spans = [match.span() for match in re.finditer(pattern, TEXT) if match.group()]
    assert list(find_matches(pattern, TEXT, AMPLE)) == spans
    assert has_match(pattern, TEXT, AMPLE) == (re.search(pattern, TEXT) is not None)


def test_places_are_counted_in_characters():
    ((start, end),) = find_matches("x1", TEXT, AMPLE)
    assert TEXT[start:end] == "x1"


BROKEN = {
    "an open group": "(a",
    "a range backwards": "[z-a]",
    "nothing to repeat": "*a",
    "a group nobody has": r"(?P=x)",
    "too many repetitions": "a{1,99999999999}",
    "groups without end": "(" * 3_000 + ")" * 3_000,
    "a name with a line": "(?P<a\nb>x)",
    "an end of nothing": "a)",
}


@pytest.mark.parametrize("pattern", BROKEN.values(), ids=BROKEN)
def test_what_is_no_pattern_is_one_clear_line(pattern):
    for use in (
        check_pattern,
        lambda it: has_match(it, "a", AMPLE),
        lambda it: list(find_matches(it, "a", AMPLE)),
    ):
        with pytest.raises(ValueError, match="is not a regular expression: ") as caught:
            use(pattern)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?:(?:a{1000}){1000}){1000}",
        r"((([ab]{99}){99}){99})",
        r"a{1000000000}",
        r"(?:\d{1000}){1000,}",
        r"(?:\){900}[)]{900}){900}",
        "x" * 100_001,
    ],
)
def test_a_pattern_that_would_fill_the_memory_is_none_though_re_takes_it(pattern):
    re.compile(pattern)
    with pytest.raises(ValueError, match="written out it has more than 100,000 items"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\d{4}[ -]?){4}|\d{16}|(\d{3}-){2}\d{4}|[A-Z]{2}\d{2}[A-Z0-9]{11,30}",
        r"[\w.]{1,64}@[\w-]{1,255}\.\w{2,63}",
        r"(?:a{0,1000}){0,1000}",
        r"a{,5}b{x}",
        r"[(]{3}[]{1000}]{1000}",
    ],
)
def test_usual_repetitions_are_no_trouble(pattern):
    check_pattern(pattern)


ODD = st.text(alphabet=r"ab()[]{}|*+?^$\.,:=!<>PeidsLuxkpNQKgGmR&#-0129~" + "é\x00", max_size=14)


@given(ODD, st.text(max_size=10))
def test_any_text_is_a_pattern_or_a_valueerror(pattern, text):
    with suppress(ValueError, PatternTimeout):
        has_match(pattern, text, LIMIT)
