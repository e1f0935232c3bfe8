"""``llmfail embed``: vectors of one text or of many, and never of two models."""

import json
import signal
import subprocess
import threading
from decimal import Decimal

import pytest
from program import build_config, finish, wait_until
from terminal import Terminal

from llmfail.core.model import Reply
from llmfail.simulator import parse_faults
from llmfail.simulator.formats import build_answer
from llmfail.simulator.formats.reply_text import DEFAULT_DIMENSIONS, build_vector

SMALL = "openai/text-embedding-3-small"
ELSEWHERE = "anywhere/openai/text-embedding-3-small"
LARGE = "openai/text-embedding-3-large"
GEMINI = "google/gemini-embedding-001"
VERTEX = "vertex/gemini-embedding-001"


def vectors_of(simulator, *chain, **feature):
    """A feature of embeddings; ``anywhere`` speaks OpenAI's format, ``vertex`` has a token of its own."""
    primary, *fallbacks = chain
    document = build_config(simulator)
    document["providers"] |= {
        "anywhere": {
            "api": "openai",
            "base_url": simulator.base_url("anywhere"),
            "api_key": "key-of-anywhere",
        },
        "vertex": {
            "api": "vertex",
            "base_url": simulator.base_url("vertex"),
            "project": "p",
            "token": "made-up-vertex-token",
        },
    }
    document["features"]["search"] = {"primary": primary, "fallbacks": fallbacks} | feature
    return document


@pytest.fixture
def simulator(simulator):
    """Vectors as the simulator makes them."""
    simulator.set_answer(lambda seen: "")
    return simulator


@pytest.fixture
def embed(simulator, configure):
    """A program that embeds with the feature of this chain."""

    def program(*chain, **feature):
        llmfail = configure(vectors_of(simulator, *chain, **feature))

        def run(*arguments, stdin=b"", program=llmfail):
            return program("embed", "-f", "search", *arguments, stdin=stdin)

        run.llmfail = llmfail
        return run

    return program


def short(seen):
    """An answer with vectors of four dimensions."""
    whole = build_answer(seen, "")
    document = json.loads(whole.body)
    for row in document["data"]:
        row["embedding"] = row["embedding"][:4]
    return Reply(200, whole.headers, json.dumps(document).encode())


def shorten(simulator, provider):
    """From now on the vectors of that provider are short."""
    simulator.set_answer(lambda seen: short(seen) if seen.provider == provider else "")


def receipts(ended):
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.mark.parametrize("target", [SMALL, GEMINI, VERTEX])
def test_a_text_is_printed_as_a_json_array_in_every_wire_format(embed, simulator, target):
    ended = embed(target)("a café")
    assert (ended.code, ended.err) == (0, "")
    assert ended.document == build_vector("a café", None)
    assert ended.out.endswith(b"]\n")
    assert simulator.count(target) == 1


@pytest.mark.parametrize("target", [SMALL, VERTEX])
def test_a_receipt_has_the_vector_its_dimensions_and_what_it_cost(embed, target):
    receipt = embed(target)("hello", "--json").document
    assert receipt["embedding"] == build_vector("hello", None)
    assert receipt["dimensions"] == DEFAULT_DIMENSIONS
    assert (receipt["ok"], receipt["answer"], receipt["target"], receipt["tier"]) == (True, None, target, 0)
    assert receipt["usage"]["input_tokens"] > 0 == receipt["usage"]["output_tokens"]
    assert Decimal(receipt["cost_usd"]) > 0


def test_the_text_is_standard_input_the_argument_or_both(embed, simulator):
    run = embed(SMALL)
    assert run("", stdin=b"piped\n").document == build_vector("piped", None)
    assert run("-", stdin=b"piped\n").document == build_vector("piped", None)
    assert run("typed", stdin=b"piped\n").document == build_vector("piped\n\ntyped", None)


def test_what_a_feature_says_of_prompts_does_not_touch_the_text(embed, simulator):
    run = embed(SMALL, system="You are terse.", max_tokens=100_000, expect={"regex": "never"})
    assert run("hello").code == 0
    assert simulator.requests[0].document == {
        "model": "text-embedding-3-small",
        "input": ["hello"],
        "encoding_format": "float",
    }


@pytest.mark.parametrize("arguments", [(), ("",), ("  \n",)])
def test_an_empty_text_is_a_usage_error(embed, simulator, arguments):
    ended = embed(SMALL)(*arguments)
    assert (ended.code, ended.out) == (2, b"")
    assert "there is no text" in ended.err
    assert simulator.count() == 0


def test_the_same_model_elsewhere_takes_over(embed, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    ended = embed(SMALL, ELSEWHERE)("hello", "--json")
    assert ended.code == 0
    assert ended.trail == [(SMALL, "called", "overloaded"), (ELSEWHERE, "called", "ok")]
    assert ended.document["tier"] == 2
    assert ended.document["embedding"] == build_vector("hello", None)
    assert f"{ELSEWHERE} answered (tier 2" in ended.err


def test_the_same_model_at_vertex_takes_over_from_gemini(embed, simulator):
    simulator.set_faults(parse_faults("google=hang"))
    ended = embed(GEMINI, VERTEX, timeout="0.5s")("hello", "--json")
    assert ended.trail == [(GEMINI, "called", "timeout"), (VERTEX, "called", "ok")]


def test_another_model_is_not_asked_and_the_failure_says_so(embed, simulator):
    simulator.set_faults(parse_faults(f"{SMALL}=503"))
    ended = embed(SMALL, LARGE, GEMINI)("hello", "--json")
    assert ended.code == 3
    assert ended.trail == [
        (SMALL, "called", "overloaded"),
        (LARGE, "skipped", "other_model"),
        (GEMINI, "skipped", "other_model"),
    ]
    assert (ended.document["embedding"], ended.document["dimensions"]) == (None, None)
    assert f"not asked: {LARGE}, {GEMINI} (another model; vectors of two models do not mix" in ended.err
    assert simulator.count() == 1


def test_another_model_does_not_change_whose_fault_it_was(embed):
    run = embed(SMALL, GEMINI)
    ended = run("hello", "--json", program=run.llmfail.without("OPENAI_API_KEY"))
    assert ended.code == 6
    assert ended.trail == [(SMALL, "skipped", "no_key"), (GEMINI, "skipped", "other_model")]


def test_a_feature_may_allow_other_models_and_their_dimensions(embed, simulator):
    shorten(simulator, "anywhere")
    run = embed(SMALL, "anywhere/tiny", allow_other_models=True)
    assert len(run("hello").document) == DEFAULT_DIMENSIONS
    simulator.set_faults(parse_faults("openai=503"))
    ended = run("hello", "--json")
    assert (ended.code, ended.document["dimensions"]) == (0, 4)


def test_models_named_on_the_command_line_do_not_mix_either(embed, simulator):
    simulator.set_faults(parse_faults(f"{LARGE}=503"))
    ended = embed(SMALL)("hello", "-m", LARGE, "-m", SMALL, "--json")
    assert ended.trail == [(LARGE, "called", "overloaded"), (SMALL, "skipped", "other_model")]


def test_a_nearly_spent_budget_does_not_change_the_model(simulator, configure):
    document = vectors_of(simulator, LARGE, SMALL)
    document["models"] = {LARGE: {"price": {"input": 100000, "output": 0}}}
    document["budgets"] = [{"name": "b", "limit": 100, "per": "day", "downgrade_at": 0.000001}]
    llmfail = configure(document)
    asked = [llmfail("embed", "hello", "-f", "search", "--json").document["target"] for _ in range(3)]
    assert asked == [LARGE] * 3


def test_a_fallback_with_other_dimensions_is_refused_by_another_process_too(embed, simulator):
    third = "google/text-embedding-3-small"
    run = embed(SMALL, ELSEWHERE, third)
    assert len(run("hello").document) == DEFAULT_DIMENSIONS
    simulator.set_faults(parse_faults("openai=503"))
    shorten(simulator, "anywhere")
    ended = run("hello", "--json")
    assert ended.trail == [
        (SMALL, "called", "overloaded"),
        (ELSEWHERE, "called", "rejected_answer"),
        (third, "called", "ok"),
    ]
    note = ended.document["trail"][1]["note"]
    assert note == f"4 dimensions where the primary's vectors have {DEFAULT_DIMENSIONS}"


def test_a_primary_that_has_changed_is_believed_with_a_warning(embed, simulator):
    run = embed(SMALL, ELSEWHERE)
    run("hello")
    shorten(simulator, "openai")
    ended = run("hello")
    assert (ended.code, len(ended.document)) == (0, 4)
    assert f"had {DEFAULT_DIMENSIONS} dimensions and now have 4" in ended.err
    assert run("hello").err == ""
    simulator.set_faults(parse_faults("openai=503"))
    assert run("hello").code == 3


def test_whoever_answers_first_speaks_for_a_primary_that_is_down(embed, simulator):
    shorten(simulator, "anywhere")
    simulator.set_faults(parse_faults("openai=503"))
    run = embed(SMALL, ELSEWHERE, "google/text-embedding-3-small")
    assert len(run("hello").document) == 4
    simulator.set_faults(parse_faults("openai=503,anywhere=503"))
    assert run("hello", "--json").trail[-1] == ("google/text-embedding-3-small", "called", "rejected_answer")


def test_a_chain_that_cannot_embed_is_a_usage_error(embed, simulator):
    ended = embed("anthropic/claude-sonnet-5-5", "google/gemini-3.8-flash")("hello")
    assert ended.code == 2
    assert ended.err == (
        "llmfail: feature search cannot embed: claude-sonnet-5-5: Anthropic has no embeddings; use another "
        "provider for this feature, or name a target with -m\n"
    )
    assert simulator.count() == 0


def test_a_feature_without_a_primary_must_have_one_model(simulator, configure):
    document = vectors_of(simulator, SMALL, LARGE)
    document["features"]["any"] = {"priority": "template"}
    llmfail = configure(document)
    ended = llmfail("embed", "hello", "-f", "any")
    assert ended.code == 2
    assert "feature any has no primary, and vectors of different models do not mix" in ended.err


@pytest.mark.disk
def test_neither_texts_nor_vectors_nor_keys_are_kept(embed, simulator, state):
    run = embed(SMALL)
    simulator.set_faults(parse_faults("openai=401"))
    run("the moon is cheese")
    run.llmfail("reset", "--all")
    simulator.set_faults(parse_faults("none"))
    assert run("the moon is cheese").code == 0
    kept = b"".join(file.read_bytes() for file in state.rglob("*") if file.is_file())
    number = str(build_vector("the moon is cheese", None)[0]).encode()
    assert kept
    assert not [word for word in (b"cheese", number, b"made-up-openai-key") if word in kept]
    assert len(run.llmfail("log", "--json").out.splitlines()) == 2


def test_an_error_that_echoes_the_key_does_not_show_it(embed, simulator):
    simulator.set_answer(
        lambda seen: Reply(
            400, {}, json.dumps({"error": {"message": seen.headers["authorization"]}}).encode()
        )
    )
    ended = embed(SMALL)("hello", "--json")
    assert ended.code == 5
    assert "made-up-openai-key" not in ended.err + ended.out.decode()


@pytest.mark.parametrize(("faults", "code"), [("all=400", 5), ("openai=auth", 6), ("openai=503", 3)])
def test_exit_codes_are_those_of_an_ask(embed, simulator, faults, code):
    simulator.set_faults(parse_faults(faults))
    assert embed(SMALL)("hello").code == code


def test_a_text_that_may_cost_more_is_refused(embed, simulator):
    assert embed(SMALL)("hello", "--max-cost", "0").code == 4
    assert simulator.count() == 0


def test_no_fallback_asks_the_first_target_only(embed, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    ended = embed(SMALL, ELSEWHERE)("hello", "--no-fallback", "--json")
    assert (ended.code, ended.trail) == (3, [(SMALL, "called", "overloaded")])


def test_a_deadline_covers_everything(embed, simulator):
    simulator.set_faults(parse_faults("all=hang"))
    assert embed(SMALL, ELSEWHERE)("hello", "--deadline", "0.5").code == 7


def test_a_vector_goes_to_a_file_whole_or_not_at_all(embed, simulator, here):
    (here / "v.json").write_text("before")
    simulator.set_faults(parse_faults("openai=503"))
    run = embed(SMALL)
    assert run("hello", "-o", "v.json").code == 3
    assert (here / "v.json").read_text() == "before"
    simulator.set_faults(parse_faults("none"))
    run.llmfail("reset", "--all")
    assert run("hello", "-o", "v.json").out == b""
    assert json.loads((here / "v.json").read_text()) == build_vector("hello", None)


LINES = b'"one"\n{"text": "two", "id": "b"}\n\n{"prompt": "three", "id": 7}\n{"text": "four", "id": null}'


def test_lines_give_receipts_in_their_order_with_their_names(embed, simulator):
    ended = embed(SMALL)("--input", "-", "--json", stdin=LINES)
    assert ended.code == 0
    assert [receipt["ref"] for receipt in receipts(ended)] == [1, "b", 7, 5]
    assert [receipt["embedding"] for receipt in receipts(ended)] == [
        build_vector(text, None) for text in ("one", "two", "three", "four")
    ]
    assert len({receipt["id"] for receipt in receipts(ended)}) == 4
    assert len(ended.lines) == 1
    assert ended.lines[0].startswith("llmfail: 4 embedded, 0 failed, ")


def test_lines_give_arrays_without_json(embed, here):
    (here / "texts.jsonl").write_bytes(LINES)
    ended = embed(SMALL)("--input", "texts.jsonl")
    assert receipts(ended) == [build_vector(text, None) for text in ("one", "two", "three", "four")]


def test_the_order_is_that_of_the_lines_however_long_each_takes(embed, simulator):
    texts = [f"text {number}" for number in range(100)]
    simulator.set_faults(parse_faults("openai=slow:300x2"))
    stdin = "\n".join(map(json.dumps, texts)).encode()
    ended = embed(SMALL)("--input", "-", "--concurrency", "16", stdin=stdin)
    assert receipts(ended) == [build_vector(text, None) for text in texts]
    assert simulator.count_connections("openai") > 1
    assert simulator.count() == 4


MALFORMED = [
    (b"{", "not JSON (character 2); a line is a JSON text, or an object"),
    (b"7", "it is neither a text nor an object"),
    (b"null", "it is neither a text nor an object"),
    (b"{}", "the text is empty"),
    (b'{"text": 7}', "text is not a text"),
    (b'{"text": "x", "prompt": "y"}', "it has text and prompt; say one of them"),
    (
        b'{"text": "x", "modle": "y"}',
        "unknown key 'modle' (did you mean 'model'?); a line knows text, prompt, id",
    ),
    (b'{"text": "x", "id": true}', "id is not a text or a whole number"),
    (b'{"text": "x", "id": 1}', "1 is the id or the number of an earlier line"),
    (b'{"text": "x", "model": "nobody"}', "a target is written provider/model"),
    (b'""', "the text is empty"),
    (b'{"text": " "}', "the text is empty"),
    (b'"\\ud800"', "its text has half of a surrogate pair"),
    (b'"\xff"', "not UTF-8 text"),
    (b"[" * 100_000, "nested too deep"),
]


@pytest.mark.parametrize(("line", "flaw"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_line_is_a_receipt_with_its_number_and_not_the_end(embed, simulator, line, flaw):
    ended = embed(SMALL)("--input", "-", "--json", stdin=b'"one"\n' + line + b'\n"three"\n')
    assert ended.code == 3
    first, second, third = receipts(ended)
    assert (first["ref"], first["ok"], third["ref"], third["ok"]) == (1, True, 3, True)
    assert (second["ref"], second["ok"], second["trail"]) == (2, False, [])
    assert (second["embedding"], second["dimensions"]) == (None, None)
    assert (second["error"]["code"], second["error"]["kind"]) == (2, "malformed_line")
    assert second["error"]["message"].startswith(f"line 2: {flaw}")
    assert simulator.count() <= 2, "nothing of it is sent"


def test_a_line_that_is_too_long_is_left_out(embed):
    stdin = b'"' + b"a" * (21 << 20) + b'"\n"two"\n'
    ended = embed(SMALL)("--input", "-", "--json", stdin=stdin)
    first, second = receipts(ended)
    assert first["error"]["message"] == "line 1: longer than 20 MiB, which no model takes"
    assert (second["ref"], second["ok"]) == (2, True)


def test_without_json_a_line_without_a_vector_is_null_and_told(embed, simulator):
    simulator.set_answer(
        lambda seen: (
            Reply(400, {}, b'{"error": {"message": "too rude"}}') if "rude" in str(seen.document) else ""
        )
    )
    ended = embed(SMALL)("--input", "-", stdin=b'"one"\n"rude"\nthree\n')
    assert ended.code == 3
    assert receipts(ended) == [build_vector("one", None), None, None]
    refused, malformed, summary, first = ended.lines
    assert refused.startswith(f"llmfail: 2: {SMALL} refused the request (bad_request): too rude")
    assert malformed.startswith("llmfail: line 3: not JSON")
    assert summary.startswith("llmfail: 1 embedded, 2 failed, ")
    assert first.startswith("llmfail: the first failure is 2: ")


def test_a_text_of_a_byte_order_mark_is_read_without_it(embed):
    ended = embed(SMALL)("--input", "-", stdin=b'\xef\xbb\xbf"one"\r\n')
    assert receipts(ended) == [build_vector("one", None)]


def test_no_lines_are_no_vectors(embed):
    ended = embed(SMALL)("--input", "-", stdin=b"\n\n")
    assert (ended.code, ended.out) == (0, b"")


def test_the_first_call_tells_the_others_what_dimensions_to_expect(embed, simulator):
    def say(seen):
        if seen.provider == "openai":
            return build_answer(seen, "") if "text 0" in str(seen.document) else Reply(503, {}, b"")
        return short(seen)

    simulator.set_answer(say)
    stdin = "\n".join(json.dumps(f"text {number}") for number in range(40)).encode()
    ended = embed(SMALL, ELSEWHERE)("--input", "-", "--wait", "0", stdin=stdin)
    assert ended.code == 3
    assert [one and len(one) for one in receipts(ended)] == [DEFAULT_DIMENSIONS] * 32 + [None] * 8


def test_a_slow_input_holds_up_no_result(embed):
    llmfail = embed(SMALL).llmfail
    with llmfail.start("embed", "-f", "search", "--input", "-", stdin=subprocess.PIPE) as process:
        for text in ("one", "two"):
            process.stdin.write(json.dumps(text).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == build_vector(text, None)
        assert finish(process).code == 0


def test_what_is_not_configured_ends_it_before_anything_is_printed(embed, simulator):
    ended = embed(SMALL)("--input", "-", "-m", "nobody/x", stdin=LINES)
    assert (ended.code, ended.out) == (2, b"")
    assert simulator.count() == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hello", "--input", "-"), "say a TEXT or --input, not both"),
        (("--input", "nowhere.jsonl"), "cannot read nowhere.jsonl: No such file or directory"),
        (("--input", "."), "cannot read .: Is a directory"),
        (("--input", "here.jsonl", "-o", "here.jsonl"), "here.jsonl is the input as well"),
        (("--input", "here.jsonl", "-o", "no/where"), "cannot write no/where: No such file or directory"),
    ],
)
def test_a_wrong_place_is_a_usage_error(embed, simulator, here, arguments, said):
    (here / "here.jsonl").write_bytes(LINES)
    ended = embed(SMALL)(*arguments)
    assert ended.code == 2
    assert said in ended.err
    assert (here / "here.jsonl").read_bytes() == LINES
    assert simulator.count() == 0


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("arguments", [("hello",), ("--input", "-")])
def test_nobody_is_asked_when_vectors_have_no_place(embed, simulator, redirection, arguments):
    run = embed(SMALL)
    program = run.llmfail.under("sh", "-c", f'exec "$@" {redirection}', "sh")
    ended = run(*arguments, program=program, stdin=LINES)
    assert ended.code == 2
    assert "cannot write to standard output" in ended.err
    assert simulator.count() == 0


def test_lines_go_to_a_file_one_after_the_other(embed, here):
    ended = embed(SMALL)("--input", "-", "-o", "v.jsonl", stdin=LINES)
    assert (ended.code, ended.out) == (0, b"")
    assert len((here / "v.jsonl").read_text().splitlines()) == 4


def late():
    """An answer that comes after the one to the line before it."""
    threading.Event().wait(1)
    return ""


def test_a_closed_pipe_ends_it_quietly_and_settles_what_is_under_way(embed, simulator):
    run = embed(SMALL)
    with run.llmfail.start("embed", "-f", "search", "--input", "-", stdin=subprocess.PIPE) as process:
        process.stdin.write(b'"one"\n')
        process.stdin.flush()
        assert process.stdout.readline()
        process.stdout.close()
        simulator.set_answer(lambda seen: "" if "two" in str(seen.document) else late())
        process.stdin.write(b'"two"\n"three"\n')
        process.stdin.close()
        process.stdin = process.stdout = None
        assert process.wait(60) == -signal.SIGPIPE
        assert process.stderr.read() == b""
    assert simulator.count() == 2
    assert run.llmfail.status(SMALL)["requests"] == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_what_is_printed_so_far(embed, simulator, number, code):
    llmfail = embed(SMALL).llmfail
    with llmfail.start("embed", "-f", "search", "--input", "-", stdin=subprocess.PIPE) as process:
        process.stdin.write(b'"one"\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == build_vector("one", None)
        process.send_signal(number)
        with process.stdin as still_open:
            process.stdin = None
            ended = finish(process)
            assert not still_open.closed
    assert (ended.code, ended.out) == (code, b"")


def test_a_second_signal_does_not_wait_for_a_provider_that_hangs(embed, simulator):
    simulator.set_faults(parse_faults("openai=hang"))
    llmfail = embed(SMALL, timeout="10m", deadline="10m").llmfail
    with llmfail.start("embed", "-f", "search", "--input", "-", stdin=subprocess.PIPE) as process:
        process.stdin.write(LINES)
        process.stdin.close()
        process.stdin = None
        wait_until(lambda: simulator.count() == 1)
        process.send_signal(signal.SIGINT)
        assert b"once more stops at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130


def test_after_a_signal_no_vector_stands_in_the_place_of_another(embed, simulator):
    llmfail = embed(SMALL, timeout="10m", deadline="10m").llmfail
    over = threading.Event()
    simulator.set_answer(lambda seen: "" if "two" not in str(seen.document) else str(over.wait(60)))
    with llmfail.start("embed", "-f", "search", "--input", "-", stdin=subprocess.PIPE) as process:
        for number, line in enumerate((b'"one"\n', b'"two"\n', b'"three"\n'), 1):
            process.stdin.write(line)
            process.stdin.flush()
            wait_until(lambda number=number: simulator.count() == number)
        assert json.loads(process.stdout.readline()) == build_vector("one", None)
        process.send_signal(signal.SIGINT)
        assert b"once more stops at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        process.stdin = None
        ended = finish(process)
        over.set()
    assert (ended.code, ended.out) == (130, b"")


class TestResume:
    """Lines of texts are a batch: FILE is never overwritten, and a run goes on."""

    def test_g1_a_file_of_receipts_is_never_overwritten(self, embed, simulator, here):
        run = embed(SMALL)
        assert run("--input", "-", "--json", "-o", "v.jsonl", stdin=LINES).code == 0
        before, calls = (here / "v.jsonl").read_bytes(), simulator.count()
        ended = run("--input", "-", "--json", "-o", "v.jsonl", stdin=LINES)
        assert ended.code == 2
        assert "v.jsonl has receipts already; --resume goes on with it" in ended.err
        assert ((here / "v.jsonl").read_bytes(), simulator.count()) == (before, calls)

    def test_g1_no_text_that_has_a_receipt_is_embedded_again(self, embed, simulator, here):
        run = embed(SMALL)
        assert run("--input", "-", "--json", "-o", "v.jsonl", stdin=b'"one"\n"two"\n').code == 0
        simulator.set_answer(lambda seen: "" if "three" in str(seen.document) else Reply(500, {}, b""))
        ended = run("--input", "-", "--json", "-o", "v.jsonl", "--resume", stdin=b'"one"\n"two"\n"three"\n')
        assert ended.code == 0, ended
        assert "2 had a receipt already" in ended.err
        refs = [json.loads(line)["ref"] for line in (here / "v.jsonl").read_bytes().splitlines()]
        assert refs == [1, 2, 3]

    def test_g2_a_text_that_has_changed_is_embedded_again(self, embed, here):
        run = embed(SMALL)
        assert run("--input", "-", "--json", "-o", "v.jsonl", stdin=b'"one"\n').code == 0
        ended = run("--input", "-", "--json", "-o", "v.jsonl", "--resume", stdin=b'"uno"\n')
        assert "1 had changed since their receipts were written" in ended.err
        last = json.loads((here / "v.jsonl").read_bytes().splitlines()[-1])
        assert (last["ref"], last["embedding"]) == (1, build_vector("uno", None))

    def test_g1_an_array_does_not_say_of_which_text_it_is(self, embed, simulator):
        ended = embed(SMALL)("--input", "-", "-o", "v.jsonl", "--resume", stdin=LINES)
        assert (ended.code, simulator.count()) == (2, 0)
        assert "need --json" in ended.err

    def test_g3_a_stopped_run_says_how_to_go_on(self, embed, simulator, here):
        (here / "in.jsonl").write_text("".join(f'"text {number}"\n' for number in range(500)))
        over = threading.Event()
        simulator.set_answer(lambda seen: str(over.wait(60)) and "")
        command = ("embed", "-f", "search", "--input", "in.jsonl", "--json", "-o", "v.jsonl")
        with embed(SMALL).llmfail.start(*command) as process:
            wait_until(lambda: simulator.count() == 1)
            process.send_signal(signal.SIGINT)
            first = process.stderr.readline().decode()
            over.set()
            ended = finish(process)
        assert "once more stops at once" in first
        assert ended.code == 130
        assert ended.lines[-1].partition("this goes on: ")[2].endswith("-o v.jsonl --resume")
        assert 0 < len((here / "v.jsonl").read_bytes().splitlines()) < 500

    def test_g3_a_bar_tells_how_it_comes_along(self, embed, simulator):
        simulator.set_faults(parse_faults("openai=slow:300"))
        with Terminal() as screen:
            process = embed(SMALL).llmfail.start(
                "embed", "-f", "search", "--input", "-", stdin=subprocess.PIPE, stderr=screen.fd
            )
            with process:
                process.stdin.write(LINES)
                process.stdin.close()
                screen.wait_for(" done")
                assert process.wait(60) == 0
            screen.wait_for("4 embedded")


class TestArrays:
    """Several texts go in one call; each has a receipt of its own."""

    def test_g3_texts_go_in_arrays_and_costs_add_up(self, embed, simulator):
        stdin = "".join(f'"text {number}"\n' for number in range(100)).encode()
        ended = embed(SMALL)("--input", "-", "--json", stdin=stdin)
        assert (ended.code, simulator.count()) == (0, 4)
        found = receipts(ended)
        assert [one["embedding"] for one in found] == [build_vector(f"text {n}", None) for n in range(100)]
        assert len({one["id"] for one in found}) == 100
        assert all(one["usage"]["estimated"] and Decimal(one["cost_usd"]) > 0 for one in found)

    def test_g3_a_text_that_is_refused_fails_alone(self, embed, simulator):
        simulator.set_answer(
            lambda seen: (
                Reply(400, {}, b'{"error": {"message": "too rude"}}') if "rude" in str(seen.document) else ""
            )
        )
        stdin = b"".join(b'"rude"\n' if number == 5 else b'"text %d"\n' % number for number in range(8))
        ended = embed(SMALL)("--input", "-", "--json", stdin=stdin)
        assert [one["ok"] for one in receipts(ended)] == [number != 5 for number in range(8)]
        assert simulator.count() == 7

    def test_g4_vertex_embeds_content_of_other_gemini_models_one_text_in_a_call(self, embed, simulator):
        target = "vertex/gemini-embedding-2"
        ended = embed(target)("--input", "-", "--json", stdin=b'"one"\n"two"\n')
        assert [one["embedding"] for one in receipts(ended)] == [
            build_vector(t, None) for t in ("one", "two")
        ]
        assert [seen.path.rpartition(":")[2] for seen in simulator.requests] == ["embedContent"] * 2
        assert simulator.requests[0].document == {"content": {"parts": [{"text": "one"}]}}
        assert all(one["usage"]["input_tokens"] > 0 for one in receipts(ended))


class TestCache:
    """What a target has embedded before costs nothing."""

    @pytest.fixture
    def run(self, simulator, configure):
        document = vectors_of(simulator, SMALL) | {"cache": {"enabled": True}}
        llmfail = configure(document)
        return lambda *arguments, stdin=b"": llmfail("embed", "-f", "search", *arguments, stdin=stdin)

    def test_g3_the_same_text_again_makes_no_call(self, run, simulator):
        first, again = run("hello", "--json").document, run("hello", "--json").document
        assert (again["source"], again["tier"], again["cost_usd"], again["trail"]) == ("cache", 0, "0", [])
        assert again["embedding"] == first["embedding"]
        assert simulator.count() == 1
        assert run("hello").document == first["embedding"]
        for flag in ("--no-cache", "--refresh"):
            assert run("hello", "--json", flag).document["source"] == "model"
        assert simulator.count() == 3

    def test_g3_the_same_lines_again_make_no_call(self, run, simulator):
        texts = [f"text {number % 25}" for number in range(100)]
        stdin = "".join(json.dumps(text) + "\n" for text in texts).encode()
        first, again = (run("--input", "-", "--json", stdin=stdin) for _ in range(2))
        assert [one["embedding"] for one in receipts(again)] == [build_vector(text, None) for text in texts]
        assert [one["ref"] for one in receipts(again)] == list(range(1, 101))
        assert {(one["source"], one["cost_usd"]) for one in receipts(again)} == {("cache", "0")}
        assert sum(len(seen.document["input"]) for seen in simulator.requests) == 25
        assert sum(Decimal(one["cost_usd"]) > 0 for one in receipts(first)) == 25

    def test_g3_a_line_may_say_that_it_wants_no_stored_vector(self, run, simulator):
        run("one")
        stdin = b'"one"\n{"text": "one", "no_cache": true}\n{"text": "one", "refresh": true}\n'
        ended = run("--input", "-", "--json", stdin=stdin)
        assert [one["source"] for one in receipts(ended)] == ["cache", "model", "model"]
