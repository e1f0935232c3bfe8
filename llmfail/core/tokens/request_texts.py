"""What of a request is measured: its texts, wherever they stand, and what counts as images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from llmfail.core.conversation import (
    Attachment,
    Opaque,
    Part,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from llmfail.core.model import Request
from llmfail.core.request.message_text import render_file_element

IMAGES_PER_PAGE = 2
"""Anthropic counts 1,500 to 3,000 tokens of text for a page of a PDF, and the page as an image besides;
OpenAI does alike, Gemini counts 258 to 1,120 for the image alone.
"""
PAGES_OF_UNKNOWN_FILE = 20
"""For a PDF of which only the URL is known."""
MAX_PAGES = 3000
"""No vendor takes more."""
BYTES_OF_A_PAGE = 20_000
AUDIO_BYTES_PER_IMAGE = 100_000
"""Gemini counts 32 tokens for a second of sound, and an MP3 of 32 kbit/s has 4 kB in it."""
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PDF_PAGE_COUNT = re.compile(rb"/Count\s+(\d{1,6})")


def iter_texts(request: Request) -> Iterator[str]:
    """All text that is sent, with what stands around a call or a tool as JSON."""
    if request.system:
        yield request.system_text
    if request.schema is not None:
        import json

        yield json.dumps(request.schema, ensure_ascii=False)
    for tool in request.tools:
        yield msgspec.json.encode(tool, enc_hook=dict).decode()
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            yield from filter(None, map(_text_of, _iter_parts(message.content)))


def _iter_parts(parts: Iterable[Part]) -> Iterator[Part]:
    """Those within the results of tools as well."""
    for part in parts:
        yield part
        if isinstance(part, ToolResult):
            yield from part.parts


def _text_of(part: Part) -> str:
    match part:
        case Text() | Thought():
            return part.text
        case ToolCall():
            return f"{part.id} {part.name} {part.arguments}"
        case ToolResult():
            return f"{part.call_id} {part.name}"
        case Opaque():
            return msgspec.json.encode(part.json, enc_hook=dict).decode()
        case Attachment():
            if part.kind != "text":
                return ""
            return render_file_element(part.name, part.data.decode("utf-8", "replace")) + "\n\n"


def count_images(request: Request) -> int:
    """Images, and what counts as so many: a page of a PDF is read as text and looked at."""
    return sum(map(_weigh_file, _files(request)))


def _weigh_file(file: Attachment) -> int:
    match file.kind:
        case "image":
            return 1
        case "document":
            return IMAGES_PER_PAGE * (count_pages(file.data) if file.url is None else PAGES_OF_UNKNOWN_FILE)
        case "audio":
            return 1 + len(file.data) // AUDIO_BYTES_PER_IMAGE
        case "text":
            return 0


def count_pages(pdf: bytes) -> int:
    """The pages of a PDF, as its page objects and its page tree have them; by its size where both are
    compressed.
    """
    objects = len(_PDF_PAGE.findall(pdf))
    told = max((int(number) for number in _PDF_PAGE_COUNT.findall(pdf)), default=0)
    return max(objects, min(told, MAX_PAGES)) or 1 + len(pdf) // BYTES_OF_A_PAGE


def _files(request: Request) -> Iterator[Attachment]:
    for message in request.messages:
        if not isinstance(message.content, str):
            yield from (part for part in _iter_parts(message.content) if isinstance(part, Attachment))
