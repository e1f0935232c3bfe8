"""An answer as OpenAI Responses has it: items, and the events in which each of them begins, grows and ends.

Of the request, an answer repeats what is small: neither instructions nor tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmfail.core.answer_piece import AnswerBegun
from llmfail.core.model import Usage
from llmfail.core.receipt import Receipt
from llmfail.providers.decoding import as_mapping
from llmfail.providers.dialects import responses_request
from llmfail.providers.dialects.carried_signature import carry, put_into_id
from llmfail.providers.dialects.client_request import AskedReply
from llmfail.providers.encoding import encode_json
from llmfail.providers.replies.answer_blocks import AnswerBlock, BlockEvent
from llmfail.providers.replies.error_reply import broken_off, describe_error
from llmfail.providers.replies.reply_writer import BlockReply, cost_of, write_named_event

_INCOMPLETE: Final[Mapping[str, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
_ID_PREFIXES: Final = {"text": "msg", "thought": "rs", "call": "fc"}


class ResponsesReply(BlockReply):
    keep_alive: bytes = b": \n\n"
    ends_cleanly = True
    """A failed response is a proper end; programs show its reason only when nothing is wrong besides."""

    def __init__(self, asked: AskedReply) -> None:
        super().__init__(asked)
        self._count = 0

    def write_whole(self, receipt: Receipt) -> bytes:
        self.read_whole(receipt)
        return encode_json(self._build_response(*_read_end(receipt), receipt))

    def write_start(self, begun: AnswerBegun | None) -> bytes:  # noqa: ARG002 - the same for all dialects
        response = self._build_response("in_progress", None, None)
        kinds = ("response.created", "response.in_progress")
        return b"".join(self._write(kind, response=response) for kind in kinds)

    def write_event(self, event: BlockEvent) -> bytes:
        block = event.block
        match event.kind:
            case "open":
                return self._open(block)
            case "add":
                return self._write(_GROWING[block.kind], **self._place(block), delta=event.text)
            case "close":
                return self._close(block)

    def write_end(self, receipt: Receipt) -> bytes:
        status, reason = _read_end(receipt)
        return self._write(f"response.{status}", response=self._build_response(status, reason, receipt))

    def write_broken_end(self, receipt: Receipt) -> bytes:
        error = describe_error("responses", broken_off(receipt))["error"]
        response = self._build_response("failed", None, receipt)
        response["error"] = {"code": error["code"] or "server_error", "message": error["message"]}
        return self._write("response.failed", response=response)

    def _open(self, block: AnswerBlock) -> bytes:
        item = self._build_item(block, is_whole=False)
        added = self._write("response.output_item.added", output_index=block.index, item=item)
        if block.kind == "call":
            return added
        part = _build_part(block, "")
        return added + self._write(f"{_PARTS[block.kind]}.added", **self._place(block), part=part)

    def _close(self, block: AnswerBlock) -> bytes:
        place, text = self._place(block), block.text
        item = self._build_item(block, is_whole=True)
        if block.kind == "call":
            ended = {"name": item["name"], "arguments": item["arguments"]}
            said = self._write("response.function_call_arguments.done", **place, **ended)
        else:
            ended = {"text": text} if block.kind == "thought" else {"text": text, "logprobs": []}
            said = self._write(_GROWING[block.kind].replace(".delta", ".done"), **place, **ended)
            said += self._write(f"{_PARTS[block.kind]}.done", **place, part=_build_part(block, text))
        return said + self._write("response.output_item.done", output_index=block.index, item=item)

    def _place(self, block: AnswerBlock) -> dict[str, Any]:
        """Where an event belongs."""
        place: dict[str, Any] = {"item_id": self._item_id(block), "output_index": block.index}
        match block.kind:
            case "text":
                place["content_index"] = 0
            case "thought":
                place["summary_index"] = 0
        return place

    def _item_id(self, block: AnswerBlock) -> str:
        return f"{_ID_PREFIXES[block.kind]}_{self.asked.id}_{block.index}"

    def _build_item(self, block: AnswerBlock, *, is_whole: bool) -> dict[str, Any]:
        status = "completed" if is_whole else "in_progress"
        text = block.text if is_whole else ""
        item: dict[str, Any] = {"id": self._item_id(block)}
        match block.kind:
            case "text":
                content = [_build_part(block, text)] if is_whole else []
                return {**item, "type": "message", "status": status, "role": "assistant", "content": content}
            case "thought":
                return self._build_thought(block, item, is_whole=is_whole)
            case "call":
                call_id = put_into_id(self.call_id_of(block), block.signature)
                namespace, name = self.asked.tool_names.get(block.name, ("", block.name))
                named = {"namespace": namespace, "name": name} if namespace else {"name": name}
                written = {"arguments": (text or "{}") if is_whole else ""}
                return {
                    **item,
                    "type": "function_call",
                    "status": status,
                    "call_id": call_id,
                    **named,
                    **written,
                }

    def _build_thought(
        self, block: AnswerBlock, item: Mapping[str, Any], *, is_whole: bool
    ) -> dict[str, Any]:
        """OpenAI's own as it came."""
        if not is_whole:
            return {**item, "type": "reasoning", "summary": []}
        signature = block.signature
        if signature is not None and signature.vendor == responses_request.VENDOR:
            own = as_mapping(_load(signature.text))
            return {**own, **item, "id": own.get("id", item["id"])}
        summary = [_build_part(block, block.text)] if block.text else []
        return {**item, "type": "reasoning", "summary": summary, "encrypted_content": carry(signature)}

    def _build_response(self, status: str, reason: str | None, receipt: Receipt | None) -> dict[str, Any]:
        asked = self.asked
        output = [self._build_item(block, is_whole=True) for block in self.order.blocks]
        response = {
            "id": f"resp_{asked.id}",
            "object": "response",
            "created_at": asked.created_at,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": None,
            "max_output_tokens": None,
            "metadata": {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": None if receipt is None else _build_usage(receipt),
        }
        return {**response, **asked.repeated}

    def _write(self, kind: str, **fields: Any) -> bytes:  # noqa: ANN401 - of any event
        number, self._count = self._count, self._count + 1
        return write_named_event({"type": kind, "sequence_number": number, **fields})


_PARTS: Final = {"text": "response.content_part", "thought": "response.reasoning_summary_part"}
_GROWING: Final = {
    "text": "response.output_text.delta",
    "thought": "response.reasoning_summary_text.delta",
    "call": "response.function_call_arguments.delta",
}


def _build_part(block: AnswerBlock, text: str) -> dict[str, Any]:
    if block.kind == "thought":
        return {"type": "summary_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _read_end(receipt: Receipt) -> tuple[str, str | None]:
    """The status, and why an answer is incomplete."""
    reason = _INCOMPLETE.get(receipt.finish_reason or "")
    return ("completed", None) if reason is None else ("incomplete", reason)


def _load(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _build_usage(receipt: Receipt) -> dict[str, Any]:
    usage = receipt.usage or Usage()
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cost_usd": cost_of(receipt),
    }
