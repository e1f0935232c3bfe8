"""What of a program's request each wire can carry: dialects in which it is asked, and the wires beyond."""

import json

import pytest

from llmfail.client.options import ask_of
from llmfail.core.model import Endpoint, Request
from llmfail.core.request.fitted_request import fit_request
from llmfail.providers import load_wire_format
from llmfail.providers.dialects.client_request import read_client_request

WIRES = {
    "anthropic": Endpoint("anthropic", "https://a.example", "claude-sonnet-5-5", None, vendor="anthropic"),
    "chat": Endpoint("openai", "https://api.openai.com/v1", "gpt-6.1-terra", None, vendor="openai"),
    "responses": Endpoint(
        "openai", "https://api.openai.com/v1", "gpt-6.1-sol", None, door="responses", vendor="openai"
    ),
    "gemini": Endpoint("gemini", "https://g.example", "gemini-3.8-flash", None, vendor="google"),
}
PNG = "data:image/png;base64,iVBORw=="
PDF = "data:application/pdf;base64,JVBERi0="
URL = "https://a.example/a.png"
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
YES, UNSUITED = (), "unsuited"
"""A tuple has the names of what is left out."""


def chat(*parts, **more):
    return {"model": "m", "messages": [{"role": "user", "content": [*parts, text("text", "Hi")]}], **more}


def messages(*parts, **more):
    content = [*parts, text("text", "Hi")]
    return {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": content}], **more}


def responses(*parts, **more):
    return {"model": "m", "input": [{"role": "user", "content": [*parts, text("input_text", "Hi")]}], **more}


def gemini(*parts, **more):
    return {"contents": [{"role": "user", "parts": [*parts, {"text": "Hi"}]}], **more}


def text(kind, said, **more):
    return {"type": kind, "text": said, **more}


def image(source):
    return {"type": "image", "source": source}


BASE64_PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}
BASE64_PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
RESULT_WITH_IMAGE = messages()
RESULT_WITH_IMAGE["messages"] += [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [text("text", "one"), image(BASE64_PNG)]}
        ],
    },
]
CHAT_TURNS = chat()
CHAT_TURNS["messages"] = [
    {"role": "system", "content": "Be brief."},
    *CHAT_TURNS["messages"],
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "one"},
    {"role": "system", "content": "Go on."},
    {"role": "user", "content": "And?"},
]
CLAUDE_CODE = messages(
    system=[text("text", "Attribution."), text("text", "Be brief.", **EPHEMERAL)],
    thinking={"type": "adaptive"},
    context_management={"edits": []},
    output_config={"effort": "xhigh"},
    metadata={"user_id": "{}"},
    stream=True,
)
CLAUDE_CODE["messages"].append({"role": "system", "content": "Reminder."})

# Dialect, body, and what becomes of it on each wire, in the order of WIRES.
TABLE = {
    "chat: turns, system, temperature": ("chat", {**CHAT_TURNS, "temperature": 0.5}, [YES] * 4),
    "chat: stop": ("chat", chat(stop=["END"]), [YES, YES, UNSUITED, YES]),
    "chat: image": ("chat", chat({"type": "image_url", "image_url": {"url": PNG}}), [YES] * 4),
    "chat: image by URL": (
        "chat",
        chat({"type": "image_url", "image_url": {"url": URL}}),
        [YES, YES, YES, UNSUITED],
    ),
    "chat: PDF": ("chat", chat({"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}), [YES] * 4),
    "chat: file of OpenAI": (
        "chat",
        chat({"type": "file", "file": {"file_id": "f"}}),
        [UNSUITED, YES, UNSUITED, UNSUITED],
    ),
    "chat: tools": (
        "chat",
        chat(
            tools=[{"type": "function", "function": FUNCTION}],
            tool_choice={"type": "function", "function": {"name": "f"}},
            parallel_tool_calls=True,
        ),
        [YES] * 4,
    ),
    "chat: choice among some": (
        "chat",
        chat(tools=[{"type": "function", "function": FUNCTION}], tool_choice={"type": "allowed_tools"}),
        [UNSUITED, YES, UNSUITED, UNSUITED],
    ),
    "chat: schema": (
        "chat",
        chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}),
        [YES] * 4,
    ),
    "chat: effort": ("chat", chat(reasoning_effort="high"), [YES] * 4),
    "chat: effort of OpenAI": (
        "chat",
        chat(reasoning_effort="xhigh"),
        [("reasoning_effort",), YES, ("reasoning_effort",), ("reasoning_effort",)],
    ),
    "chat: several answers": ("chat", chat(n=2), [UNSUITED, YES, UNSUITED, UNSUITED]),
    "chat: one answer": ("chat", chat(n=1), [("n",), YES, ("n",), ("n",)]),
    "chat: logprobs": ("chat", chat(logprobs=True, top_logprobs=2), [("logprobs",), YES, YES, YES]),
    "chat: seed and penalties": (
        "chat",
        chat(seed=1, presence_penalty=0.5, frequency_penalty=0.5),
        [
            ("seed", "presence_penalty", "frequency_penalty"),
            YES,
            ("seed", "presence_penalty", "frequency_penalty"),
            YES,
        ],
    ),
    "chat: what is harmless": (
        "chat",
        chat(metadata={"a": "b"}, store=True, prompt_cache_key="k", user="u"),
        [("metadata", "store", "prompt_cache_key", "user"), YES]
        + [("metadata", "store", "prompt_cache_key", "user")] * 2,
    ),
    "chat: search": ("chat", chat(web_search_options={"a": 1}), [UNSUITED, YES, UNSUITED, UNSUITED]),
    "messages: turns with a system turn": ("anthropic", CLAUDE_CODE, None),
    "messages: images": ("anthropic", messages(image(BASE64_PNG)), [YES] * 4),
    "messages: image by URL": (
        "anthropic",
        messages(image({"type": "url", "url": URL})),
        [YES, YES, YES, UNSUITED],
    ),
    "messages: PDF": ("anthropic", messages({"type": "document", "source": BASE64_PDF}), [YES] * 4),
    "messages: citations": (
        "anthropic",
        messages({"type": "document", "source": BASE64_PDF, "citations": {"enabled": True}}),
        [YES, ("citations",), ("citations",), ("citations",)],
    ),
    "messages: result with an image": ("anthropic", RESULT_WITH_IMAGE, [YES] * 4),
    "messages: tools": (
        "anthropic",
        messages(
            tools=[{"name": "f", "input_schema": SCHEMA}],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
        ),
        [YES, YES, YES, ("parallel_tools",)],
    ),
    "messages: cache_control": (
        "anthropic",
        messages(text("text", "long", **EPHEMERAL)),
        [YES, ("cache_control",), ("cache_control",), ("cache_control",)],
    ),
    "messages: schema and effort": (
        "anthropic",
        messages(output_config={"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}}),
        [YES] * 4,
    ),
    "messages: top_k": ("anthropic", messages(top_k=5), [YES, ("top_k",), ("top_k",), YES]),
    "messages: a tool of the server": (
        "anthropic",
        messages(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        [YES, UNSUITED, UNSUITED, UNSUITED],
    ),
    "messages: MCP": (
        "anthropic",
        messages(mcp_servers=[{"type": "url", "url": "https://m.example", "name": "m"}]),
        [YES, UNSUITED, UNSUITED, UNSUITED],
    ),
    "responses: image": ("responses", responses({"type": "input_image", "image_url": PNG}), [YES] * 4),
    "responses: PDF": (
        "responses",
        responses({"type": "input_file", "filename": "a.pdf", "file_data": PDF}),
        [YES] * 4,
    ),
    "responses: namespaces": (
        "responses",
        responses(tools=[{"type": "namespace", "name": "n", "tools": [{"type": "function", **FUNCTION}]}]),
        [YES] * 4,
    ),
    "responses: schema, effort, verbosity": (
        "responses",
        responses(
            text={"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}, "verbosity": "low"},
            reasoning={"effort": "low"},
        ),
        [("verbosity",), YES, YES, ("verbosity",)],
    ),
    "responses: what is harmless": (
        "responses",
        responses(
            store=False, prompt_cache_key="k", include=["reasoning.encrypted_content"], background=False
        ),
        [("prompt_cache_key", "background")] * 2 + [YES] + [("prompt_cache_key", "background")],
    ),
    "responses: a tool of the server": (
        "responses",
        responses(tools=[{"type": "web_search"}]),
        [UNSUITED, UNSUITED, YES, UNSUITED],
    ),
    "responses: a tool with a grammar": (
        "responses",
        responses(tools=[{"type": "custom", "name": "patch", "format": {"type": "grammar"}}]),
        [UNSUITED, UNSUITED, YES, UNSUITED],
    ),
    **{
        f"responses: {name}": ("responses", responses(**{name: value}), [UNSUITED, UNSUITED, YES, UNSUITED])
        for name, value in {
            "previous_response_id": "resp_1",
            "background": True,
            "conversation": "conv_1",
            "store": True,
        }.items()
    },
    "gemini: image, system, tools": (
        "gemini",
        gemini(
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
            systemInstruction={"parts": [{"text": "Be brief."}]},
            tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}],
            toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        ),
        [YES] * 4,
    ),
    "gemini: schema and effort": (
        "gemini",
        gemini(
            generationConfig={
                "responseMimeType": "application/json",
                "responseJsonSchema": SCHEMA,
                "thinkingConfig": {"thinkingLevel": "LOW"},
            }
        ),
        [YES] * 4,
    ),
    "gemini: several answers": (
        "gemini",
        gemini(generationConfig={"candidateCount": 2}),
        [UNSUITED, UNSUITED, UNSUITED, YES],
    ),
    "gemini: safety": (
        "gemini",
        gemini(safetySettings=[{"category": "c", "threshold": "BLOCK_NONE"}]),
        [("safetySettings",), ("safetySettings",), ("safetySettings",), YES],
    ),
    "gemini: search": ("gemini", gemini(tools=[{"googleSearch": {}}]), [UNSUITED, UNSUITED, UNSUITED, YES]),
    "gemini: file of Google": (
        "gemini",
        gemini({"fileData": {"fileUri": "gs://a/b.pdf"}}),
        [UNSUITED, UNSUITED, UNSUITED, YES],
    ),
}
_CODE = ("cache_control", "thinking", "context_management", "output_config", "metadata")
TABLE["messages: turns with a system turn"] = (
    "anthropic",
    CLAUDE_CODE,
    [YES, set(_CODE), set(_CODE), set(_CODE)],
)


@pytest.mark.parametrize(("name", "wire"), [(name, wire) for name in TABLE for wire in WIRES], ids=str)
def test_each_feature_is_carried_left_out_by_name_or_makes_the_target_unsuited(name, wire):
    dialect, body, row = TABLE[name]
    wanted = row[list(WIRES).index(wire)]
    ask = ask_of(read_client_request(dialect, json.dumps(body).encode(), model="m").document)
    request = Request(
        ask.messages,
        ask.system,
        99,
        ask.temperature,
        ask.stop,
        ask.schema,
        tools=ask.tools,
        tool_choice=ask.tool_choice,
        parallel_tools=ask.parallel_tools,
        options=ask.options,
        marks=ask.marks,
    )
    there = WIRES[wire]
    fitted = fit_request(request, there)
    found = UNSUITED if fitted.unsuited else fitted.dropped
    assert (found if wanted == UNSUITED else set(found)) == (wanted if wanted == UNSUITED else set(wanted))
    if not fitted.unsuited:
        load_wire_format(there.api, there.door).encode(fitted.request, there)
