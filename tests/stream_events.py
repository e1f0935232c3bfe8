"""What each wire format says in a stream, event by event, and the same as one whole document.

Not the simulator's formats: an answer here is a list of tokens of any shape, with thinking and pings between
them, and what is sent is written down once more, from the vendors' documentation.
"""

import json

INPUT, OUTPUT = 1234, 56
"""The tokens that every call reports, where it reports any."""


def encode_event(document, name=None):
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


class AnthropicEvents:
    """Anthropic's, also on Vertex: named events, the input reported first and the output last."""

    def __init__(self, model, *, reports):
        self._model, self._reports = model, reports
        self._block, self._number = None, -1

    def begin(self):
        usage = {"input_tokens": INPUT, "output_tokens": 1} if self._reports else {}
        start = {"id": "msg_1", "type": "message", "role": "assistant", "model": self._model, "content": []}
        return _encode_named_event("message_start", message=start | {"stop_reason": None, "usage": usage})

    def text(self, said):
        return self._open_block("text", text="") + self._encode_delta(type="text_delta", text=said)

    def thought(self, said):
        return self._open_block("thinking", thinking="") + self._encode_delta(
            type="thinking_delta", thinking=said
        )

    def ping(self):
        return _encode_named_event("ping")

    def error(self, message):
        return encode_event(self.fault(message), "error")

    def end(self):
        usage = {"usage": {"output_tokens": OUTPUT}} if self._reports else {}
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return (
            self._close_block()
            + _encode_named_event("message_delta", delta=delta, **usage)
            + _encode_named_event("message_stop")
        )

    def whole(self, said):
        usage = {"input_tokens": INPUT, "output_tokens": OUTPUT} if self._reports else {}
        content = [{"type": "text", "text": said}]
        said = {"id": "msg_1", "type": "message", "role": "assistant", "model": self._model}
        return said | {"content": content, "stop_reason": "end_turn", "usage": usage}

    def fault(self, message):
        return {"type": "error", "error": {"type": "overloaded_error", "message": message}}

    def _open_block(self, kind, **empty):
        """What opens a block of this kind, unless it is open."""
        if self._block == kind:
            return b""
        closed = self._close_block()
        self._block, self._number = kind, self._number + 1
        block = {"type": kind, **empty}
        return closed + _encode_named_event("content_block_start", index=self._number, content_block=block)

    def _close_block(self):
        if self._block is None:
            return b""
        self._block = None
        return _encode_named_event("content_block_stop", index=self._number)

    def _encode_delta(self, **delta):
        return _encode_named_event("content_block_delta", index=self._number, delta=delta)


class OpenAIEvents:
    """OpenAI's chat completions: the usage comes after the end, to who asked for it, and then ``[DONE]``."""

    def __init__(self, model, *, reports):
        self._envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": model}
        self._reports = reports

    def begin(self):
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, said):
        return self._chunk({"content": said})

    def thought(self, said):
        return self._chunk({"reasoning_content": said})

    def ping(self):
        return b": keep-alive\n\n"

    def error(self, message):
        return encode_event(self.fault(message))

    def end(self):
        usage = (
            encode_event(self._envelope | {"choices": [], "usage": self._usage()}) if self._reports else b""
        )
        return self._chunk({}, "stop") + usage + b"data: [DONE]\n\n"

    def whole(self, said):
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"usage": self._usage()} if self._reports else {}
        return self._envelope | {"object": "chat.completion", "choices": [choice], **usage}

    def fault(self, message):
        kind, code = "service_unavailable_error", "server_is_overloaded"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def _chunk(self, delta, finished=None):
        return encode_event(
            self._envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": finished}]}
        )

    def _usage(self):
        return {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}


class ResponsesEvents:
    """OpenAI's Responses: every event repeats its place, and the last one has the whole answer."""

    def __init__(self, model, *, reports):
        self._model, self._reports = model, reports
        self._texts, self._number = [], -1

    def begin(self):
        return self._event("response.created", response=self._response([], "in_progress"))

    def text(self, said):
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        opened = b"" if self._texts else self._open(place)
        self._texts.append(said)
        return opened + self._event("response.output_text.delta", **place, delta=said, logprobs=[])

    def _open(self, place):
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return self._event(
            "response.output_item.added", output_index=0, item={**self._item(""), "content": []}
        ) + self._event("response.content_part.added", **place, part=part)

    def thought(self, said):
        return self._event(
            "response.reasoning_summary_text.delta",
            item_id="rs_1",
            output_index=0,
            summary_index=0,
            delta=said,
        )

    def ping(self):
        return self._event("keepalive")

    def error(self, message):
        return self._event("response.failed", response=self._response([], "failed", **self.fault(message)))

    def end(self):
        item = self._item("".join(self._texts))
        return self._event("response.output_item.done", output_index=0, item=item) + self._event(
            "response.completed", response=self._response([item], "completed")
        )

    def whole(self, said):
        return self._response([self._item(said)], "completed")

    def fault(self, message):
        return {"error": {"code": "server_is_overloaded", "message": message}}

    def _event(self, name, **fields):
        self._number += 1
        return _encode_named_event(name, sequence_number=self._number, **fields)

    def _item(self, said):
        part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def _response(self, items, status, **more):
        usage = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
        usage |= {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        reply = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": self._model,
            "status": status,
        }
        reply |= {"output": items, "error": None, "incomplete_details": None, "parallel_tool_calls": True}
        reply |= {"tool_choice": "auto", "tools": [], **more}
        return reply | ({"usage": usage} if self._reports and items else {})


class GeminiEvents:
    """Gemini's, also on Vertex: every chunk reports, and the one with a finish reason is the end."""

    def __init__(self, model, *, reports):
        self._model, self._reports = model, reports

    def begin(self):
        return b""

    def text(self, said):
        return encode_event(self._chunk({"text": said}))

    def thought(self, said):
        return encode_event(self._chunk({"text": said, "thought": True}))

    def ping(self):
        return b": ping\r\n\r\n"

    def error(self, message):
        return encode_event(self.fault(message))

    def end(self):
        return encode_event(self._chunk({"text": ""}, "STOP"))

    def whole(self, said):
        return self._chunk({"text": said}, "STOP")

    def fault(self, message):
        return {"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}}

    def _chunk(self, part, finished=None):
        candidate = {"content": {"role": "model", "parts": [part]}, "index": 0}
        end = {"finishReason": finished} if finished else {}
        usage = {"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT} if self._reports else {}
        reported = {"usageMetadata": usage} if usage else {}
        return {"candidates": [candidate | end], "modelVersion": self._model, **reported}


FORMATS = {
    "anthropic": AnthropicEvents,
    "openai": OpenAIEvents,
    "responses": ResponsesEvents,
    "gemini": GeminiEvents,
}


def _encode_named_event(name, **fields):
    return encode_event({"type": name, **fields}, name)
