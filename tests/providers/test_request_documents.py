"""A request that a program wrote for OpenAI or Anthropic: read, and written back with nothing lost."""

import json

import pytest
from request_round_trips import request_of, write_again

from llmfail.client.options import ask_of
from llmfail.core.conversation import Attachment, Message, Signature, Text, Thought, Tool, ToolResult
from llmfail.core.errors import UsageError
from llmfail.core.model import Endpoint
from llmfail.core.request.batch_line import PROMPT_LINES, MalformedLine, parse_line
from llmfail.core.request.fitted_request import fit_request
from llmfail.core.request.line_splitter import RawLine
from llmfail.providers import load_wire_format
from llmfail.providers.dialects.request_document import read_request, read_tools

ANTHROPIC = Endpoint("anthropic", "https://a.example", "m", None, vendor="anthropic")
GEMINI = Endpoint("gemini", "https://g.example", "gemini-3.8-flash", None, vendor="google")
CHAT = Endpoint("openai", "https://api.openai.com/v1", "m", None, vendor="openai")

DOCUMENTS = {
    "anthropic": (
        ANTHROPIC,
        {
            "model": "m",
            "max_tokens": 1024,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                            "title": "A paper",
                            "citations": {"enabled": True},
                        },
                        {"type": "image", "source": {"type": "url", "url": "https://a.example/a.png"}},
                        {"type": "text", "text": "Look."},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "sealed"},
                        {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "toolu_1",
                            "content": "no",
                            "is_error": True,
                        }
                    ],
                },
            ],
            "temperature": 0.5,
            "stop_sequences": ["END"],
            "top_k": 5,
            "tools": [
                {
                    "name": "f",
                    "description": "d",
                    "input_schema": {"type": "object"},
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            ],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "output_config": {
                "effort": "low",
                "format": {"type": "json_schema", "schema": {"type": "object"}},
            },
            "metadata": {"user_id": "u"},
            "thinking": {"type": "adaptive"},
        },
    ),
    "gemini": (
        GEMINI,
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
                        {"text": "Look."},
                        {"fileData": {"fileUri": "gs://a/b.pdf"}},
                    ],
                },
                {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"functionCall": {"name": "f", "args": {"a_b": 1}}, "thoughtSignature": "sealed"},
                        {"functionCall": {"name": "f", "args": {}, "id": "own"}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "f", "response": {"error": "no"}}},
                        {
                            "functionResponse": {
                                "name": "f",
                                "response": {"a": [1]},
                                "id": "own",
                                "scheduling": "SILENT",
                            }
                        },
                    ],
                },
            ],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "f", "parametersJsonSchema": {"type": "object"}, "behavior": "BLOCKING"},
                        {"name": "g", "parameters": {"type": "OBJECT"}},
                    ]
                },
                {"googleSearch": {}},
            ],
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
                "retrievalConfig": {"languageCode": "en"},
            },
            "generationConfig": {
                "maxOutputTokens": 9,
                "topK": 5,
                "candidateCount": 1,
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT"},
                "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
            },
            "safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
            "cachedContent": "cachedContents/a",
        },
    ),
    "chat": (
        CHAT,
        {
            "model": "m",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look."},
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "low"},
                        },
                        {
                            "type": "file",
                            "file": {
                                "filename": "a.pdf",
                                "file_data": "data:application/pdf;base64,JVBERg==",
                            },
                        },
                        {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": f"call_{number}",
                            "type": "function",
                            "function": {"name": "f", "arguments": f'{{"a":{number}}}'},
                        }
                        for number in (1, 2)
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "one"},
                {"role": "tool", "tool_call_id": "call_2", "content": "two"},
                {"role": "user", "content": "And?", "name": "ann"},
            ],
            "max_completion_tokens": 9,
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "description": "d",
                        "parameters": {"type": "object"},
                        "strict": True,
                    },
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": False,
            "reasoning_effort": "high",
            "seed": 7,
            "presence_penalty": 0.5,
            "logprobs": True,
            "top_logprobs": 2,
            "service_tier": "flex",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "out", "schema": {"type": "object"}, "strict": True},
            },
            "prompt_cache_key": "k",
            "store": False,
            "stream": False,
        },
    ),
}


@pytest.mark.parametrize("dialect", DOCUMENTS)
def test_a_whole_request_comes_back_as_it_was(dialect):
    endpoint, document = DOCUMENTS[dialect]
    assert write_again(document, endpoint) == document


def test_a_request_to_one_is_sent_to_the_other_in_its_words():
    _, document = DOCUMENTS["chat"]
    document = {**document, "messages": document["messages"][2:]}
    fitted = fit_request(request_of(document), ANTHROPIC)
    assert set(fitted.dropped) == {
        *("seed", "presence_penalty", "logprobs", "service_tier"),
        *("prompt_cache_key", "store", "name"),
    }
    body = json.loads(load_wire_format("anthropic").encode(fitted.request, ANTHROPIC).body)
    assert [block["type"] for block in body["messages"][1]["content"]] == [
        "tool_result",
        "tool_result",
        "text",
    ]
    assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}


def test_a_bare_list_of_messages_is_read_in_either_form():
    for messages in (
        [{"role": "user", "content": "Hi"}, {"role": "tool", "tool_call_id": "a", "content": "x"}],
        [
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
        ],
    ):
        assert read_request(messages).messages == (
            Message("user", "Hi"),
            Message("user", (ToolResult("a", "x"),)),
        )


def test_results_that_gemini_tells_by_name_answer_the_calls_in_their_order():
    calls = [{"functionCall": {"name": name, "args": {}}} for name in "fgf"]
    results = [{"functionResponse": {"name": name, "response": {"result": name}}} for name in "gff"]
    document = {"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]}
    called, answered = read_request(document).messages
    first, other, second = (part.id for part in called.parts)
    assert len({first, other, second}) == 3
    assert [part.call_id for part in answered.parts] == [other, first, second]


def test_schemas_of_google_are_json_schemas_to_others():
    own = {
        "type": "OBJECT",
        "properties": {"min_items": {"type": "ARRAY", "items": {"type": "STRING"}, "min_items": "2"}},
        "property_ordering": ["min_items"],
        "nullable": True,
    }
    config = {"response_mime_type": "application/json", "response_schema": own, "candidate_count": 2}
    request = request_of({"contents": "Hi", "generation_config": config})
    assert request.schema == {
        "type": ["object", "null"],
        "properties": {"min_items": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
    }
    assert fit_request(request, CHAT).unsuited == "it cannot take: candidateCount"


def test_the_signatures_of_a_request_are_those_of_its_vendor():
    _, document = DOCUMENTS["anthropic"]
    thought = read_request(document).messages[1].parts[0]
    assert thought == Thought("hm", Signature("anthropic", "sealed"))


def test_tools_are_read_in_any_form():
    schema = {"type": "object"}
    wanted = (Tool("f", "d", schema),)
    assert read_tools([{"name": "f", "description": "d", "input_schema": schema}]) == wanted
    function = {"name": "f", "description": "d", "parameters": schema}
    assert read_tools([{"type": "function", "function": function}]) == wanted
    assert read_tools([{"type": "function", **function}]) == wanted
    assert read_tools(wanted) == wanted


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"contents": {}}, "contents of a request to Gemini are a list"),
        ({"contents": [{"role": "user"}]}, "content 1 is an object with a list called parts"),
        ({"model": "x"}, "an object with a list called messages"),
        ({"input": {}}, "the input of a request to Responses is a text or a list of items"),
        ({"input": [1]}, "item 1 of the input is an object, got int"),
        ({"input": [{"role": "robot"}]}, "item 1 of the input: its role is one of user, assistant"),
        ({"input": [{"role": "user"}]}, "item 1 of the input: its content is a text or a list of parts"),
        ([1], "message 1 is a Message, or a mapping with role and content, got int"),
        ([{"role": "robot", "content": "x"}], "message 1: its role is one of user, assistant, system"),
        ([{"role": "user", "content": 1}], "message 1: its content is a text or a list of parts"),
    ],
)
def test_what_is_no_request_is_told_in_one_line(document, why):
    with pytest.raises(UsageError, match=why):
        read_request(document)


def test_a_field_of_a_request_is_held_against_the_rules_of_an_option():
    with pytest.raises(UsageError, match="options top_p"):
        ask_of({"messages": [{"role": "user", "content": "Hi"}], "top_p": 2})


def line(document):
    return parse_line(RawLine(1, json.dumps(document).encode()), PROMPT_LINES)


def test_lines_of_the_batch_files_of_openai_and_anthropic_run_as_they_are():
    """As their documentation has them."""
    body = {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is 2+2?"},
        ],
        "max_tokens": 1000,
    }
    openai = line({"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": body})
    ask = ask_of(openai.prompt, ref=openai.ref)
    assert (ask.ref, ask.system, ask.max_tokens) == ("request-1", "You are a helpful assistant.", 1000)
    assert ask.messages == (Message("user", "What is 2+2?"),)
    params = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Hello, world"}],
    }
    anthropic = line({"custom_id": "my-first-request", "params": params})
    ask = ask_of(anthropic.prompt, ref=anthropic.ref)
    assert (ask.ref, ask.prompt, ask.max_tokens) == ("my-first-request", "Hello, world", 1024)


def test_a_line_of_a_batch_file_for_responses_runs_as_it_is():
    body = {"model": "gpt-4.1", "instructions": "Be brief.", "input": "What is 2+2?", "max_output_tokens": 9}
    read = line({"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body})
    ask = ask_of(read.prompt, ref=read.ref)
    assert (ask.ref, ask.system, ask.prompt, ask.max_tokens) == ("a", "Be brief.", "What is 2+2?", 9)


def test_items_of_responses_are_read_without_their_request():
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"},
    ]
    said, called, answered = read_request(items).messages
    assert (said.text, called.parts[0].name, answered.parts[0].content) == ("Hi", "f", "x")


def test_a_line_for_another_endpoint_is_told():
    found = line({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "x"}})
    assert isinstance(found, MalformedLine)
    assert "/v1/embeddings" in found.error


def test_a_line_may_have_messages_and_tools_of_its_own():
    messages = [{"role": "user", "content": "Hi"}]
    read = line({"id": 1, "messages": messages, "options": {"effort": "low"}, "tools": [{"name": "f"}]})
    assert (read.prompt, read.options["options"]) == (messages, {"effort": "low"})
    assert isinstance(line({"prompt": "a", "messages": messages}), MalformedLine)


def test_parts_of_a_message_of_python_are_those_that_are_sent():
    png = Attachment("a.png", "image/png", b"\x89PNG")
    ask = ask_of([Message("user", (png, Text("Look.")))])
    assert ask.messages[0].attachments == (png,)


@pytest.mark.parametrize(
    "document",
    [
        {"messages": [{"role": "user", "content": "Hi"}], "stop": 1.0},
        {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stop_sequences": True},
        {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"stopSequences": {"a": 1}}},
    ],
    ids=["chat", "anthropic", "gemini"],
)
def test_what_ends_an_answer_is_a_text_or_several(document):
    with pytest.raises(UsageError, match="stop is a text or a list of texts"):
        ask_of(document)
