"""What the wire formats share when they write a call: the body as JSON, images in base64."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping
from typing import Any

import msgspec

from llmfail.core.model import Attachment, Call, Message


def build_post(url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Call:
    """The keys stand in the order in which they were written. Halves of surrogate pairs, which UTF-8 has no
    form for, become question marks: a prompt with a broken character is still a prompt.
    """
    try:
        data = msgspec.json.encode(body)
    except (UnicodeEncodeError, OverflowError):
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        data = text.encode("utf-8", "replace")
    return Call("POST", url, {**headers, "content-type": "application/json"}, data)


def images_of(message: Message) -> tuple[Attachment, ...]:
    return tuple(one for one in message.attachments if one.is_image)


def encode_base64(attachment: Attachment) -> str:
    return b2a_base64(attachment.data, newline=False).decode("ascii")
