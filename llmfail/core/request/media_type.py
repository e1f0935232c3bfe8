"""What a file is, by its first bytes and never by its name: a name is the caller's, and providers look
inside.

Known are the kinds that models take: PNG, JPEG, GIF, WebP, PDF, WAV, MP3, and text in UTF-8. Whatever else
has a signature, and whatever has bytes that no text has, is refused and named, before anybody is asked.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec.structs import replace

from llmfail.core.conversation import Attachment, Message, Part
from llmfail.core.errors import UsageError

TEXT_TYPE = "text/plain"
UNKNOWN_IMAGE_TYPE = "image/*"
"""Of a URL whose end says nothing: pages of pictures seldom have one."""
TAKEN = "attach images (PNG, JPEG, GIF, WebP), PDF, WAV, MP3 or text in UTF-8"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
)
_RIFF_TYPES = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_MP3_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
"""The beginning of a frame of layer III: MPEG 1, 2 or 2.5, with or without a checksum."""
_REFUSED_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"(\xb5/\xfd", "Zstandard data"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"OggS", "Ogg audio or video"),
    (b"fLaC", "FLAC audio"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xff\xfe\x00\x00", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
_ISO_BRANDS = {b"avif": "an AVIF image", b"heic": "a HEIC image", b"mif1": "a HEIF image"}
_BINARY_BYTES = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
"""Control characters that stand in no text; bell, backspace, escape and the blanks do."""
_SEARCHED_BYTES = 1 << 20
_TYPES_BY_SUFFIX = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
}


def find_media_type(name: str, data: bytes) -> str:
    """The media type of a file with these bytes. Raises UsageError for what no model takes."""
    found = find_signature(data)
    if found is not None:
        return found
    refused = _find_refused(data)
    if refused is not None:
        raise UsageError(f"attachment {name}: this is {refused}; {TAKEN}")
    return TEXT_TYPE


def find_signature(data: bytes) -> str | None:
    """The media type that the first bytes tell; None where they tell nothing."""
    if data[:4] == b"RIFF":
        return _RIFF_TYPES.get(data[8:12])
    if _MP3_FRAME.match(data):
        return "audio/mpeg"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)


def correct_media_types(message: Message) -> Message:
    """The message with its files as what they are, whatever the caller called them. Raises UsageError for
    what no model takes.
    """
    if isinstance(message.content, str):
        return message
    return replace(message, content=tuple(map(_correct_media_type, message.content)))


def _correct_media_type(part: Part) -> Part:
    if not isinstance(part, Attachment) or part.url is not None:
        return part
    if part.kind == "text":
        found = find_media_type(part.name, part.data)
        return part if found == TEXT_TYPE else replace(part, media_type=found)
    return replace(part, media_type=find_signature(part.data) or part.media_type)


def guess_media_type(url: str) -> str:
    """That of what lies behind a URL, which nobody fetches: what its path ends in, else an image."""
    suffix = urlsplit(url).path.rpartition(".")[2].lower()
    return _TYPES_BY_SUFFIX.get(suffix, UNKNOWN_IMAGE_TYPE)


def _find_refused(data: bytes) -> str | None:
    """What makes this neither text nor a file that models take."""
    known = next((what for start, what in _REFUSED_SIGNATURES if data.startswith(start)), None)
    if known is not None:
        return known
    if data[:4] == b"RIFF":
        return "a RIFF file that is neither WebP nor WAV"
    if data[4:8] == b"ftyp":
        return _ISO_BRANDS.get(data[8:12], "MP4 audio or video")
    binary = _BINARY_BYTES.search(data, 0, _SEARCHED_BYTES)
    if binary is not None:
        return f"binary data (byte {binary.start()} stands in no text)"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"no UTF-8 text (byte {error.start})"
    return None
