"""What a command line may ask besides a prompt: conversations, tools, options, files; and what it prints."""

import json

import pytest

from llmfail.simulator.canned_turn import answer_as_model

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Rome?"},
    {"role": "assistant", "content": "Sunny."},
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"name": "weather", "input_schema": SCHEMA}, {"name": "time", "input_schema": SCHEMA}]


@pytest.fixture
def write(here):
    def write(name, content):
        text = content if isinstance(content, str) else json.dumps(content)
        (here / name).write_text(text)
        return name

    return write


def test_a_conversation_comes_from_a_file_and_the_prompt_is_its_last_message(llmfail, simulator, write):
    done = llmfail("ask", "--messages", write("talk.json", TALK), "And Oslo?")
    assert done.code == 0, done
    sent = simulator.requests[0].document["messages"]
    assert sent == [*TALK, {"role": "user", "content": "And Oslo?"}]


def test_a_whole_request_comes_from_standard_input(llmfail, simulator):
    request = {"model": "claude-x", "system": "Be brief.", "max_tokens": 9, "messages": TALK[1:2]}
    done = llmfail("ask", "--messages", "-", stdin=json.dumps(request).encode())
    assert done.code == 0, done
    sent = simulator.requests[0].document
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, TALK[1]]
    assert sent["max_tokens"] == 9


def test_a_request_to_gemini_is_one_as_well(llmfail, simulator, write):
    request = {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Rome?"}]},
            {"role": "model", "parts": [{"text": "!"}]},
        ],
    }
    done = llmfail("ask", "--messages", write("gemini.json", request), "And Oslo?")
    assert done.code == 0, done
    assert simulator.requests[0].document["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Rome?"},
        {"role": "assistant", "content": "!"},
        {"role": "user", "content": "And Oslo?"},
    ]


@pytest.mark.parametrize("where", [(), ("--json",)], ids=["lines", "receipt"])
def test_calls_of_tools_are_an_answer(llmfail, simulator, write, where):
    simulator.set_answer(answer_as_model)
    done = llmfail("ask", "Weather?", "--tools", write("tools.json", TOOLS), *where)
    assert done.code == 0, done
    if where:
        assert done.document["finish_reason"] == "tool_calls"
        calls = done.document["tool_calls"]
    else:
        calls = [json.loads(line) for line in done.out.splitlines()]
        assert "I look." in done.err
    assert [(call["name"], call["arguments"]) for call in calls] == [
        ("weather", {"city": "simulated"}),
        ("time", {"city": "simulated"}),
    ]


@pytest.mark.parametrize(
    ("tools", "choice", "says"),
    [
        (TOOLS, "wether", "offered are weather, time"),
        (None, "required", "no `tools` are offered"),
        (None, "weather", "no `tools` are offered"),
    ],
)
def test_a_tool_that_is_not_offered_cannot_be_required(llmfail, simulator, write, tools, choice, says):
    offered = () if tools is None else ("--tools", write("tools.json", tools))
    done = llmfail("ask", "Weather?", *offered, "--tool-choice", choice)
    assert done.code == 2
    assert says in done.err
    assert len(done.lines) == 1
    assert simulator.count() == 0


def test_calls_without_tools_are_no_answer(llmfail, simulator):
    """Nobody has asked for them, and there is no text."""

    def call_all_the_same(seen):
        turn = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]}
        reply = {"choices": [{"message": turn, "finish_reason": "tool_calls"}], "model": "m"}
        from llmfail.core.model import Reply

        return Reply(200, {"content-type": "application/json"}, json.dumps(reply).encode())

    simulator.set_answer(call_all_the_same)
    done = llmfail.ask("-m", "openai/gpt-6.1-terra", "--no-fallback")
    assert done.code == 3
    assert done.trail == [("openai/gpt-6.1-terra", "called", "rejected_answer")]


def test_options_are_sent_in_the_words_of_the_wire_and_what_is_left_out_is_named(llmfail, simulator):
    done = llmfail.ask("-m", "anthropic/claude-sonnet-5-5", "-O", "effort=high", "-O", "seed=7")
    assert done.document["trail"][0]["dropped"] == ["seed"]
    assert simulator.requests[0].document["output_config"] == {"effort": "high"}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("effort=huge", "effort: expected none or low or medium or high or max"),
        ("top_p=2", "top_p: expected a number from 0 to 1"),
        ("efort=low", "did you mean effort?"),
        ("seed", "written NAME=VALUE"),
    ],
)
def test_an_option_that_is_none_is_told_in_one_line(llmfail, option, says):
    done = llmfail("ask", "Hi", "-O", option)
    assert done.code == 2
    assert len(done.lines) == 1
    assert says in done.lines[0]


def test_prompt_and_system_prompt_come_from_files(llmfail, simulator, write):
    done = llmfail(
        *("ask", "the end", "--prompt-file", write("p.md", "the beginning\n")),
        *("--system-file", write("s.md", "Be brief.\n")),
    )
    assert done.code == 0, done
    system, user = simulator.requests[0].document["messages"]
    assert (system["content"], user["content"]) == ("Be brief.", "the beginning\n\nthe end")


FENCED = "Here it is:\n```python\nprint(1)\n```\nand\n```sh\nls\n```\n"


@pytest.mark.parametrize(
    ("options", "printed"),
    [(("-x",), b"print(1)\n"), (("--extract-lang", "sh"), b"ls\n"), ((), FENCED.encode())],
)
def test_a_fenced_block_is_printed_alone(llmfail, simulator, options, printed):
    simulator.set_answer(lambda _: FENCED)
    assert llmfail("ask", "Hi", *options).out == printed


def test_an_answer_without_the_block_is_rejected_and_the_next_target_asked(llmfail, simulator):
    simulator.set_answer(lambda seen: FENCED if seen.provider == "google" else "Sorry.")
    done = llmfail("ask", "Hi", "-x")
    assert (done.code, done.out) == (0, b"print(1)\n")
    assert simulator.count() == 3
    simulator.set_answer(lambda _: "Sorry.")
    assert llmfail("ask", "Hi", "-x").code == 3


def test_json_in_a_fence_is_json(llmfail, simulator):
    simulator.set_answer(lambda _: '```json\n{"a": 1}\n```')
    done = llmfail("ask", "Hi", "--expect", "json")
    assert (done.code, done.out, simulator.count()) == (0, b'{"a": 1}\n', 1)


def test_no_fallback_may_be_said_in_the_configuration(configure, simulator):
    from program import build_config

    from llmfail.simulator import parse_faults

    simulator.set_faults(parse_faults("openai=503"))
    done = configure(build_config(simulator, defaults={"retries": 0, "fallback": False})).ask()
    assert done.code == 3
    assert len(done.trail) == 1
    again = configure(build_config(simulator)).with_environ(LLMFAIL_DEFAULTS__FALLBACK="false").ask()
    assert len(again.trail) == 1


def test_openais_batch_file_runs_as_it_is(llmfail, simulator, write):
    body = {"model": "gpt-4o-mini", "messages": TALK[:2], "max_tokens": 1000}
    lines = [
        {"custom_id": f"request-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for n in (1, 2)
    ]
    done = llmfail("batch", write("batch.jsonl", "\n".join(map(json.dumps, lines))))
    receipts = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["ref"], one["ok"]) for one in receipts] == [("request-1", True), ("request-2", True)]
    assert simulator.requests[0].document["messages"] == TALK[:2]


def test_a_request_to_responses_is_asked_and_runs_in_a_batch(llmfail, simulator, write):
    body = {"model": "gpt-4o-mini", "instructions": "Be brief.", "input": "Weather in Rome?"}
    asked = llmfail("ask", "Hm?", "--messages", write("talk.json", json.dumps(body)))
    line = {"custom_id": "request-1", "method": "POST", "url": "/v1/responses", "body": body}
    done = llmfail("batch", write("batch.jsonl", json.dumps(line)))
    assert (asked.code, json.loads(done.out)["ref"], json.loads(done.out)["ok"]) == (0, "request-1", True)
    texts = [[turn["content"] for turn in seen.document["messages"]] for seen in simulator.requests]
    assert texts == [["Be brief.", "Weather in Rome?", "Hm?"], ["Be brief.", "Weather in Rome?"]]


@pytest.mark.parametrize("is_document", [False, True], ids=["lines", "document"])
def test_anthropics_batch_file_runs_as_it_is(llmfail, simulator, write, is_document):
    """As the documentation of its Message Batches has it; each with a system prompt and limit of its own."""
    lines = [
        {
            "custom_id": f"request-{number}",
            "params": {
                "model": "claude-sonnet-5-5",
                "max_tokens": 1000 + number,
                "system": f"Be {word}.",
                "messages": [{"role": "user", "content": "Weather in Rome?"}],
            },
        }
        for number, word in enumerate(("brief", "exact"), 1)
    ]
    document = json.dumps({"requests": lines}, indent=2)
    file = write("batch.json", document if is_document else "\n".join(map(json.dumps, lines)))
    done = llmfail("batch", file, "-m", "anthropic/claude-sonnet-5-5")
    receipts = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["ref"], one["ok"]) for one in receipts] == [("request-1", True), ("request-2", True)]
    sent = sorted((seen.document for seen in simulator.requests), key=lambda one: one["max_tokens"])
    assert sent == [line["params"] for line in lines]
