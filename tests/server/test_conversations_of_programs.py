"""Programs of every dialect call tools over three turns, each of which another vendor may answer.

The simulator refuses a signature that it did not make, and as Gemini a call without one.
"""

import json
import re

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from running_gateway import run_gateway

from llmfail.simulator import Simulator
from llmfail.simulator.canned_turn import SKIP_SIGNATURE

TARGETS = {
    "anthropic": "anthropic/claude-sonnet-5-5",
    "chat": "openai/gpt-6.1-terra",
    "responses": "openai/gpt-6.1-sol",
    "gemini": "google/gemini-3.8-flash",
}
MORE = "models: {openai/gpt-6.1-sol: {endpoint: responses}}"
NAMES = ("weather", "time")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WANTED = [(name, {"city": "simulated"}) for name in NAMES]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with (
        Simulator() as simulator,
        run_gateway(tmp_path_factory.mktemp("gateway"), simulator, MORE) as running,
    ):
        yield running


class ChatProgram:
    """Keeps what the SDK read, and gives it back as it is."""

    tools = tuple({"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES)

    def __init__(self, client):
        self.client = client
        self.turns = []

    @staticmethod
    def connect(url):
        return openai.OpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0)

    def say(self, text):
        self.turns.append({"role": "user", "content": text})

    def ask(self, model, *, streamed):
        request = {"model": model, "messages": self.turns, "tools": self.tools}
        if streamed:
            with self.client.chat.completions.stream(**request) as stream:
                choice = stream.get_final_completion().choices[0]
        else:
            choice = self.client.chat.completions.create(**request).choices[0]
        self.turns.append(choice.message.model_dump(exclude_none=True))
        for call in self.turns[-1].get("tool_calls", []):
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        self.turns[-1].pop("parsed", None)
        calls = choice.message.tool_calls or []
        self.open = [(call.id, call.function.name) for call in calls]
        found = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
        return found, choice.message.content or "", choice.finish_reason == "tool_calls"

    def answer(self):
        self.turns += [
            {"role": "tool", "tool_call_id": call_id, "content": f"of {name}"} for call_id, name in self.open
        ]


class ResponsesProgram(ChatProgram):
    tools = tuple({"type": "function", "name": name, "parameters": SCHEMA} for name in NAMES)

    def ask(self, model, *, streamed):
        request = {"model": model, "input": self.turns, "tools": self.tools, "store": False}
        request["include"] = ["reasoning.encrypted_content"]
        if streamed:
            with self.client.responses.stream(**request) as stream:
                found = stream.get_final_response()
        else:
            found = self.client.responses.create(**request)
        items = [item.model_dump(exclude_none=True) for item in found.output]
        for item in items:
            item.pop("parsed_arguments", None)
        self.turns += items
        calls = [item for item in found.output if item.type == "function_call"]
        self.open = [(call.call_id, call.name) for call in calls]
        return [(call.name, json.loads(call.arguments)) for call in calls], found.output_text, bool(calls)

    def answer(self):
        self.turns += [
            {"type": "function_call_output", "call_id": call_id, "output": f"of {name}"}
            for call_id, name in self.open
        ]


class MessagesProgram:
    tools = tuple({"name": name, "input_schema": SCHEMA} for name in NAMES)

    def __init__(self, client):
        self.client = client
        self.turns = []

    @staticmethod
    def connect(url):
        return anthropic.Anthropic(api_key="x", base_url=url, max_retries=0)

    def say(self, text):
        self.turns.append({"role": "user", "content": text})

    def ask(self, model, *, streamed):
        request = {"model": model, "messages": self.turns, "tools": self.tools, "max_tokens": 99}
        if streamed:
            with self.client.messages.stream(**request) as stream:
                found = stream.get_final_message()
        else:
            found = self.client.messages.create(**request)
        content = [block.model_dump(exclude_none=True) for block in found.content]
        for block in content:
            block.pop("parsed_output", None)
        self.turns.append({"role": "assistant", "content": content})
        calls = [block for block in found.content if block.type == "tool_use"]
        self.open = [(call.id, call.name) for call in calls]
        text = "".join(block.text for block in found.content if block.type == "text")
        return [(call.name, call.input) for call in calls], text, found.stop_reason == "tool_use"

    def answer(self):
        results = [
            {"type": "tool_result", "tool_use_id": call_id, "content": f"of {name}"}
            for call_id, name in self.open
        ]
        self.turns.append({"role": "user", "content": results})


class GeminiProgram:
    tools = types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA) for name in NAMES
        ]
    )

    def __init__(self, client):
        self.client = client
        self.turns = []

    @staticmethod
    def connect(url):
        return genai.Client(api_key="x", http_options=types.HttpOptions(base_url=url))

    def say(self, text):
        self.turns.append(types.Content(role="user", parts=[types.Part(text=text)]))

    def ask(self, model, *, streamed):
        by_hand = types.AutomaticFunctionCallingConfig(disable=True)
        config = types.GenerateContentConfig(tools=[self.tools], automatic_function_calling=by_hand)
        request = {"model": model, "contents": self.turns, "config": config}
        if streamed:
            chunks = list(self.client.models.generate_content_stream(**request))
        else:
            chunks = [self.client.models.generate_content(**request)]
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
        self.turns.append(types.Content(role="model", parts=parts))
        calls = [part.function_call for part in parts if part.function_call]
        self.open = [(call.id, call.name) for call in calls]
        text = "".join(part.text for part in parts if part.text and not part.thought)
        return [(call.name, call.args) for call in calls], text, bool(calls)

    def answer(self):
        parts = [
            types.Part.from_function_response(name=name, response={"result": f"of {name}"})
            for _, name in self.open
        ]
        self.turns.append(types.Content(role="user", parts=parts))


PROGRAMS = {
    "chat": ChatProgram,
    "responses": ResponsesProgram,
    "messages": MessagesProgram,
    "gemini": GeminiProgram,
}


@pytest.fixture(scope="module")
def clients(gateway):
    """One SDK for all the conversations of a dialect: to make one costs more than to use it."""
    opened = {name: program.connect(gateway.url) for name, program in PROGRAMS.items()}
    yield opened
    for client in opened.values():
        client.close()


SAME = [(one, one, one) for one in TARGETS]
MIXED = [
    *(("anthropic", other, "anthropic") for other in ("chat", "responses", "gemini")),
    *(("gemini", other, "gemini") for other in ("chat", "anthropic")),
    ("responses", "gemini", "responses"),
    ("responses", "anthropic", "gemini"),
]
"""Who answers the first turn, the second and the third."""
WAYS = [(way, streamed) for way in SAME for streamed in (False, True)] + [(way, True) for way in MIXED]


@pytest.mark.parametrize(
    ("way", "streamed"), WAYS, ids=[f"{'-'.join(way)}{'-streamed' * streamed}" for way, streamed in WAYS]
)
@pytest.mark.parametrize("name", PROGRAMS)
def test_two_calls_and_their_results_over_three_turns_by_whoever_answers(
    gateway, clients, name, way, streamed
):
    program = PROGRAMS[name](clients[name])
    before = len(gateway.simulator.requests)
    for turn in way:
        program.say("Weather and time in Rome?")
        calls, text, is_called = program.ask(TARGETS[turn], streamed=streamed)
        assert (calls, text, is_called) == (WANTED, "I look.", True)
        assert len(set(program.open)) == 2
        program.answer()
        calls, text, is_called = program.ask(TARGETS[turn], streamed=streamed)
        assert (calls, bool(text), is_called) == ([], True, False)
    seen = gateway.simulator.requests[before:]
    assert [one.target for one in seen] == [TARGETS[turn] for turn in way for _ in range(2)]
    assert "llmfail1." not in "".join(json.dumps(one.document) for one in seen)
    if way[0] != "chat":
        own = [turn for turn in way[:2] if turn == way[2]]
        assert len(signatures_in(seen[4].document)) == len(own)


def signatures_in(document):
    """Those that a vendor gets back of its own."""
    found = re.findall(r'"(?:signature|encrypted_content|thoughtSignature)": "([^"]+)"', json.dumps(document))
    return [one for one in found if one != SKIP_SIGNATURE]
