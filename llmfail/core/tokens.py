"""How many tokens a text may be. Coarse on purpose: nothing but estimates and room checks rests on it."""

from __future__ import annotations

from llmfail.core.model import Request

BYTES_PER_TOKEN = 4
MOST_BYTES_PER_TOKEN = 8
"""No tokenizer that was measured packs ordinary text tighter than this."""


def estimate(text: str) -> int:
    """About how many tokens; within a quarter for English and code, too many for other scripts."""
    return -(-_size(text) // BYTES_PER_TOKEN)


def of(request: Request) -> int:
    """About how many tokens of text a request sends; images are not counted."""
    return -(-size(request) // BYTES_PER_TOKEN)


def least(request: Request) -> int:
    """A number of tokens that the text of this request hardly stays under."""
    return size(request) // MOST_BYTES_PER_TOKEN


def size(request: Request) -> int:
    """Bytes of text: system, messages, and the files that go with them as text."""
    texts = [request.system or "", *(message.text for message in request.messages)]
    files = [file for message in request.messages for file in message.attachments]
    return sum(map(_size, texts)) + sum(len(file.data) for file in files if not file.is_image)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
