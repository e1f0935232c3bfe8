"""An answer as Gemini has it: each event is a reply with a part of it, and the last one says how it ended.

A call comes whole there. Signatures are bytes in base64, in which those of others go along as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmfail.core.answer_piece import AnswerBegun
from llmfail.core.conversation import Signature
from llmfail.core.model import FinishReason, Usage
from llmfail.core.receipt import Receipt
from llmfail.providers.dialects import gemini_request
from llmfail.providers.dialects.carried_signature import carry, to_base64
from llmfail.providers.encoding import encode_json, load_arguments
from llmfail.providers.replies.answer_blocks import AnswerBlock, BlockEvent
from llmfail.providers.replies.error_reply import broken_off, describe_error
from llmfail.providers.replies.reply_writer import BlockReply, cost_of, write_data

_FINISH: Final[Mapping[FinishReason, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "other": "OTHER",
}


class GeminiReply(BlockReply):
    keep_alive: bytes = b"\n"
    """A comment would lose the whole stream to Google's own SDK for Python."""

    def write_whole(self, receipt: Receipt) -> bytes:
        parts = [one for block in self.read_whole(receipt) for one in self._build_parts(block)]
        reply = self._build_reply(parts, receipt)
        return encode_json([reply] if self.asked.as_array else reply)

    def write_start(self, begun: AnswerBegun | None) -> bytes:  # noqa: ARG002 - the same for all dialects
        return b""

    def write_event(self, event: BlockEvent) -> bytes:
        block = event.block
        match event.kind, block.kind:
            case "add", "text":
                return self._write_parts({"text": event.text})
            case "add", "thought":
                return self._write_parts({"text": event.text, "thought": True})
            case "close", "thought" if block.signature is not None:
                return self._write_parts({"text": "", "thought": True, **_sign(block.signature)})
            case "close", "call":
                return self._write_parts(*self._build_parts(block))
        return b""

    def write_end(self, receipt: Receipt) -> bytes:
        return write_data(self._build_reply([{"text": ""}], receipt))

    def write_broken_end(self, receipt: Receipt) -> bytes:
        return write_data(describe_error(self.asked.dialect, broken_off(receipt)))

    def _build_parts(self, block: AnswerBlock) -> list[dict[str, Any]]:
        match block.kind:
            case "text":
                return [{"text": block.text}]
            case "thought":
                return [{"text": block.text, "thought": True, **_sign(block.signature)}]
            case "call":
                function = {"name": block.name, "args": load_arguments(block.text)}
                return [
                    {"functionCall": {"id": self.call_id_of(block), **function}, **_sign(block.signature)}
                ]

    def _write_parts(self, *parts: Mapping[str, Any]) -> bytes:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        return write_data({"candidates": [candidate], **self._named})

    def _build_reply(self, parts: list[dict[str, Any]], receipt: Receipt) -> dict[str, Any]:
        finish = _FINISH[receipt.finish_reason or "stop"]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}
        usage = {**_build_usage(receipt.usage or Usage()), "costUsd": cost_of(receipt)}
        return {"candidates": [candidate], "usageMetadata": usage, **self._named}

    @property
    def _named(self) -> dict[str, str]:
        return {"modelVersion": self.model, "responseId": self.asked.id}


def _sign(signature: Signature | None) -> dict[str, str]:
    """Google's own as it is. Where there is none, it shows that the part is not Gemini's."""
    if signature is not None and signature.vendor == gemini_request.VENDOR:
        return {"thoughtSignature": signature.text} if signature.text else {}
    return {"thoughtSignature": to_base64(carry(signature))}


def _build_usage(usage: Usage) -> dict[str, int]:
    return {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
