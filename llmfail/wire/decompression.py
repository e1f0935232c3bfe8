"""Bodies that the server compressed, unpacked piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def iter_decompressed(pieces: Iterator[bytes], content_encoding: str) -> Iterator[bytes]:
    """Undo the codings of a ``content-encoding`` header, the last one first. What is in no coding that is
    known here stays as it is. Raises zlib.error.
    """
    for coding in reversed(content_encoding.lower().split(",")):
        if coding.strip() in {"gzip", "x-gzip"}:
            pieces = _iter_inflated(pieces, is_gzip=True)
        elif coding.strip() == "deflate":
            pieces = _iter_inflated(pieces, is_gzip=False)
    return pieces


def _iter_inflated(pieces: Iterator[bytes], *, is_gzip: bool) -> Iterator[bytes]:
    decompressor = None
    for piece in filter(None, pieces):
        if decompressor is None:
            decompressor = zlib.decompressobj(_GZIP_WINDOW if is_gzip else _find_deflate_window(piece))
        yield decompressor.decompress(piece)


def _find_deflate_window(start: bytes) -> int:
    """Some servers send bare deflate, without the zlib header that HTTP asks for: a byte that ends in 8."""
    return zlib.MAX_WBITS if start[0] & 0xF == 8 else -zlib.MAX_WBITS
