"""An answer token by token: what a person at a terminal sees of it, and what a pipe gets, if all is well."""

import base64
import json
import threading
from urllib.parse import quote

import pytest
from program import KEYS, OPENAI, build_config, finish
from scripted_streams import CUT, ERROR, PING, PLAIN, ErrorEvent, SplitToken, ThinkingToken
from stream_asks import (
    FORMATS,
    FOUR_TOKENS,
    SPARE,
    SPARE_ANSWER,
    ask_on_terminal,
    has_broken_off_message,
    provider_of,
    start_ask,
)

KEY = "sk-proj/e2e0123456789+ABCDEFghijklmnopQRSTUVW"
"""45 characters: in base64 it has no edge that it shares with what stands beside it."""


class TestWhole:
    @pytest.mark.parametrize("target", FORMATS)
    def test_a_terminal_shows_a_token_before_the_next_one_is_sent(self, chained, streams, screen, target):
        seen = threading.Event()
        streams.plays(provider_of(target), ["one", seen, " two"])
        with start_ask(chained(target), stdout=screen.fd) as process:
            screen.wait_for("one")
            assert screen.text == "one"
            seen.set()
            ended = finish(process)
        assert (ended.code, ended.err, screen.text) == (0, "", "one two\n")
        assert [asked.streamed for asked in streams.asked()] == [True]

    def test_what_moves_on_standard_error_is_gone_when_the_first_token_comes(self, chained, streams, screen):
        begin, seen = threading.Event(), threading.Event()
        streams.plays("openai", [begin, "one", seen, " two"])
        llmfail = chained(OPENAI)
        with start_ask(llmfail, stdout=screen.fd, stderr=screen.fd) as process:
            screen.wait_for("asking")
            begin.set()
            screen.wait_for("one")
            seen.set()
            assert finish(process).code == 0
        assert "one two\n" in screen.text

    @pytest.mark.parametrize("target", FORMATS)
    @pytest.mark.parametrize("flags", [[], ["--stream"]], ids=["not asked for", "asked for"])
    def test_a_pipe_gets_it_whole(self, chained, streams, target, flags):
        streams.plays(provider_of(target), [PING, ThinkingToken(), "one", PING, " two"])
        ended = chained(target)("ask", "Say hello", *flags)
        assert (ended.code, ended.out, ended.err) == (0, b"one two\n", "")
        assert [asked.streamed for asked in streams.asked()] == [bool(flags)]

    def test_a_terminal_gets_it_whole_where_streams_are_not_wanted(self, chained, streams, screen):
        ended = ask_on_terminal(chained(OPENAI), screen, "--no-stream")
        assert (ended.code, screen.text) == (0, f"{OPENAI} heard: Say hello\n")
        assert [asked.streamed for asked in streams.asked()] == [False]

    def test_of_a_flag_and_its_opposite_the_last_one_holds(self, chained, streams):
        ended = chained(OPENAI)("ask", "Say hello", "--no-stream", "--stream")
        assert ended.code == 0
        assert [asked.streamed for asked in streams.asked()] == [True]

    @pytest.mark.parametrize("target", FORMATS)
    def test_thoughts_and_pings_are_not_shown(self, chained, streams, screen, target):
        streams.plays(provider_of(target), [PING, ThinkingToken("secretly"), "one", PING, " two", PING])
        ended = ask_on_terminal(chained(target), screen)
        assert (ended.code, screen.text) == (0, "one two\n")

    @pytest.mark.parametrize("target", FORMATS)
    def test_a_server_that_cannot_stream_answers_all_the_same(self, chained, streams, screen, target):
        streams.plays(provider_of(target), ["one", " two", PLAIN])
        ended = ask_on_terminal(chained(target), screen)
        assert (ended.code, screen.text) == (0, "one two\n")

    @pytest.mark.parametrize(
        ("tokens", "text"),
        [
            pytest.param(["one", "\n", "\n\n"], "one\n", id="newlines at the end are one"),
            pytest.param(["one\n\n", "two"], "one\n\ntwo\n", id="those within stay"),
            pytest.param(["one\n", "\n", "two\n", "\n"], "one\n\ntwo\n", id="both"),
            pytest.param(["  ", "one"], "  one\n", id="blanks in front stay"),
            pytest.param(["one  "], "one  \n", id="and those behind"),
            pytest.param(
                [SplitToken("你好"), " ", SplitToken("🎉")], "你好 🎉\n", id="a character in two parts"
            ),
            pytest.param(["word " * 400, "end"], "word " * 400 + "end\n", id="a long line is not folded"),
            pytest.param(["[bold]", "x", "[/bold]"], "[bold]x[/bold]\n", id="markup is text"),
        ],
    )
    def test_a_terminal_shows_the_answer_and_one_newline(self, chained, streams, screen, tokens, text):
        streams.plays("openai", tokens)
        assert ask_on_terminal(chained(OPENAI), screen).code == 0
        assert screen.text == text

    def test_an_answer_that_was_cut_at_its_length_comes_with_a_warning(self, simulator, configure, screen):
        simulator.set_answer(lambda _seen: "word " * 100)
        ended = ask_on_terminal(configure(build_config(simulator, OPENAI)), screen, "--max-tokens", "5")
        assert ended.code == 0
        assert "max_tokens" in ended.err

    def test_quiet_is_quiet(self, chained, screen, errors):
        llmfail = chained(OPENAI).before_that("-q")
        with start_ask(llmfail, stdout=screen.fd, stderr=errors.fd) as process:
            assert finish(process).code == 0
        assert (screen.text, errors.text) == (f"{OPENAI} heard: Say hello\n", "")

    def test_the_receipt_of_a_stream_is_that_of_any_answer(self, chained):
        llmfail = chained(OPENAI)
        streamed, whole = llmfail.ask("--stream").document, llmfail.ask().document
        own = {"id", "latency_ms", "trail"}
        assert {k: v for k, v in streamed.items() if k not in own} == {
            k: v for k, v in whole.items() if k not in own
        }
        assert streamed["trail"][0]["outcome"] == "ok"


class TestShownWhenItIsWhole:
    """What must be judged first, or goes to a program."""

    def test_a_receipt_on_a_terminal(self, chained, streams, screen):
        streams.plays("openai", [*FOUR_TOKENS, CUT])
        ended = ask_on_terminal(chained(OPENAI, SPARE), screen, "--json")
        assert ended.code == 0
        receipt = json.loads(screen.text)
        assert (receipt["ok"], receipt["target"], receipt["answer"]) == (True, SPARE, SPARE_ANSWER.strip())

    def test_a_file(self, chained, streams, screen, here):
        streams.plays("openai", [*FOUR_TOKENS, CUT])
        ended = ask_on_terminal(chained(OPENAI, SPARE), screen, "-o", "answer.txt", "--stream")
        assert (ended.code, screen.text) == (0, "")
        assert (here / "answer.txt").read_text() == SPARE_ANSWER
        assert streams.asked("openai")[0].streamed

    @pytest.mark.parametrize(
        "options", [["--schema", "SCHEMA"], ["--expect", "json"], ["--expect", r"regex:^\{"]], ids=" ".join
    )
    def test_an_answer_that_has_to_fit(self, chained, streams, screen, here, options):
        (here / "SCHEMA").write_text('{"type": "object", "required": ["a"]}')
        streams.plays("openai", ["no ", "JSON"])
        streams.plays("spare", ['{"a"', ": 1}"])
        ended = ask_on_terminal(chained(OPENAI, SPARE), screen, *options)
        assert (ended.code, screen.text) == (0, '{"a": 1}\n')

    def test_one_that_fits_nowhere_is_not_shown_at_all(self, chained, streams, screen):
        for provider in ("openai", "spare"):
            streams.plays(provider, ["no ", "JSON"])
        ended = ask_on_terminal(chained(OPENAI, SPARE), screen, "--expect", "json")
        assert (ended.code, screen.text) == (3, "")

    def test_an_answer_that_only_has_to_be_one_streams(self, chained, streams, screen):
        seen = threading.Event()
        streams.plays("openai", ["one", seen, " two"])
        llmfail = chained(OPENAI)
        with start_ask(llmfail, "--expect", "nonempty", stdout=screen.fd) as process:
            screen.wait_for("one")
            seen.set()
            assert finish(process).code == 0

    def test_a_degraded_answer(self, streams, chained, screen):
        streams.plays("openai", [ERROR])
        feature = {"primary": OPENAI, "degrade": [{"text": "not today"}]}
        ended = ask_on_terminal(chained(OPENAI, features={"default": feature}), screen)
        assert (ended.code, screen.text) == (0, "not today\n")


class TestHostile:
    def test_a_terminal_obeys_no_token(self, chained, streams, screen):
        tokens = [
            "before",
            "\x1b[2J",
            "\x1b",
            "]0;title\x07",
            "\x1b",
            "[31m",
            "\x9b",
            "31m",
            "\x08\r",
            "after",
        ]
        streams.plays("openai", tokens)
        assert ask_on_terminal(chained(OPENAI), screen).code == 0
        assert not set(screen.text) & set("\x1b\x07\x08\r\x9b")
        assert screen.text.startswith("before")
        assert screen.text.endswith("after\n")

    def test_nor_an_error_in_the_middle(self, chained, streams, screen):
        streams.plays("openai", ["one\x1b", CUT])
        ended = ask_on_terminal(chained(OPENAI), screen)
        assert ended.code == 8
        assert "\x1b" not in screen.text + ended.err

    @pytest.mark.parametrize(
        "form",
        [
            pytest.param(str, id="as it is"),
            pytest.param(lambda key: base64.b64encode(key.encode()).decode(), id="base64"),
            pytest.param(lambda key: quote(key, safe=""), id="of a URL"),
            pytest.param(lambda key: key.encode().hex(), id="hex"),
        ],
    )
    @pytest.mark.parametrize("size", [1, 7, 20], ids="in tokens of {} characters".format)
    def test_a_key_that_a_provider_repeats_is_never_seen(self, chained, streams, screen, state, form, size):
        written = form(KEY)
        tokens = [written[place : place + size] for place in range(0, len(written), size)]
        streams.plays("openai", ["Your key is ", *tokens, " indeed."])
        llmfail = chained(OPENAI).with_environ(**KEYS | {"OPENAI_API_KEY": KEY})
        assert ask_on_terminal(llmfail, screen).code == 0
        assert screen.text == "Your key is [key] indeed.\n"
        kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
        assert KEY.encode() not in kept
        assert llmfail("ask", "Say hello", "--stream").out == b"Your key is [key] indeed.\n"

    def test_what_only_begins_like_a_key_is_shown(self, chained, streams, screen):
        streams.plays("openai", ["Keys begin with ", KEY[:8]])
        llmfail = chained(OPENAI).with_environ(**KEYS | {"OPENAI_API_KEY": KEY})
        assert ask_on_terminal(llmfail, screen).code == 0
        assert screen.text == f"Keys begin with {KEY[:8]}\n"

    def test_a_key_in_the_error_that_ends_a_stream_is_not_seen_either(self, chained, streams, screen):
        streams.plays("openai", ["one", " two", ErrorEvent(f"Your key is {KEY}")])
        llmfail = chained(OPENAI).before_that("-vv").with_environ(**KEYS | {"OPENAI_API_KEY": KEY})
        ended = ask_on_terminal(llmfail, screen)
        assert has_broken_off_message(ended, OPENAI)
        assert KEY not in screen.text + ended.err
