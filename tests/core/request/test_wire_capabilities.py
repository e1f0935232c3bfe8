"""What each wire can carry: the table, row by row, and that no signature reaches another vendor."""

import json

import pytest

from llmfail.core.conversation import (
    Attachment,
    GenerationOptions,
    Message,
    Opaque,
    Signature,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmfail.core.model import Endpoint, Request
from llmfail.core.request.fitted_request import fit_request
from llmfail.providers import load_wire_format

PDF = Attachment("a.pdf", "application/pdf", b"%PDF-1.4")
PNG = Attachment("a.png", "image/png", b"\x89PNG")
MP3 = Attachment("a.mp3", "audio/mpeg", b"ID3")
PNG_URL = Attachment("a.png", "image/png", url="https://a.example/a.png")
PDF_URL = Attachment("a.pdf", "application/pdf", url="https://a.example/a.pdf")


def endpoint(wire, vendor=None, model=None, **more):
    """An endpoint of that wire, at its own vendor unless another is named."""
    api, door, own, its_model = {
        "anthropic": ("anthropic", "chat", "anthropic", "claude-sonnet-5-5"),
        "chat": ("openai", "chat", "openai", "gpt-6.1-terra"),
        "groq": ("openai", "chat", "groq", "openai/gpt-oss-120b"),
        "own server": ("openai", "chat", "10.0.0.1", "llama"),
        "responses": ("openai", "responses", "openai", "gpt-6.1-terra"),
        "gemini": ("gemini", "chat", "google", "gemini-3.8-flash"),
        "vertex": ("vertex", "chat", "vertex", "gemini-3.8-flash"),
        "claude": ("vertex", "chat", "anthropic", "claude-sonnet-5-5"),
    }[wire]
    return Endpoint(
        api,
        "https://a.example",
        model or its_model,
        None,
        project="p",
        location="global",
        door=door,
        vendor=vendor or own,
        **more,
    )


WIRES = ("anthropic", "chat", "groq", "own server", "responses", "gemini", "vertex", "claude")


def asked(*parts, **more):
    return Request((Message("user", (*parts, Text("Look."))),), **more)


def optioned(**options):
    return Request((Message("user", "Hi"),), options=GenerationOptions(**options))


def marked(dialect, **fields):
    return Request((Message("user", "Hi"),), marks={dialect: fields})


YES, DROPPED, UNSUITED = "carried", "dropped", "unsuited"
# In the order of WIRES.
TABLE = {
    "text, system, several turns, temperature": (
        Request((*map(Message, ("user", "assistant", "user"), "abc"),), "s", temperature=0.5),
        [YES] * 8,
    ),
    "stop": (
        Request((Message("user", "a"),), stop=("END",)),
        [YES, YES, YES, YES, UNSUITED, YES, YES, YES],
    ),
    "image": (asked(PNG), [YES] * 8),
    "image by URL": (asked(PNG_URL), [YES, YES, YES, YES, YES, UNSUITED, UNSUITED, YES]),
    "PDF": (asked(PDF), [YES, YES, UNSUITED, YES, YES, YES, YES, YES]),
    "PDF by URL": (
        asked(PDF_URL),
        [YES, UNSUITED, UNSUITED, UNSUITED, YES, UNSUITED, UNSUITED, YES],
    ),
    "audio": (asked(MP3), [UNSUITED, YES, UNSUITED, YES, UNSUITED, YES, YES, UNSUITED]),
    "tools": (
        asked(tools=(Tool("f"),), tool_choice=ToolChoice("required"), parallel_tools=True),
        [YES] * 8,
    ),
    "one tool at a time": (
        asked(tools=(Tool("f"),), parallel_tools=False),
        [YES, YES, YES, YES, YES, DROPPED, DROPPED, YES],
    ),
    "a result with an image": (
        Request(
            (
                Message("assistant", (ToolCall("a", "f", "{}"),)),
                Message("user", (ToolResult("a", (Text("x"), PNG)),)),
            )
        ),
        [YES] * 8,
    ),
    "a schema": (asked(schema={"type": "object"}), [YES] * 8),
    "any JSON": (asked(json=True), [DROPPED, YES, YES, YES, YES, YES, YES, DROPPED]),
    "effort": (optioned(effort="low"), [YES] * 8),
    "top_p": (optioned(top_p=0.5), [YES] * 8),
    "top_k": (optioned(top_k=5), [YES, DROPPED, DROPPED, YES, DROPPED, YES, YES, YES]),
    "seed": (optioned(seed=5), [DROPPED, YES, YES, YES, DROPPED, YES, YES, DROPPED]),
    "penalties": (
        optioned(presence_penalty=1.0, frequency_penalty=1.0),
        [DROPPED, YES, YES, YES, DROPPED, YES, YES, DROPPED],
    ),
    "logprobs": (optioned(logprobs=2), [DROPPED, YES, YES, YES, YES, YES, YES, DROPPED]),
    "verbosity": (optioned(verbosity="low"), [DROPPED, YES, YES, YES, YES, DROPPED, DROPPED, DROPPED]),
    "service tier": (
        optioned(service_tier="flex"),
        [DROPPED, YES, YES, YES, YES, DROPPED, DROPPED, DROPPED],
    ),
    "cache_control": (
        asked(Text("long", {"anthropic": {"cache_control": {"type": "ephemeral"}}})),
        [YES, DROPPED, DROPPED, DROPPED, DROPPED, DROPPED, DROPPED, YES],
    ),
    "metadata": (
        marked("anthropic", metadata={"user_id": "u"}),
        [YES, DROPPED, DROPPED, DROPPED, DROPPED, DROPPED, DROPPED, YES],
    ),
    "several answers": (
        marked("chat", n=2),
        [UNSUITED, YES, YES, YES, UNSUITED, UNSUITED, UNSUITED, UNSUITED],
    ),
    "one answer": (
        marked("chat", n=1),
        [DROPPED, YES, YES, YES, DROPPED, DROPPED, DROPPED, DROPPED],
    ),
    "an earlier response": (
        marked("responses", previous_response_id="r"),
        [UNSUITED, UNSUITED, UNSUITED, UNSUITED, YES, UNSUITED, UNSUITED, UNSUITED],
    ),
    "a tool of the server": (
        asked(tools=(Opaque("anthropic", {"type": "web_search_20250305"}),)),
        [YES, UNSUITED, UNSUITED, UNSUITED, UNSUITED, UNSUITED, UNSUITED, YES],
    ),
}


@pytest.mark.parametrize(
    ("request_", "wire", "wanted"),
    [
        pytest.param(request, wire, wanted, id=f"{name} to {wire}")
        for name, (request, row) in TABLE.items()
        for wire, wanted in zip(WIRES, row, strict=True)
    ],
)
def test_each_feature_is_carried_dropped_and_named_or_makes_the_target_unsuited(request_, wire, wanted):
    there = endpoint(wire)
    fitted = fit_request(request_, there)
    found = UNSUITED if fitted.unsuited else DROPPED if fitted.dropped else YES
    assert found == wanted, fitted
    if not fitted.unsuited:
        load_wire_format(there.api, there.door).encode(fitted.request, there)


def body_of(request, there):
    call = load_wire_format(there.api, there.door).encode(fit_request(request, there).request, there)
    return call.body.decode()


SIGNED = {
    "anthropic": Thought("hm", Signature("anthropic", "SEAL")),
    "google": ToolCall("a", "f", "{}", Signature("google", "SEAL")),
    "openai": Thought("", Signature("openai", '{"type":"reasoning","encrypted_content":"SEAL"}')),
    "deepseek": Thought("hm", Signature("deepseek", '{"reasoning_content":"SEAL"}')),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("vendor", SIGNED)
def test_a_signature_reaches_nobody_but_the_vendor_that_made_it(wire, vendor):
    there = endpoint(wire)
    turn = (SIGNED[vendor], Text("So."))
    request = Request((Message("user", "Hi"), Message("assistant", turn), Message("user", "Go on")))
    expected = there.vendor == vendor and not (vendor == "openai" and wire == "chat")
    assert ("SEAL" in body_of(request, there)) is expected
    assert bool(fit_request(request, there).dropped) is not expected


def test_a_call_that_gemini_did_not_make_says_so_to_gemini():
    turns = (Message("user", "Hi"), Message("assistant", (ToolCall("a", "f", "{}"),)))
    assert "skip_thought_signature_validator" in body_of(Request(turns), endpoint("gemini"))
    assert "skip_thought" not in body_of(Request(turns), endpoint("gemini", model="gemini-2.5-flash"))


def test_a_plain_prompt_is_fitted_without_any_work():
    request = Request((Message("user", "Hi"),), system="Be brief.", schema={"type": "object"})
    assert fit_request(request, endpoint("anthropic")).request is request


EFFORTS = {
    ("anthropic", None): {"output_config": {"effort": "high"}},
    ("anthropic", "claude-sonnet-4-5"): {"thinking": {"type": "enabled", "budget_tokens": 1999}},
    ("chat", None): {"reasoning_effort": "high"},
    ("responses", None): {"reasoning": {"effort": "high"}},
}


@pytest.mark.parametrize(("wire", "model"), EFFORTS)
def test_effort_is_said_in_the_words_of_the_wire(wire, model):
    body = json.loads(body_of(optioned(effort="high"), endpoint(wire, model=model)))
    assert body.items() >= EFFORTS[wire, model].items()


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("gemini-3.8-flash", "max", {"thinkingLevel": "HIGH"}),
        ("gemini-3.8-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
    ],
)
def test_effort_is_a_level_for_gemini_and_a_budget_for_its_older_models(model, effort, sent):
    body = json.loads(body_of(optioned(effort=effort), endpoint("gemini", model=model)))
    assert body["generationConfig"]["thinkingConfig"] == sent


def test_a_known_vendor_is_sent_no_effort_above_high_but_openai():
    assert json.loads(body_of(optioned(effort="max"), endpoint("groq")))["reasoning_effort"] == "high"
    assert json.loads(body_of(optioned(effort="max"), endpoint("chat", model="gpt-x")))


def test_the_request_says_more_than_the_configuration_of_its_target():
    there = endpoint("chat", options=GenerationOptions(top_p=0.1, seed=1))
    body = json.loads(body_of(optioned(top_p=0.9), there))
    assert (body["top_p"], body["seed"]) == (0.9, 1)


def test_a_parameter_that_the_target_refused_is_left_out():
    there = endpoint("chat", dropped_parameters=frozenset({"seed"}))
    assert "seed" not in json.loads(body_of(optioned(seed=1), there))
