"""Streams of the Python API, both faces: text as it comes, the receipt at the end, and whoever leaves early
leaves nothing behind.
"""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
from scripted_streams import BREAKS, CUT, ENDLESS, ERROR, HEAD, STALL, ThinkingToken

from llmfail import AsyncClient, Client, DeadlinePassed, IncompleteAnswer, Unavailable, UsageError
from llmfail.core.request.ask import Ask, to_messages

OPENAI = "openai/gpt-6.1-terra"
ANTHROPIC = "anthropic/claude-sonnet-5-5"
PATIENCE = 30
SOON = 2
"""Seconds; it takes some milliseconds."""
CONFIG = """\
version: 1
defaults:
  {{retries: 0, max_tokens: 1000, timeout: 9m, deadline: 9m, stall_timeout: 9m, first_token_timeout: 9m}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 0, output: 100}}}}
  anthropic/claude-sonnet-5-5: {{price: {{input: 0, output: 100}}}}
budgets: [{{name: daily, limit: 50, per: day}}]
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
"""


@pytest.fixture
def config(tmp_path, streams):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: streams.base_url(name) for name in ("openai", "anthropic")}))
    return file


@pytest.fixture
def client(config):
    with Client(config) as opened:
        yield opened


def in_asyncio(config, play):
    """What ``play`` comes to with a client that is closed behind it; what never ends has failed."""

    async def run():
        async with asyncio.timeout(2 * PATIENCE), AsyncClient(config) as llm:
            return await play(llm)

    return asyncio.run(run())


def each(answer, hear):
    for text in answer:
        hear(text)


async def soon(event):
    """The event of a server's thread."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


def nothing_is_left(status):
    """No hold, no failure: the status as JSON."""
    assert [budget["held_usd"] for budget in status["budgets"]] == ["0"]
    assert {one["failures"] for one in status["providers"].values()} == {0}
    assert {one["state"] for one in status["providers"].values()} == {"closed"}
    return True


class TestBlocking:
    def test_each_token_comes_before_the_next_is_sent(self, client, streams):
        seen = threading.Event()
        streams.plays("openai", ["one", seen, " two"])
        heard = []
        with client.stream("Say hello") as answer:
            for text in answer:
                heard.append(text)
                seen.set()
        assert heard == ["one", " two"]
        assert streams.asked()[0].streamed

    def test_the_receipt_is_there_at_the_end(self, client, streams):
        streams.plays("openai", [ThinkingToken(), "one", " two"])
        with client.stream("Say hello", feature="default") as answer:
            heard = "".join(answer)
        receipt = answer.receipt
        assert (receipt.ok, receipt.answer, heard) == (True, "one two", "one two")
        assert (str(receipt.target), receipt.tier, receipt.usage.estimated) == (OPENAI, 0, False)
        assert receipt.cost_pico_usd > 0
        assert nothing_is_left(client.status().to_json())

    def test_before_the_first_token_somebody_else_answers(self, client, streams):
        streams.plays("openai", [ThinkingToken(), ERROR])
        with client.stream("Say hello") as answer:
            assert "".join(answer) == f"{ANTHROPIC} heard: Say hello"
        assert [entry.outcome for entry in answer.receipt.trail] == ["overloaded", "ok"]

    @pytest.mark.parametrize("end", BREAKS)
    def test_after_it_an_answer_that_breaks_is_an_error_with_what_there_was(self, client, streams, end):
        streams.plays("openai", ["one", " two", BREAKS[end]])
        heard = []
        with client.stream("Say hello") as answer, pytest.raises(IncompleteAnswer) as raised:
            each(answer, heard.append)
        receipt = raised.value.receipt
        assert heard == ["one", " two"]
        assert (raised.value.exit_code, receipt.partial) == (8, "one two")
        assert (receipt.ok, receipt.answer, receipt.error.kind) == (False, None, "incomplete")
        assert streams.count("anthropic") == 0

    def test_when_nobody_answers_the_loop_says_so(self, client, streams):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [ERROR])
        with client.stream("Say hello") as answer, pytest.raises(Unavailable) as raised:
            list(answer)
        assert [entry.outcome for entry in raised.value.receipt.trail] == ["overloaded"] * 2

    @pytest.mark.parametrize("script", [["one", STALL], ["one", ENDLESS]], ids=["stalls", "goes on"])
    def test_who_leaves_early_leaves_nothing_behind(self, client, streams, script):
        streams.plays("openai", script)
        with client.stream("Say hello") as answer:
            assert next(iter(answer)) == "one"
        assert streams.asked()[0].left.wait(PATIENCE)
        assert nothing_is_left(client.status().to_json())
        assert streams.count() == 1

    def test_so_does_an_error_of_the_callers_own(self, client, streams):
        streams.plays("openai", ["one", STALL])
        with pytest.raises(ZeroDivisionError), client.stream("Say hello") as answer:
            each(answer, lambda _text: 1 / 0)
        assert streams.asked()[0].left.wait(PATIENCE)
        assert nothing_is_left(client.status().to_json())

    def test_and_who_never_reads(self, client):
        with client.stream("Say hello"):
            pass
        assert nothing_is_left(client.status().to_json())

    def test_after_one_that_was_left_the_next_is_whole(self, client, streams):
        streams.plays("openai", ["one", STALL], ["two"])
        with client.stream("Say hello") as answer:
            next(iter(answer))
        with client.stream("Say hello") as answer:
            assert list(answer) == ["two"]

    def test_connections_are_used_again(self, client, streams):
        for _ in range(3):
            with client.stream("Say hello") as answer:
                list(answer)
        assert (streams.count(), streams.connections) == (3, 1)

    @pytest.mark.parametrize("options", [{"feature": "nowhere"}, {"model": "gpt"}, {"timeout": 0}])
    def test_what_cannot_be_asked_is_a_usage_error(self, client, streams, options):
        with pytest.raises(UsageError), client.stream("Say hello", **options) as answer:
            list(answer)
        assert streams.count() == 0

    def test_an_expected_answer_comes_when_it_fits(self, client, streams):
        streams.plays("openai", ["no ", "JSON"])
        streams.plays("anthropic", ["[", "1]"])
        with client.stream("Say hello", expect="json") as answer:
            assert "".join(answer) == "[1]"

    def test_an_ask_may_go_over_a_stream(self, client, streams):
        streams.plays("openai", ["one", CUT])
        receipt = client.ask("Say hello", stream=True)
        assert receipt.answer == f"{ANTHROPIC} heard: Say hello"
        assert [asked.streamed for asked in streams.asked()] == [True, True]

    def test_an_ask_may_be_hedged(self, client, streams):
        streams.plays("openai", [STALL])
        receipt = client.ask("Say hello", hedge=0.2)
        assert {str(entry.target): entry.outcome for entry in receipt.trail} == {
            OPENAI: "cancelled",
            ANTHROPIC: "ok",
        }
        assert streams.asked("openai")[0].left.wait(PATIENCE)

    def test_who_leaves_a_hedged_stream_early_waits_until_its_thread_is_gone(self, client, streams):
        streams.plays("openai", ["one", ENDLESS])
        with client.stream("Say hello", hedge=0.2) as answer:
            for _ in answer:
                break
        assert "llmfail-loop" not in {thread.name for thread in threading.enumerate()}

    def test_without_an_event_loop_a_hedged_ask_says_why(self, client):
        class Crowded(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                raise OSError(24, "Too many open files")

        asyncio.set_event_loop_policy(Crowded())
        try:
            with pytest.raises(OSError, match="Too many open files"):
                client.ask("Say hello", hedge=0.2)
        finally:
            asyncio.set_event_loop_policy(None)
        assert "llmfail-loop" not in {thread.name for thread in threading.enumerate()}

    @pytest.mark.parametrize("hedge", [-1, float("nan"), float("inf"), "soon", "p50"])
    def test_a_hedge_is_a_number_of_seconds_or_p95(self, client, streams, hedge):
        with pytest.raises(UsageError, match="hedge"):
            client.ask("Say hello", hedge=hedge)
        assert streams.count() == 0


class TestAsyncio:
    def test_each_token_comes_before_the_next_is_sent(self, config, streams):
        seen = threading.Event()
        streams.plays("openai", ["one", seen, " two"])

        async def play(llm):
            heard = []
            async with llm.stream("Say hello") as answer:
                async for text in answer:
                    heard.append(text)
                    seen.set()
            return heard, answer.receipt

        heard, receipt = in_asyncio(config, play)
        assert heard == ["one", " two"]
        assert (receipt.ok, receipt.answer, receipt.tier) == (True, "one two", 0)

    @pytest.mark.parametrize("end", BREAKS)
    def test_an_answer_that_breaks_is_an_error_with_what_there_was(self, config, streams, end):
        streams.plays("openai", ["one", " two", BREAKS[end]])

        async def play(llm):
            async with llm.stream("Say hello") as answer:
                with pytest.raises(IncompleteAnswer) as raised:
                    async for _ in answer:
                        pass
            return raised.value.receipt

        assert in_asyncio(config, play).partial == "one two"
        assert streams.count("anthropic") == 0

    @pytest.mark.parametrize("script", [["one", STALL], ["one", ENDLESS]], ids=["stalls", "goes on"])
    def test_who_leaves_early_leaves_nothing_behind(self, config, streams, script):
        streams.plays("openai", script)

        async def play(llm):
            async with llm.stream("Say hello") as answer:
                async for _ in answer:
                    break
            await soon(streams.asked()[0].left)
            return (await llm.status()).to_json()

        assert nothing_is_left(in_asyncio(config, play))

    def test_it_is_asked_once_however_often_it_is_read(self, config, streams):
        async def play(llm):
            answer = llm.stream("Say hello")
            return ["".join([text async for text in answer]) for _ in range(2)]

        assert in_asyncio(config, play) == [f"{OPENAI} heard: Say hello", ""]
        assert streams.count() == 1

    def test_neither_does_a_task_that_is_cancelled(self, config, streams):
        streams.plays("openai", ["one", STALL])
        heard = asyncio.Event()

        async def read(llm):
            async with llm.stream("Say hello") as answer:
                async for _ in answer:
                    heard.set()

        async def play(llm):
            task = asyncio.create_task(read(llm))
            await heard.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await soon(streams.asked()[0].left)
            return (await llm.status()).to_json()

        assert nothing_is_left(in_asyncio(config, play))

    @pytest.mark.parametrize("shown", [True, False], ids=["in pieces", "whole"])
    @pytest.mark.parametrize("script", [[STALL], [HEAD, STALL], ["one", STALL]], ids=["", "head", "token"])
    def test_a_program_that_leaves_ends_the_call(self, config, streams, shown, script):
        streams.plays("openai", script)

        async def play(llm):
            async def show(_piece):
                pass

            ask = Ask(to_messages("Say hello"), max_tokens=1000)
            task = asyncio.create_task(llm.serve(ask, on_piece=show if shown else None))
            await asyncio.to_thread(streams.wait_for, lambda: streams.count() == 1)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(streams.asked()[0].left.wait, SOON)
            return (await llm.status()).to_json()

        assert nothing_is_left(in_asyncio(config, play))

    def test_a_hundred_at_once_are_whole(self, config, streams):
        begun = threading.Event()
        streams.plays("openai", ["one", begun, " two"])

        async def one(llm):
            async with llm.stream("Say hello") as answer:
                return "".join([text async for text in answer])

        async def play(llm):
            tasks = [asyncio.create_task(one(llm)) for _ in range(100)]
            await asyncio.to_thread(streams.wait_for, lambda: streams.count() == 100)
            begun.set()
            return await asyncio.gather(*tasks)

        assert in_asyncio(config, play) == ["one two"] * 100

    def test_the_loser_of_a_hedge_is_gone_while_the_client_lives(self, config, streams):
        streams.plays("openai", [HEAD, STALL])

        async def play(llm):
            receipt = await llm.ask("Say hello", hedge=0.2)
            await soon(streams.asked("openai")[0].left)
            return receipt, (await llm.status()).to_json()

        receipt, status = in_asyncio(config, play)
        assert str(receipt.target) == ANTHROPIC
        assert nothing_is_left(status)

    def test_a_stream_may_be_hedged(self, config, streams):
        streams.plays("openai", [HEAD, STALL])

        async def play(llm):
            async with llm.stream("Say hello", hedge=0.2) as answer:
                return "".join([text async for text in answer])

        assert in_asyncio(config, play) == f"{ANTHROPIC} heard: Say hello"

    def test_a_hedge_that_is_cancelled_settles_both(self, config, streams):
        for provider in ("openai", "anthropic"):
            streams.plays(provider, [STALL])

        async def play(llm):
            task = asyncio.create_task(llm.ask("Say hello", hedge=0.2))
            await asyncio.to_thread(streams.wait_for, lambda: streams.count() == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for asked in streams.asked():
                await soon(asked.left)
            return (await llm.status()).to_json()

        assert nothing_is_left(in_asyncio(config, play))

    def test_of_many_late_asks_at_once_ten_and_a_tenth_are_hedged(self, config, streams):
        streams.plays("openai", [1.0, "late"])
        streams.plays("anthropic", [STALL])

        async def play(llm):
            return await asyncio.gather(*(llm.ask("Say hello", hedge=0.2) for _ in range(40)))

        assert [receipt.answer for receipt in in_asyncio(config, play)] == ["late"] * 40
        assert 10 <= streams.count("anthropic") <= 14


@contextlib.contextmanager
def flooding(piece):
    """A server that sends the same piece of a stream until the client goes away or the test is over."""
    over = threading.Event()

    def serve():
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            while not over.is_set():
                connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        over.set()
    thread.join(PATIENCE)


@pytest.mark.parametrize(
    "piece",
    [
        b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000),
        b"data: {}\n\n" * 6000,
        b"data: {}\n\n" + b"\n" * 60_000,
    ],
    ids=["long tokens", "tiny events", "blank lines"],
)
def test_h1_a_flood_never_holds_up_the_event_loop_for_long(tmp_path, piece):
    async def beat(longest):
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0.001)
            longest[0] = max(longest[0], time.thread_time() - begun)

    async def play(llm):
        with pytest.raises(Unavailable):
            await llm.ask("warm up", model="closed/m")
        longest = [0.0]
        beating = asyncio.create_task(beat(longest))
        with pytest.raises((DeadlinePassed, Unavailable)):
            await llm.ask("hi", model="flood/m", stream=True, deadline=1.0, no_cache=True)
        await asyncio.sleep(0.01)
        beating.cancel()
        return longest[0]

    with flooding(piece) as url:
        file = tmp_path / "llmfail.yaml"
        file.write_text(
            "version: 1\nproviders:\n"
            f"  flood: {{api: openai, base_url: '{url}', api_key: none}}\n"
            "  closed: {api: openai, base_url: 'http://127.0.0.1:9/v1', api_key: none}\n"
            "features: {default: {primary: closed/m}}\n"
        )
        begun = time.monotonic()
        assert in_asyncio(file, play) < 0.15
    assert time.monotonic() - begun < 1.0 + PATIENCE / 4
