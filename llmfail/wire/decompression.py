"""Bodies that the server compressed, unpacked piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from llmfail.wire.error_mapping import MAX_REPLY_BYTES

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_CODINGS: Final[Mapping[str, bool]] = {"gzip": True, "x-gzip": True, "deflate": False}
"""Whether it is gzip."""


def iter_decompressed(pieces: Iterator[bytes], content_encoding: str) -> Iterator[bytes]:
    """``Decompressor`` for a body that is at hand."""
    return map(Decompressor(content_encoding).decompress, pieces)


class Decompressor:
    """Undoes the codings of a ``content-encoding`` header, the last one first. What is in no coding that is
    known here stays as it is.
    """

    def __init__(self, content_encoding: str) -> None:
        known = (_CODINGS.get(coding.strip()) for coding in reversed(content_encoding.lower().split(",")))
        self._codings = [_Inflater(is_gzip=is_gzip) for is_gzip in known if is_gzip is not None]

    def decompress(self, piece: bytes) -> bytes:
        """What can be told of it by now, one byte more than the longest reply at most: a small piece may not
        take up all memory. Raises zlib.error.
        """
        for coding in self._codings:
            piece = coding.inflate(piece)
        return piece


class _Inflater:
    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._inflate: Callable[[bytes, int], bytes] | None = None

    def inflate(self, piece: bytes) -> bytes:
        if not piece:
            return piece
        if self._inflate is None:
            window = _GZIP_WINDOW if self._is_gzip else _find_deflate_window(piece)
            self._inflate = zlib.decompressobj(window).decompress
        return self._inflate(piece, MAX_REPLY_BYTES + 1)


def _find_deflate_window(start: bytes) -> int:
    """Some servers send bare deflate, without the zlib header that HTTP asks for: a byte that ends in 8."""
    return zlib.MAX_WBITS if start[0] & 0xF == 8 else -zlib.MAX_WBITS
