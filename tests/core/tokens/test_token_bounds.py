"""How many tokens a text has, compared with two exact tokenizers; what a target's reports teach."""

import base64
import itertools
import json
import random
import time
from collections import defaultdict
from pathlib import Path
from string import ascii_letters, ascii_lowercase
from typing import ClassVar
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfail.core.claude_version import NEWEST, version_of
from llmfail.core.conversation import (
    Attachment,
    Message,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    message_of,
)
from llmfail.core.model import Request
from llmfail.core.records.record import dump, load
from llmfail.core.tokens import token_bounds
from llmfail.core.tokens.request_texts import count_pages
from llmfail.core.tokens.token_bounds import (
    EXPECTED_PER_IMAGE,
    MAX_PER_IMAGE,
    Calibration,
    PromptSize,
    default_calibration,
    estimate,
    estimate_input,
    learn,
    lower_bound,
    size_of,
    upper_bound,
)

openai = pytest.importorskip("rs_bpe.bpe").openai
O200K, CL100K = openai.o200k_base(), openai.cl100k_base()
FOLDER = Path(__file__).parents[2] / "data" / "texts"
WRITTEN = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.txt"))}


def made():
    """Texts that nobody writes, the same every time."""
    draw = random.Random(7)
    data = draw.randbytes(1500)
    letters = ["".join(draw.choices(ascii_lowercase, k=draw.randrange(1, 14))) for _ in range(300)]
    rows = [f"{n},{draw.random():.4f},name{n},2026-0{n % 9 + 1}-11,{n % 2 == 0}" for n in range(80)]
    return {
        "hex": data.hex(),
        "hex-upper-colons": data.hex(":").upper(),
        "base64": base64.b64encode(data).decode(),
        "uuids": "\n".join(f"{draw.getrandbits(128):032x}" for _ in range(40)),
        "numbers": " ".join(str(draw.randrange(10**9)) for _ in range(200)),
        "digits": "".join(draw.choices("0123456789", k=2000)),
        "emoji": "".join(draw.choices(["😀", "🚀", "❤️", "👍🏽", "🇩🇪", "✨", "🫠"], k=300)),
        "families": "👨‍👩‍👧‍👦👩🏾‍🚀🏳️‍🌈" * 40,
        "any-unicode": "".join(chr(draw.randrange(0xE000, 0x110000)) for _ in range(800)),
        "halves": "\ud800a\udfff the \ud83d",
        "blanks": " " * 700 + "x" + "\t" * 90 + "\n" * 90 + " \n \t\r\n" * 60,
        "rules": "-" * 200 + "=" * 77 + "*" * 64 + "#!" * 40,
        "gibberish": " ".join(letters),
        "gibberish-joined": "".join(letters),
        "shouting": " ".join(letters).upper(),
        "camels": "".join(map(str.capitalize, letters)),
        "csv": "\n".join(rows),
        "nulls": "\0\x01\x7f\x1c" * 100,
        "zalgo": "t̷h̸e̵ ̶" * 80,
        "rare-han": "龘靐齉爩麤灪纞" * 40,
        "apostrophes": "don'tab 'mathematics I'M'LL'VE'sx" * 30,
        "nothing": "",
    }


TEXTS = {
    **WRITTEN,
    **made(),
    "json-pretty": json.dumps([{"id": n, "ok": n % 3 == 0} for n in range(90)], indent=2),
}
KINDS = ("english", "code", "json", "cjk")


def exact(tokenizer, text):
    return tokenizer.count(text.encode("utf-8", "replace").decode())


def off(name):
    truth = exact(O200K, TEXTS[name])
    return estimate(TEXTS[name]) / truth - 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_error_is_below_a_tenth(kind):
    errors = {name: off(name) for name in TEXTS if name.split("-")[0] == kind}
    assert len(errors) >= 3
    assert sum(map(abs, errors.values())) / len(errors) < 0.1, errors
    assert max(map(abs, errors.values())) < 0.2, errors


@pytest.mark.parametrize("name", [name for name in WRITTEN if name.startswith("other")])
def test_other_languages_are_off_by_less_than_a_quarter(name):
    assert abs(off(name)) < 0.25


def bound(text):
    """The most tokens that the text alone can have: what its request has, without what is around it."""
    return upper_bound(size_of(Request((Message("user", text),)))) - upper_bound(
        size_of(Request((Message("user", ""),)))
    )


@pytest.mark.parametrize("tokenizer", [O200K, CL100K], ids=["o200k", "cl100k"])
@pytest.mark.parametrize("name", TEXTS)
def test_no_sample_has_more_tokens_than_the_bound(tokenizer, name):
    assert exact(tokenizer, TEXTS[name]) <= bound(TEXTS[name])


def test_the_bound_of_ascii_text_is_its_bytes():
    assert bound(WRITTEN["english-essay"]) == len(WRITTEN["english-essay"].encode())


def test_a_ligature_is_bounded_by_what_it_is_spelled_out_to():
    assert bound("\ufdfa") == len("صلى الله عليه وسلم".encode())


RIGHT_QUOTE, LONG_S, ACCENT, JOINER = "\u2019", "\u017f", "\u0301", "\u200d"
PIECES = st.sampled_from(
    [
        *("the", "and", "function", "time", "str", "international", "un", "ization"),
        *("qzx", "vkj", "THE", "The", "getName", "é", "ß", "中", "😀", "ǅ", ACCENT, JOINER, "\u3000", LONG_S),
        *("\n", "\r\n", "\t", " ", "  ", " " * 90, "0", "2026", "((", "/", ".", '"', "{", "_", "\x7f"),
        *("'", RIGHT_QUOTE, "'s", "'LL"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.text()
    | st.text(ascii_letters + " '._-")
    | st.text(ascii_lowercase)
    | st.lists(PIECES, max_size=40).map("".join)
)
def test_no_text_has_more_tokens_than_the_bound(text):
    assert max(exact(O200K, text), exact(CL100K, text)) <= bound(text)


def test_blanks_in_a_row_of_any_length_stay_within_the_bound():
    for length in range(1, 400):
        for text in (" " * length, " " * length + "x", "x\n" + " " * length + "\n"):
            assert max(O200K.count(text), CL100K.count(text)) <= bound(text)


def test_everything_that_is_sent_is_weighed():
    text = WRITTEN["english-essay"]
    plain = size_of(Request((Message("user", text),)))
    file = Attachment("a&b.txt", "text/plain", text.encode())
    image = Attachment("i.png", "image/png", b"\x89PNG" * 1000)
    more = size_of(
        Request(
            (message_of("user", text, (file, image)), Message("assistant", text)),
            system=text,
            schema={"type": "object", "title": text},
        )
    )
    assert (plain.images, more.images) == (0, 1)
    assert more.expected > 4.9 * plain.expected
    assert more.bytes > 4.9 * len(text)
    assert plain.expected == estimate(text) + 4 + 3


def test_an_image_costs_what_the_table_says_and_more_in_the_bound():
    size = PromptSize(10, 30, images=2)
    assert estimate_input(size, Calibration()) == 10 + 2 * EXPECTED_PER_IMAGE
    assert upper_bound(size) == 30 + 2 * MAX_PER_IMAGE


def test_a_file_that_is_no_text_and_half_a_character_are_weighed_too():
    file = Attachment("x", "application/pdf", b"\xff\xfe%PDF")
    assert size_of(Request((message_of("user", "\ud800", (file,)),))).bytes > 0


def test_the_least_is_below_the_truth():
    request = Request((Message("user", WRITTEN["english-letter"]),))
    assert 0 < lower_bound(size_of(request)) < exact(O200K, WRITTEN["english-letter"])


def test_hex_and_emoji_after_prose_stay_within_the_bound():
    """A target that has reported a quarter of a token for each byte of prose may be sent anything next."""
    for name in ("hex", "hex-upper-colons", "emoji", "families", "any-unicode", "zalgo", "rare-han"):
        size = size_of(Request((Message("user", TEXTS[name]),)))
        assert exact(CL100K, TEXTS[name]) <= upper_bound(size)


OTHER = 1.3
"""What a tokenizer of another family makes of a token of cl100k."""


def truth_of(text):
    return round(exact(CL100K, text) * OTHER)


def taught(calibration=None, rounds=10):
    calibration = calibration or Calibration()
    lessons = itertools.cycle(name for name in WRITTEN if name.startswith(("english", "code")))
    for name in itertools.islice(lessons, rounds):
        text = WRITTEN[name]
        calibration = learn(calibration, size_of(Request((Message("user", text),))), truth_of(text))
    return calibration


def test_the_error_on_another_familys_tokenizer_falls_with_ten_calls():
    def mean_error(calibration):
        errors = [
            abs(estimate_input(size_of(Request((Message("user", text),))), calibration) / truth_of(text) - 1)
            for name, text in WRITTEN.items()
            if name.startswith(("english", "code", "json"))
        ]
        return sum(errors) / len(errors)

    assert mean_error(Calibration()) > 0.15
    assert mean_error(taught()) < 0.08


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.text(ascii_letters + " "), st.sampled_from(sorted(TEXTS)).map(TEXTS.get)))
def test_a_target_of_another_family_stays_within_the_bound_on_any_text(text):
    size = size_of(Request((Message("user", text),)))
    truth = min(truth_of(text), len(text.encode("utf-8", "replace")))
    assert truth <= upper_bound(size)


@pytest.mark.parametrize(
    ("size", "reported"),
    [
        (PromptSize(1000, 4000), 0),
        (PromptSize(1000, 4000), -5),
        (PromptSize(1000, 4000), 100),
        (PromptSize(1000, 4000), 90_000),
        (PromptSize(1000, 4000, images=1), 1500),
        (PromptSize(20, 80), 60),
    ],
    ids=["nothing", "less than nothing", "cut", "absurd", "with an image", "tiny"],
)
def test_nonsense_teaches_nothing(size, reported):
    assert learn(Calibration(), size, reported) == Calibration()


def test_the_first_reports_weigh_most():
    size = PromptSize(1000, 4000)
    first = learn(Calibration(), size, 2000)
    assert (first.ratio, first.samples) == (1.5, 1)
    later = first
    for _ in range(20):
        later = learn(later, size, 1000)
    assert later.ratio == pytest.approx(1.0, abs=0.05)


def test_a_calibration_out_of_range_counts_as_none():
    assert load(dump(Calibration(1.2, 7)), Calibration) == Calibration(1.2, 7)
    assert load('{"v":1,"ratio":1e300,"samples":9}', Calibration) is None


def test_a_calibration_that_an_earlier_version_wrote_is_used():
    stored = '{"v":1,"ratio":1.2,"highest":1.4,"samples":7,"start":1.1}'
    assert load(stored, Calibration) == Calibration(1.2, 7)


@pytest.mark.parametrize(
    ("model", "ratio"),
    [
        ("claude-3-5-haiku-20241022", 1.05),
        ("claude-sonnet-4-20250514", 1.05),
        ("claude-haiku-4-5@20251001", 1.05),
        ("anthropic/claude-opus-4.6", 1.05),
        ("claude-opus-4-7", 1.35),
        ("claude-sonnet-5-5", 1.35),
        ("claude-next", 1.35),
        ("gpt-6.1-terra", 1.0),
        ("gemini-3.8-flash", 1.0),
        ("llama3.2", 1.1),
        ("mistral-large-4", 1.1),
        ("whatever", 1.0),
    ],
)
def test_the_family_of_a_model_gives_the_first_guess(model, ratio):
    assert default_calibration(model) == Calibration(ratio)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-opus-4-10", (4, 10)),
        ("claude-" + "9" * 5000, (9999, 0)),
        ("claude-2.1", (2, 1)),
        ("claude-x", NEWEST),
        ("gpt-4-1", None),
    ],
)
def test_the_version_of_a_claude_stands_in_its_name(model, version):
    assert version_of(model) == version


LONG = "".join(itertools.islice(itertools.cycle(WRITTEN.values()), 400))


def test_h1_a_long_text_is_estimated_by_samples():
    assert len(LONG) > token_bounds.MAX_WEIGHED_CHARS
    parts = (LONG[start : start + 100_000] for start in range(0, len(LONG), 100_000))
    assert estimate(LONG) == pytest.approx(sum(map(estimate, parts)), rel=0.1)


def test_h1_what_an_estimate_takes_does_not_grow_with_the_text():
    flood = "".join(random.Random(7).choices(ascii_letters + " ", k=100_000)) * 300
    begun = time.thread_time()
    estimate(flood)
    assert time.thread_time() - begun < 0.15


@pytest.mark.parametrize("text", [LONG, LONG + "é", "\ufdfa" * 300_000], ids=["prose", "accent", "ligatures"])
def test_h1_the_bound_of_a_long_text_is_its_bytes_or_more(text):
    assert bound(text) >= len(text.encode())
    assert bound(text) >= len(normalize("NFKC", text).encode())


def test_h1_a_text_that_was_weighed_before_weighs_the_same():
    for text in (LONG, WRITTEN["english-essay"] * 3):
        request = Request((Message("user", text),))
        assert size_of(request) == size_of(Request((Message("user", "".join(list(text))),)))


class CountedText(str):
    """Counts how often somebody looks at every one of its characters."""

    __slots__ = ()
    looks: ClassVar = []

    def encode(self, *arguments):
        CountedText.looks.append(len(self))
        return super().encode(*arguments)


def test_a_turn_that_was_weighed_is_not_weighed_again_when_the_conversation_goes_on():
    """Programs send all of it each time, as new texts."""
    turns = [f"{number}: {WRITTEN['english-letter']}" for number in range(8)]
    looks = []
    for count in (6, 7, 7, 8):
        CountedText.looks.clear()
        size_of(Request(tuple(Message("user", CountedText(turn)) for turn in turns[:count])))
        looks.append(len(CountedText.looks))
    assert looks == [6, 1, 0, 1]


def test_twice_a_text_is_about_twice_the_tokens():
    errors = defaultdict(float)
    for name, text in WRITTEN.items():
        errors[name] = token_bounds.estimate(text + "\n\n" + text) / (2 * token_bounds.estimate(text))
    assert all(0.98 < ratio < 1.02 for ratio in errors.values()), errors


def test_tools_calls_results_and_thoughts_are_weighed():
    text = WRITTEN["english-letter"]
    plain = size_of(Request((Message("user", text),)))
    turns = (
        Message("user", text),
        Message("assistant", (Thought(text), ToolCall("a", "f", text))),
        Message("user", (ToolResult("a", text),)),
    )
    more = size_of(Request(turns, tools=(Tool("f", text),)))
    assert more.expected > 4.9 * plain.expected
    assert more.bytes > 4.9 * len(text)


def test_a_pdf_weighs_by_its_pages_and_by_its_size_where_they_are_not_to_be_seen():
    """As vendors count: the text of a page, and the page as an image."""
    page = b"1 0 obj << /Type /Page /Parent 2 0 R >> endobj\n"
    assert count_pages(b"%PDF-1.4\n" + 3 * page + b"<< /Type /Pages /Count 3 >>") == 3
    assert count_pages(b"%PDF-1.7\n<< /Type /Pages /Count 120 >>") == 120
    assert count_pages(b"%PDF-1.7\n" + bytes(100_000)) > 1
    pdf = Attachment("a.pdf", "application/pdf", b"%PDF-1.4\n" + 3 * page)
    assert size_of(Request((message_of("user", "Hi", (pdf,)),))).images == 6
