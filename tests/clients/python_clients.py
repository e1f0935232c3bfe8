"""The clients from PyPI, driven by jobs as those of ``node_clients.mjs``: a JSON object a line in, a result a
line out.

It runs under the interpreter of whichever environment has the client: the SDKs of the tests' own, or the
frameworks of tests/clients/requirements.txt. Jobs run one after another.
"""

import json
import sys

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NAMES = ("weather", "time")
QUESTION = "Weather and time in Rome?"


def describe(name):
    return f"The {name} of a city."


def result_of(name):
    return f"of {name}"


def weather(city: str) -> str:
    """The weather of a city."""
    return result_of("weather")


def time(city: str) -> str:
    """The time of a city."""
    return result_of("time")


TOOLS = (weather, time)
"""For frameworks that make tools of functions."""


def declare_functions():
    """The tools as Chat Completions has them."""
    declared = [{"name": name, "description": describe(name), "parameters": CITY} for name in NAMES]
    return [{"type": "function", "function": one} for one in declared]


def as_call(call_id, name, arguments):
    read = json.loads(arguments) if isinstance(arguments, str) else dict(arguments or {})
    return {"id": call_id, "name": name, "arguments": read}


def converse(job, say):
    """A question to each of the models, which may be one and the same. ``say(question, calls)`` says one turn
    of the user, and gives the model's.
    """
    turns = []
    for model in models_of(job):
        job["model"] = model
        turns.append(say(QUESTION, []))
        if turns[-1]["calls"]:
            turns.append(say(None, turns[-1]["calls"]))
    return {"turns": turns}


def models_of(job):
    return job.get("models") or [job["model"]] * 2


def retries(job):
    return {} if job.get("retries") is None else {"max_retries": job["retries"]}


def plain(value):
    return value.model_dump(mode="json", exclude_none=True) if value is not None else None


class OpenAIChat:
    def __init__(self, job):
        import openai

        self.client = openai.OpenAI(base_url=f"{job['base']}/v1", api_key=job["key"], **retries(job))
        self.job = job

    def say(self, messages, **more):
        asked = {"model": self.job["model"], "messages": messages, **more, **self.job.get("extra", {})}
        if not self.job.get("stream"):
            reply = self.client.chat.completions.create(**asked)
            return reply.choices[0].message, reply.choices[0].finish_reason, reply.usage
        with self.client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            for _ in stream:
                tell(self.job)
            reply = stream.get_final_completion()
        return reply.choices[0].message, reply.choices[0].finish_reason, reply.usage

    def text(self):
        message, finish, usage = self.say([{"role": "user", "content": self.job["prompt"]}])
        return {"text": message.content, "finish": finish, "usage": plain(usage)}

    def chunks(self):
        """The chunks themselves, which is what most programs read."""
        messages = [{"role": "user", "content": self.job["prompt"]}]
        found = {"text": "", "finish": None}
        for chunk in self.client.chat.completions.create(
            model=self.job["model"], messages=messages, stream=True
        ):
            tell(self.job)
            for choice in chunk.choices:
                found["text"] += choice.delta.content or ""
                found["finish"] = choice.finish_reason or found["finish"]
        return found

    def tools(self):
        tools, messages = declare_functions(), []

        def say(question, calls):
            if question:
                messages.append({"role": "user", "content": question})
            messages.extend(
                {"role": "tool", "tool_call_id": call["id"], "content": result_of(call["name"])}
                for call in calls
            )
            message, finish, _ = self.say(messages, tools=tools)
            messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
            for call in messages[-1].get("tool_calls", []):
                call["function"].pop("parsed_arguments", None)
            found = [
                as_call(one.id, one.function.name, one.function.arguments) for one in message.tool_calls or []
            ]
            return {"calls": found, "text": message.content, "finish": finish}

        return converse(self.job, say)

    def embed(self):
        reply = self.client.embeddings.create(
            model=self.job["model"], input=self.job["input"], **self.job.get("extra", {})
        )
        return {"vectors": [row.embedding for row in reply.data], "usage": plain(reply.usage)}

    def models(self):
        return {"models": [model.id for model in self.client.models.list()]}


class OpenAIResponses(OpenAIChat):
    def say(self, messages, **more):
        asked = {"model": self.job["model"], "input": messages, "store": False, **more}
        asked |= {"include": ["reasoning.encrypted_content"], **self.job.get("extra", {})}
        if not self.job.get("stream"):
            return self.client.responses.create(**asked)
        with self.client.responses.stream(**asked) as stream:
            for _ in stream:
                tell(self.job)
            return stream.get_final_response()

    def text(self):
        reply = self.say(self.job["prompt"])
        return {"text": reply.output_text, "finish": reply.status, "usage": plain(reply.usage)}

    def chunks(self):
        found = {"text": "", "finish": None}
        for event in self.client.responses.create(
            model=self.job["model"], input=self.job["prompt"], stream=True
        ):
            tell(self.job)
            if event.type == "response.output_text.delta":
                found["text"] += event.delta
            if event.type in {"response.completed", "response.failed", "error"}:
                found["finish"] = event.type
        return found

    def tools(self):
        tools = [{"type": "function", **one["function"], "strict": False} for one in declare_functions()]
        turns = []

        def say(question, calls):
            if question:
                turns.append({"role": "user", "content": question})
            turns.extend(
                {
                    "type": "function_call_output",
                    "call_id": call["id"],
                    "output": result_of(call["name"]),
                }
                for call in calls
            )
            reply = self.say(turns, tools=tools)
            turns.extend(item.model_dump(exclude_none=True) for item in reply.output)
            for item in turns:
                item.pop("parsed_arguments", None)
            found = [
                as_call(item.call_id, item.name, item.arguments)
                for item in reply.output
                if item.type == "function_call"
            ]
            return {"calls": found, "text": reply.output_text, "finish": reply.status}

        return converse(self.job, say)


class Anthropic:
    def __init__(self, job):
        import anthropic

        self.client = anthropic.Anthropic(base_url=job["base"], api_key=job["key"], **retries(job))
        self.job = job

    def say(self, messages, **more):
        asked = {"model": self.job["model"], "max_tokens": 2000, "messages": messages, **more}
        asked |= self.job.get("extra", {})
        if not self.job.get("stream"):
            return self.client.messages.create(**asked)
        with self.client.messages.stream(**asked) as stream:
            for _ in stream:
                tell(self.job)
            return stream.get_final_message()

    def text(self):
        reply = self.say([{"role": "user", "content": self.job["prompt"]}])
        return {"text": text_of(reply.content), "finish": reply.stop_reason, "usage": plain(reply.usage)}

    def chunks(self):
        messages = [{"role": "user", "content": self.job["prompt"]}]
        found = {"text": "", "finish": None}
        for event in self.client.messages.create(
            model=self.job["model"], max_tokens=2000, messages=messages, stream=True
        ):
            tell(self.job)
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                found["text"] += event.delta.text
            if event.type == "message_delta":
                found["finish"] = event.delta.stop_reason
        return found

    def tools(self):
        tools = [{"name": name, "description": describe(name), "input_schema": CITY} for name in NAMES]
        messages = []

        def say(question, calls):
            results = [
                {
                    "type": "tool_result",
                    "tool_use_id": call["id"],
                    "content": result_of(call["name"]),
                }
                for call in calls
            ]
            messages.append({"role": "user", "content": question or results})
            reply = self.say(messages, tools=tools)
            messages.append({"role": "assistant", "content": reply.content})
            found = [
                as_call(block.id, block.name, block.input)
                for block in reply.content
                if block.type == "tool_use"
            ]
            return {"calls": found, "text": text_of(reply.content), "finish": reply.stop_reason}

        return converse(self.job, say)

    def count(self):
        messages = [{"role": "user", "content": self.job["prompt"]}]
        return {
            "tokens": self.client.messages.count_tokens(
                model=self.job["model"], messages=messages
            ).input_tokens
        }

    def models(self):
        return {"models": [model.id for model in self.client.models.list()]}


def text_of(blocks):
    return "".join(block.text for block in blocks if block.type == "text")


class Google:
    def __init__(self, job):
        from google import genai

        self.client = genai.Client(api_key=job["key"], http_options={"base_url": job["base"]})
        self.job = job

    def say(self, contents, **more):
        asked = {
            "model": self.job["model"],
            "contents": contents,
            "config": {**more, **self.job.get("extra", {})},
        }
        if not self.job.get("stream"):
            reply = self.client.models.generate_content(**asked)
            candidate = reply.candidates[0]
            return candidate.content.parts, candidate.finish_reason, reply.usage_metadata
        parts, finish, usage = [], None, None
        for chunk in self.client.models.generate_content_stream(**asked):
            tell(self.job)
            for candidate in chunk.candidates or []:
                parts += candidate.content.parts or [] if candidate.content else []
                finish = candidate.finish_reason or finish
            usage = chunk.usage_metadata or usage
        return parts, finish, usage

    def text(self):
        parts, finish, usage = self.say(self.job["prompt"])
        return {
            "text": spoken(parts),
            "finish": finish.name if finish else None,
            "usage": plain(usage),
        }

    chunks = text

    def tools(self):
        tools = [
            {"function_declarations": [{"name": name, "description": describe(name), "parameters": CITY}]}
            for name in NAMES
        ]
        contents = []

        def say(question, calls):
            results = [
                {
                    "function_response": {
                        "id": call["id"],
                        "name": call["name"],
                        "response": {"result": result_of(call["name"])},
                    }
                }
                for call in calls
            ]
            contents.append({"role": "user", "parts": [{"text": question}] if question else results})
            parts, finish, _ = self.say(contents, tools=tools, automatic_function_calling={"disable": True})
            contents.append({"role": "model", "parts": parts})
            found = [
                as_call(part.function_call.id, part.function_call.name, part.function_call.args)
                for part in parts
                if part.function_call
            ]
            return {"calls": found, "text": spoken(parts), "finish": finish.name if finish else None}

        return converse(self.job, say)

    def embed(self):
        reply = self.client.models.embed_content(model=self.job["model"], contents=self.job["input"])
        return {"vectors": [row.values for row in reply.embeddings]}

    def count(self):
        reply = self.client.models.count_tokens(model=self.job["model"], contents=self.job["prompt"])
        return {"tokens": reply.total_tokens}


def spoken(parts):
    return "".join(part.text for part in parts or [] if part.text and not part.thought)


class LangChain:
    """The same program for every chat model of LangChain."""

    def __init__(self, job):
        self.job = job

    def model(self):
        job = self.job
        if job["client"] == "langchain-anthropic":
            from langchain_anthropic import ChatAnthropic

            return ChatAnthropic(
                base_url=job["base"],
                api_key=job["key"],
                model=job["model"],
                max_tokens=2000,
                **retries(job),
            )
        from langchain_openai import ChatOpenAI

        use_responses = job["client"] == "langchain-responses"
        return ChatOpenAI(
            base_url=f"{job['base']}/v1",
            api_key=job["key"],
            model=job["model"],
            use_responses_api=use_responses,
            **retries(job),
        )

    def say(self, model, messages):
        if not self.job.get("stream"):
            return model.invoke(messages)
        whole = None
        for chunk in model.stream(messages):
            tell(self.job)
            whole = chunk if whole is None else whole + chunk
        return whole

    def text(self):
        reply = self.say(self.model(), self.job["prompt"])
        return {"text": reply.text, "finish": finish_of(reply), "usage": reply.usage_metadata}

    def tools(self):
        from langchain_core.messages import HumanMessage, ToolMessage

        model, messages = self.model().bind_tools(declare_functions()), []

        def say(question, calls):
            results = [ToolMessage(result_of(call["name"]), tool_call_id=call["id"]) for call in calls]
            messages.extend([HumanMessage(question)] if question else results)
            reply = self.say(model, messages)
            messages.append(reply)
            found = [as_call(call["id"], call["name"], call["args"]) for call in reply.tool_calls]
            return {"calls": found, "text": reply.text, "finish": finish_of(reply)}

        return converse(self.job, say)


def finish_of(reply):
    told = reply.response_metadata
    return told.get("finish_reason") or told.get("stop_reason") or told.get("status")


class LlamaIndex:
    def __init__(self, job):
        from llama_index.llms.openai_like import OpenAILike

        self.job = job
        self.model = OpenAILike(
            model=job["model"],
            api_base=f"{job['base']}/v1",
            api_key=job["key"],
            is_chat_model=True,
            is_function_calling_model=True,
            **retries(job),
        )

    def text(self):
        from llama_index.core.llms import ChatMessage

        messages = [ChatMessage(role="user", content=self.job["prompt"])]
        if not self.job.get("stream"):
            return {"text": self.model.chat(messages).message.content}
        text = ""
        for chunk in self.model.stream_chat(messages):
            tell(self.job)
            text += chunk.delta or ""
        return {"text": text}

    def tools(self):
        from llama_index.core.llms import ChatMessage
        from llama_index.core.tools import FunctionTool

        tools, messages = [FunctionTool.from_defaults(one) for one in TOOLS], []

        def say(question, calls):
            if question:
                messages.append(ChatMessage(role="user", content=question))
            messages.extend(
                ChatMessage(
                    result_of(call["name"]), role="tool", additional_kwargs={"tool_call_id": call["id"]}
                )
                for call in calls
            )
            reply = self.model.chat_with_tools(tools, chat_history=messages, allow_parallel_tool_calls=True)
            messages.append(reply.message)
            called = self.model.get_tool_calls_from_response(reply, error_on_no_tool_call=False)
            found = [as_call(one.tool_id, one.tool_name, one.tool_kwargs) for one in called]
            return {"calls": found, "text": reply.message.content, "finish": None}

        return converse(self.job, say)


class PydanticAI:
    def __init__(self, job):
        self.job = job

    def agent(self, **more):
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(base_url=f"{self.job['base']}/v1", api_key=self.job["key"])
        return Agent(OpenAIChatModel(self.job["model"], provider=provider), **more)

    def text(self):
        if not self.job.get("stream"):
            result = self.agent().run_sync(self.job["prompt"])
            return {"text": result.output}
        result = self.agent().run_stream_sync(self.job["prompt"])
        text = ""
        for piece in result.stream_text(delta=True, debounce_by=None):
            tell(self.job)
            text += piece
        return {"text": text}

    def tools(self):
        from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart

        history, turns = [], []
        for model in models_of(self.job):
            self.job["model"] = model
            result = self.agent(tools=TOOLS).run_sync(QUESTION, message_history=history)
            for message in result.new_messages():
                if isinstance(message, ModelResponse):
                    calls = [one for one in message.parts if isinstance(one, ToolCallPart)]
                    text = "".join(one.content for one in message.parts if isinstance(one, TextPart))
                    found = [as_call(one.tool_call_id, one.tool_name, one.args) for one in calls]
                    turns.append({"calls": found, "text": text, "finish": message.finish_reason})
            history = result.all_messages()
        return {"turns": turns}


CLIENTS = {
    "openai": OpenAIChat,
    "responses": OpenAIResponses,
    "anthropic": Anthropic,
    "google": Google,
    "langchain-openai": LangChain,
    "langchain-responses": LangChain,
    "langchain-anthropic": LangChain,
    "llama-index": LlamaIndex,
    "pydantic-ai": PydanticAI,
}


def tell(job):
    job["pieces"] = job.get("pieces", 0) + 1


def describe_error(error):
    names = [one.__name__ for one in type(error).__mro__ if one is not object]
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    code = getattr(error, "code", None)
    headers = getattr(getattr(error, "response", None), "headers", {})
    return {
        "classes": names,
        "status": status if isinstance(status, int) else None,
        "code": code if isinstance(code, str) else None,
        "retry_after": headers.get("retry-after"),
        "message": str(error),
    }


def run(job):
    try:
        return getattr(CLIENTS[job["client"]](job), job["do"])()
    except Exception as error:  # noqa: BLE001 - what a client raises is what is asked for
        return {"error": describe_error(error)}


def main():
    for line in sys.stdin:
        job = json.loads(line)
        outcome = run(job)
        told = {"number": job["number"], "pieces": job.get("pieces", 0), **outcome}
        sys.stdout.write(json.dumps(told, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
