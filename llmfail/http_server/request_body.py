"""The body of a request, within limits of time and size, unpacked."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from aiohttp.web_protocol import RequestPayloadError

from llmfail.http_server.message import BodyRefused

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.web_request import BaseRequest

FIRST_BYTE_SECONDS = 20.0
SLOWEST_BYTES_PER_SECOND = 50_000
"""After the first seconds: who is slower keeps a place that others need."""
PIECE_BYTES = 1 << 20
"""So much is unpacked before others have their turn."""
GZIP_WINDOW = 16 + zlib.MAX_WBITS


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


async def read_body(request: BaseRequest, max_bytes: int) -> bytes:
    """Raises BodyRefused."""
    if (request.content_length or 0) > max_bytes:
        raise BodyRefused(413, _describe_limit(max_bytes))
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    content = request.content
    body = content.read_nowait() if content.is_eof() else await _read_in_time(content, max_bytes)
    if len(body) > max_bytes:
        raise BodyRefused(413, _describe_limit(max_bytes))
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    return body if coding in {"", "identity"} else await _unpack(body, coding, max_bytes)


async def _read_in_time(content: StreamReader, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(FIRST_BYTE_SECONDS) as limit:
            while piece := await content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise BodyRefused(413, _describe_limit(max_bytes))
                limit.reschedule(began + FIRST_BYTE_SECONDS + size / SLOWEST_BYTES_PER_SECOND)
    except TimeoutError:
        raise BodyRefused(408, "the body of the request came too slowly") from None
    except RequestPayloadError:
        raise BodyRefused(400, "the body of the request is not framed as its headers say") from None
    return b"".join(pieces)


async def _unpack(body: bytes, coding: str, max_bytes: int) -> bytes:
    make = _DECOMPRESSORS.get(coding)
    decompressor = None if make is None else make(body)
    if decompressor is None:
        raise BodyRefused(415, f"bodies in {coding[:40]!r} are not read here; gzip and deflate are")
    pieces: list[bytes] = []
    size, rest = 0, body
    while not decompressor.eof:
        try:
            piece = decompressor.decompress(rest, PIECE_BYTES)
        except Exception:  # noqa: BLE001 - each coding has its own
            raise BodyRefused(400, f"the body of the request is no {coding}") from None
        rest = getattr(decompressor, "unconsumed_tail", b"")
        size += len(piece)
        if size > max_bytes:
            raise BodyRefused(413, _describe_limit(max_bytes))
        if not piece and not rest and not decompressor.eof:
            raise BodyRefused(400, f"the body of the request is {coding} that was cut off")
        pieces.append(piece)
        await asyncio.sleep(0)
    return b"".join(pieces)


def _make_inflate(body: bytes) -> _Decompressor:
    """Some programs send bare deflate, without the zlib header that HTTP asks for: a byte that ends in 8."""
    return zlib.decompressobj(zlib.MAX_WBITS if body[:1] and body[0] & 0xF == 8 else -zlib.MAX_WBITS)


def _make_zstd(_body: bytes) -> _Decompressor | None:
    """Where this Python has it."""
    try:
        zstd = import_module("compression.zstd")
    except ImportError:
        return None
    found: _Decompressor = zstd.ZstdDecompressor()
    return found


_DECOMPRESSORS: dict[str, Callable[[bytes], _Decompressor | None]] = {
    "gzip": lambda _body: zlib.decompressobj(GZIP_WINDOW),
    "x-gzip": lambda _body: zlib.decompressobj(GZIP_WINDOW),
    "deflate": _make_inflate,
    "zstd": _make_zstd,
}


def _describe_limit(max_bytes: int) -> str:
    return f"the body of the request is larger than {max_bytes:,} bytes"
