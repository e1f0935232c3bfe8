"""Bodies that were compressed, cut at any place."""

import gzip
import zlib

import pytest

from llmfail.wire.decompression import Decompressor, iter_decompressed
from llmfail.wire.error_mapping import MAX_REPLY_BYTES

TEXT = b"a body that repeats itself, repeats itself, repeats itself"


def compress_raw(text):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(text) + compressor.flush()


CODINGS = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "its old name": ("X-GZIP", gzip.compress(TEXT)),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without its header": ("deflate", compress_raw(TEXT)),
    "two": ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
    "none": ("identity", TEXT),
    "one that is not known": ("br", TEXT),
}


@pytest.mark.parametrize(("coding", "body"), CODINGS.values(), ids=CODINGS)
def test_a_body_is_unpacked_wherever_it_is_cut(coding, body):
    for size in (1, 2, 7, len(body)):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert b"".join(iter_decompressed(iter([b"", *pieces]), coding)) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_is_not_in_its_coding_is_an_error(coding):
    with pytest.raises(zlib.error):
        list(iter_decompressed(iter([b"\xff is nothing that was compressed"]), coding))


def test_what_is_longer_than_any_reply_is_not_unpacked_further():
    packed = gzip.compress(bytes(MAX_REPLY_BYTES + 1000), 1)
    assert len(Decompressor("gzip").decompress(packed)) == MAX_REPLY_BYTES + 1
