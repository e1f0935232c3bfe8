"""An answer as Anthropic Messages has it.

The signature of another vendor goes along in the place of Anthropic's own: that of a thought with it, that of
a call in a hidden thought before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmfail.core.answer_piece import AnswerBegun
from llmfail.core.conversation import Signature
from llmfail.core.model import FinishReason, Usage
from llmfail.core.receipt import Receipt
from llmfail.providers.dialects import anthropic_parts, anthropic_request
from llmfail.providers.dialects.carried_signature import carry
from llmfail.providers.dialects.client_request import AskedReply
from llmfail.providers.encoding import encode_json, load_arguments
from llmfail.providers.replies.answer_blocks import AnswerBlock, BlockEvent
from llmfail.providers.replies.error_reply import broken_off, describe_error
from llmfail.providers.replies.reply_writer import BlockReply, cost_of, write_named_event

_FINISH: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "other": "end_turn",
}


class MessagesReply(BlockReply):
    keep_alive: bytes = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, asked: AskedReply) -> None:
        super().__init__(asked)
        self._count = 0
        self._places: dict[int, int] = {}

    def write_whole(self, receipt: Receipt) -> bytes:
        content = [one for block in self.read_whole(receipt) for one in self._build_blocks(block)]
        ended = {"stop_reason": _FINISH[receipt.finish_reason or "stop"], "stop_sequence": None}
        usage = {**_build_usage(receipt.usage), "cost_usd": cost_of(receipt)}
        return encode_json({**self._build_head(), "content": content, **ended, "usage": usage})

    def write_start(self, begun: AnswerBegun | None) -> bytes:
        usage = begun.usage if begun is not None and begun.usage is not None else None
        known = _build_usage(usage or Usage(input_tokens=self.asked.input_tokens, output_tokens=0))
        message = {**self._build_head(), "content": [], "stop_reason": None, "stop_sequence": None}
        return write_named_event({"type": "message_start", "message": {**message, "usage": known}})

    def write_event(self, event: BlockEvent) -> bytes:
        block = event.block
        match event.kind, block.kind:
            case "open", _:
                return self._open(block)
            case "add", "text":
                return self._write_delta(block, {"type": "text_delta", "text": event.text})
            case "add", "thought":
                return self._write_delta(block, {"type": "thinking_delta", "thinking": event.text})
            case "add", "call":
                return self._write_delta(block, {"type": "input_json_delta", "partial_json": event.text})
        signed = b""
        if block.kind == "thought" and not _is_hidden(block.signature):
            delta = {"type": "signature_delta", "signature": _write_signature(block.signature)}
            signed = self._write_delta(block, delta)
        return signed + self._write_stop(self._places[block.index])

    def write_end(self, receipt: Receipt) -> bytes:
        usage = _build_usage(receipt.usage) if receipt.usage else {"output_tokens": 0}
        delta = {"stop_reason": _FINISH[receipt.finish_reason or "stop"], "stop_sequence": None}
        event = {"type": "message_delta", "delta": delta, "usage": {**usage, "cost_usd": cost_of(receipt)}}
        return write_named_event(event) + write_named_event({"type": "message_stop"})

    def write_broken_end(self, receipt: Receipt) -> bytes:
        return write_named_event(describe_error(self.asked.dialect, broken_off(receipt)))

    def _build_head(self) -> dict[str, Any]:
        named = {"id": f"msg_{self.asked.id}", "type": "message", "role": "assistant"}
        return {**named, "model": self.model}

    def _open(self, block: AnswerBlock) -> bytes:
        *before, first = self._begin_blocks(block)
        hidden = b"".join(self._write_opening(one) + self._write_stop(self._count - 1) for one in before)
        self._places[block.index] = self._count
        return hidden + self._write_opening(first)

    def _begin_blocks(self, block: AnswerBlock) -> list[dict[str, Any]]:
        """The block as it begins, with what carries its signature before it."""
        match block.kind:
            case "text":
                return [{"type": "text", "text": ""}]
            case "thought" if _is_hidden(block.signature):
                return [anthropic_parts.hide_thought(_write_signature(block.signature))]
            case "thought":
                return [{"type": "thinking", "thinking": "", "signature": ""}]
        call_id = self.call_id_of(block)
        call = {"type": "tool_use", "id": call_id, "name": block.name, "input": {}}
        return (
            [call]
            if block.signature is None
            else [anthropic_parts.hide_thought(carry(block.signature, call_id)), call]
        )

    def _build_blocks(self, block: AnswerBlock) -> list[dict[str, Any]]:
        """The whole block."""
        *before, last = self._begin_blocks(block)
        match block.kind:
            case "text":
                last["text"] = block.text
            case "thought" if not _is_hidden(block.signature):
                last |= {"thinking": block.text, "signature": _write_signature(block.signature)}
            case "call":
                last["input"] = load_arguments(block.text)
        return [*before, last]

    def _write_opening(self, block: Mapping[str, Any]) -> bytes:
        index, self._count = self._count, self._count + 1
        return write_named_event({"type": "content_block_start", "index": index, "content_block": block})

    def _write_delta(self, block: AnswerBlock, delta: Mapping[str, Any]) -> bytes:
        index = self._places[block.index]
        return write_named_event({"type": "content_block_delta", "index": index, "delta": delta})

    def _write_stop(self, index: int) -> bytes:
        return write_named_event({"type": "content_block_stop", "index": index})


def _is_hidden(signature: Signature | None) -> bool:
    is_own = signature is not None and signature.vendor == anthropic_request.VENDOR
    return is_own and anthropic_parts.is_hidden(signature)


def _write_signature(signature: Signature | None) -> str:
    """Anthropic's own as it is. Where there is none, it shows that the thought is not Anthropic's."""
    if signature is not None and signature.vendor == anthropic_request.VENDOR:
        return signature.text
    return carry(signature)


def _build_usage(usage: Usage | None) -> dict[str, Any]:
    """What was read from a cache or written to it is counted apart there."""
    usage = usage or Usage(input_tokens=0, output_tokens=0)
    read, written = usage.cached_input_tokens, usage.cache_write_tokens
    return {
        "input_tokens": max(usage.input_tokens - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    }
