"""The requests of a batch as numbered lines, whether they are lines or stand in one document, as Anthropic's
batches have them: ``{"requests": [{"custom_id": …, "params": …}, …]}``.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Raw, Struct

from llmfail.core.errors import UsageError
from llmfail.core.request.line_splitter import LineSplitter, RawLine

MAX_DOCUMENT_BYTES: Final = 256 << 20
"""What Anthropic takes in one batch."""
MAX_HEAD_BYTES: Final = 64 << 10
"""By then it shows which of the two it is."""
_BOM: Final = b"\xef\xbb\xbf"
_OPENING: Final = b'{"requests":['
_BLANKS: Final = re.compile(rb"[ \t\r\n]+")


class _RequestList(Struct):
    requests: list[Raw]


class RequestSplitter:
    """As a LineSplitter. Raises UsageError for a document that cannot be read to its end."""

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._document = bytearray()
        self._is_document: bool | None = None

    def feed(self, data: bytes) -> list[RawLine]:
        if self._is_document is False:
            return self._lines.feed(data)
        self._document += data
        if self._is_document is None:
            self._is_document = begins_as_document(self._document[:MAX_HEAD_BYTES])
            if self._is_document is False:
                return self._lines.feed(self._take_document())
        if len(self._document) > MAX_DOCUMENT_BYTES:
            most = MAX_DOCUMENT_BYTES >> 20
            raise UsageError(
                f"a document of requests has at most {most} MiB; lines may be as many as there are"
            )
        return []

    def finish(self) -> list[RawLine]:
        if not self._is_document:
            return [*self._lines.feed(self._take_document()), *self._lines.finish()]
        try:
            found = msgspec.json.decode(self._take_document().removeprefix(_BOM), type=_RequestList)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"the document of requests is broken: {error}") from None
        return [RawLine(number, bytes(one)) for number, one in enumerate(found.requests, 1)]

    def _take_document(self) -> bytes:
        taken, self._document = bytes(self._document), bytearray()
        return taken


def begins_as_document(head: bytes | bytearray) -> bool | None:
    """None while nobody can tell."""
    if _BOM.startswith(head):
        return None
    said = _BLANKS.sub(b"", bytes(head).removeprefix(_BOM))
    if said.startswith(_OPENING):
        return True
    return None if _OPENING.startswith(said) and len(head) < MAX_HEAD_BYTES else False
