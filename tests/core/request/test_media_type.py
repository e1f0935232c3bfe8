"""What a file is, by its bytes and not by its name."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.conversation import Attachment, Text, message_of
from llmfail.core.errors import UsageError
from llmfail.core.request.media_type import correct_media_types, find_media_type, guess_media_type

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
TAKEN = {
    "png": (PNG, "image/png"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
    "gif": (b"GIF89a\x01\0", "image/gif"),
    "webp": (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
    "pdf": (b"%PDF-1.7\n1 0 obj <<>> endobj\ntrailer\n%%EOF\n", "application/pdf"),
    "wav": (b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt ", "audio/wav"),
    "mp3": (b"\xff\xfb\x90\x64\0", "audio/mpeg"),
    "mp3 with tags": (b"ID3\x04\0", "audio/mpeg"),
    "text": ("naïve\t\f\x1b[1m\r\n".encode(), "text/plain"),
    "marked text": (b"\xef\xbb\xbfhello", "text/plain"),
    "nothing": (b"", "text/plain"),
}
REFUSED = {
    "zip": (b"PK\x03\x04\x14\0", "a ZIP archive or an Office document"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    "avi": (b"RIFF\x24\0\0\0AVI LIST", "a RIFF file that is neither WebP nor WAV"),
    "mp4": (b"\0\0\0\x20ftypisom", "MP4 audio or video"),
    "avif": (b"\0\0\0\x20ftypavif", "an AVIF image"),
    "heic": (b"\0\0\0\x20ftypheic", "a HEIC image"),
    "gzip": (b"\x1f\x8b\x08", "gzip data"),
    "utf-16": ("hello".encode("utf-16"), "text in UTF-16"),
    "binary in utf-8": (b"hello\0world", "binary data (byte 5 stands in no text)"),
    "latin-1": ("café".encode("latin-1"), "no UTF-8 text (byte 3)"),
}


@pytest.mark.parametrize(("data", "kind"), TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("name", ["a.jpg", "p", "p.txt"])
def test_f2_the_bytes_tell_the_media_type_and_the_name_does_not(name, data, kind):
    assert find_media_type(name, data) == kind


@pytest.mark.parametrize(("data", "what"), REFUSED.values(), ids=REFUSED)
def test_f3_what_no_model_takes_is_refused_by_what_it_is(data, what):
    with pytest.raises(UsageError, match="attach images") as refused:
        find_media_type("a.txt", data)
    assert str(refused.value).startswith(f"attachment a.txt: this is {what}; ")


@given(st.binary())
def test_f3_any_bytes_are_something_or_refused(data):
    with contextlib.suppress(UsageError):
        assert "/" in find_media_type("x", data)


@pytest.mark.parametrize("said", ["image/jpeg", "text/plain", "application/octet-stream"])
def test_f2_what_a_caller_says_of_a_file_does_not_count_against_its_bytes(said):
    message = message_of("user", "look", (Attachment("a.jpg", said, PNG),))
    files = correct_media_types(message).attachments
    assert [file.media_type for file in files] == ["image/png"]


def test_f2_what_has_no_signature_stays_what_the_caller_says():
    message = message_of("user", "look", (Attachment("a.heic", "image/heic", b"\0\0\0\x20ftypheic"),))
    assert correct_media_types(message) == message
    linked = message_of("user", "look", (Attachment("a", "image/*", url="https://x.example/a"),))
    assert correct_media_types(linked) == linked
    assert correct_media_types(message_of("user", "hi")).content in {"hi", (Text("hi"),)}


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://x.example/cat.PNG?size=2", "image/png"),
        ("https://x.example/a/report.pdf", "application/pdf"),
        ("https://x.example/cat", "image/*"),
        ("https://x.example", "image/*"),
    ],
)
def test_f2_of_a_url_the_end_of_its_path_tells(url, kind):
    assert guess_media_type(url) == kind
