"""An answer as OpenAI Chat Completions has it.

Thoughts are ``reasoning_content``, as DeepSeek named it; what signs them goes along in ``reasoning_details``,
as OpenRouter named it, and what signs a call within its id. Of a stream, programs put ``reasoning_content``
together in ways of their own, and openai-node keeps its last piece alone: so the details have the thoughts
once more, and come in a single piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llmfail.core.answer_piece import AnswerBegun
from llmfail.core.model import FinishReason, Usage
from llmfail.core.receipt import Receipt
from llmfail.providers.dialects.carried_signature import carry, put_into_id
from llmfail.providers.encoding import encode_json
from llmfail.providers.replies.answer_blocks import AnswerBlock, BlockEvent
from llmfail.providers.replies.error_reply import broken_off, describe_error
from llmfail.providers.replies.reply_writer import BlockReply, cost_of, write_data

_FINISH: Final[Mapping[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "other": "stop",
}
_END: Final = b"data: [DONE]\n\n"


class ChatReply(BlockReply):
    keep_alive: bytes = b": \n\n"

    def write_whole(self, receipt: Receipt) -> bytes:
        blocks = self.read_whole(receipt)
        choice = {
            "index": 0,
            "message": self._build_message(blocks),
            "logprobs": {"content": receipt.logprobs} if isinstance(receipt.logprobs, list) else None,
            "finish_reason": _FINISH[receipt.finish_reason or "stop"],
        }
        head = self._build_head("chat.completion")
        return encode_json({**head, "choices": [choice], "usage": _build_usage(receipt)})

    def write_start(self, begun: AnswerBegun | None) -> bytes:  # noqa: ARG002 - the same for all dialects
        return self._write_chunk({"role": "assistant", "content": ""})

    def write_event(self, event: BlockEvent) -> bytes:
        block = event.block
        match event.kind, block.kind:
            case "add", "text":
                return self._write_chunk({"content": event.text})
            case "add", "thought":
                return self._write_chunk({"reasoning_content": event.text})
            case "open", "call":
                return self._write_chunk({"tool_calls": [self._build_call(block, "")]})
            case "add", "call":
                piece = {"index": block.call_index, "function": {"arguments": event.text}}
                return self._write_chunk({"tool_calls": [piece]})
        return b""

    def write_end(self, receipt: Receipt) -> bytes:
        thoughts = [_build_detail(block) for block in self.order.blocks if block.kind == "thought"]
        details = self._write_chunk({"reasoning_details": thoughts}) if thoughts else b""
        last = details + self._write_chunk({}, _FINISH[receipt.finish_reason or "stop"])
        if not self.asked.include_usage:
            return last + _END
        head = self._build_head("chat.completion.chunk")
        return last + write_data({**head, "choices": [], "usage": _build_usage(receipt)}) + _END

    def write_broken_end(self, receipt: Receipt) -> bytes:
        return write_data(describe_error(self.asked.dialect, broken_off(receipt)))

    def _build_head(self, kind: str) -> dict[str, Any]:
        asked = self.asked
        named = {"id": f"chatcmpl-{asked.id}", "object": kind}
        return {**named, "created": asked.created_at, "model": self.model}

    def _build_message(self, blocks: Iterable[AnswerBlock]) -> dict[str, Any]:
        said = {kind: [one for one in blocks if one.kind == kind] for kind in ("text", "thought", "call")}
        text = "".join(block.text for block in said["text"])
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not said["call"] else None}
        message["refusal"] = None
        if said["thought"]:
            message["reasoning_content"] = "".join(block.text for block in said["thought"])
            message["reasoning_details"] = [_build_detail(block) for block in said["thought"]]
        if said["call"]:
            message["tool_calls"] = [self._build_call(one, one.text or "{}") for one in said["call"]]
            for call in message["tool_calls"]:
                del call["index"]
        return message

    def _build_call(self, block: AnswerBlock, arguments: str) -> dict[str, Any]:
        call_id = put_into_id(self.call_id_of(block), block.signature)
        function = {"name": block.name, "arguments": arguments}
        return {"index": block.call_index, "id": call_id, "type": "function", "function": function}

    def _write_chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.asked.include_usage else {}
        return write_data({**self._build_head("chat.completion.chunk"), "choices": [choice], **usage})


def _build_detail(block: AnswerBlock) -> dict[str, Any]:
    data = carry(block.signature, block.text)
    return {"type": "reasoning.encrypted", "data": data, "format": "llmfail", "index": block.index}


def _build_usage(receipt: Receipt) -> dict[str, Any]:
    usage = receipt.usage or Usage(input_tokens=0, output_tokens=0)
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "cost_usd": cost_of(receipt),
    }
